"""Old versions are let go of.

etcd keeps every version of every key until it is told otherwise, and takes no more writes when it
has reached its quota. It can be started so that it does this by itself
(`--auto-compaction-retention`); that it was cannot be seen from outside.
"""

from __future__ import annotations

import logging
import threading
import time

from hamanager.errors import StoreError
from hamanager.stores.etcd.gateway import Gateway

log = logging.getLogger(__name__)

KEPT_SECONDS = 3600.0
"""Versions of the last hour, at least, stay: for watches, and for whoever wants to see what was."""


class Compaction:
    """By each manager, whatever the others do: what is done already does no harm."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._mark: tuple[float, int] | None = None
        """A moment (monotonic seconds) and the store's version then."""

    def compact_if_due(self, revision: int) -> None:
        """Let go of what is older than it was an hour ago; `revision` is the present version."""
        now = time.monotonic()
        with self._lock:
            if self._mark is not None and now < self._mark[0] + KEPT_SECONDS:
                return
            old, self._mark = self._mark, (now, revision)
        if old is None:
            return
        try:
            self._gateway.call("kv/compaction", {"revision": old[1]})
        except StoreError as error:
            log.debug("not compacted: %s", error)
        else:
            log.info("etcd was told to let go of what is older than its version %d", old[1])
