"""What every process of hamanager that goes on for long begins with."""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
from contextlib import suppress

log = logging.getLogger("hamanager")
SELDOM = 50
"""Collections of the middle generation for one of the oldest; Python's own number is 10."""


def log_to_standard_error() -> None:
    """As much as `HAMANAGER_LOG` says."""
    logging.basicConfig(
        level=os.environ.get("HAMANAGER_LOG", "INFO").upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
    )
    # It warns of each run that is left out while the one before it lasts.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    for chatty in ("httpx", "pymongo", "urllib3", "docker"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def raise_descriptor_limit() -> None:
    """As many open files as this process may have: a daemon that runs out of them sees nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # the kernel's own limit is lower
        log.debug("the limit of open files stays at %d: %s", soft, error)
    else:
        log.debug("the limit of open files was %d and is %d now", soft, hard)


def shorten_collections() -> None:
    """Once everything is imported. What lives as long as the process is not gone through again and
    again by Python's collector of garbage, and what the rest has is gone through less often: no
    thread goes on meanwhile, 0.14 s each time with 100 services (`make scrape`)."""
    gc.collect()
    gc.freeze()
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, SELDOM)


def tell_ready() -> None:
    """Tell a service manager that waits for it (systemd, Type=notify) that the work has begun."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
        teller.settimeout(1)
        teller.sendto(b"READY=1", address)
