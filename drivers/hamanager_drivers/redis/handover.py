"""The planned change of primary: without loss, bounded in time, undone when it fails.

Not by the server's own FAILOVER: that waits for the standby's next report of its offset, which
comes once a second (writes stood still for 0.1 to 0.8 s, measured on 8.0). Asked directly the
standby says within a millisecond how far it is. See docs/decisions/0008.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import redis

from hamanager.contracts.replication import HandOver
from hamanager.errors import HamanagerError, ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.redis.connections import Connections, cut_clients, info, told_apart
from hamanager_drivers.redis.status import server_status
from hamanager_drivers.redis.term import note_term

HAND_OVER_SECONDS = 3.0
PAUSE_SECONDS = 10.0
"""Longer than the hand-over may take; should the manager die meanwhile, writes go on after it."""
POLL_SECONDS = 0.001


def hand_over(
    connections: Connections,
    service: ServiceContext,
    target: Target,
    primary: Target,
    terms: HandOver,
    set_required_acks: Callable[[], None],
) -> str:
    """Pause the primary's writes, wait until the target has all of them, make the one a standby
    and then the other the primary; `set_required_acks` prepares the target for its first write.

    Raises:
        ServerError: it was not possible in time; the primary takes writes as before.
    """
    new, old = connections.manager(service, target), connections.manager(service, primary)
    with told_apart(target):
        seen = info(new)
    if seen["role"] == "master":
        return f"{target.name} took over already"
    status = server_status(seen, None, None)
    if status.source != primary.address or not status.link_up:
        raise ServerError(f"{target.name} does not follow {primary.name}: nothing was changed")
    set_required_acks()
    terms.before_stop()
    began = time.monotonic()
    with _undone_on_failure(old, new, primary, terms):
        with told_apart(primary):
            old.client_pause(int(PAUSE_SECONDS * 1000), all=False)
            written = info(old)
        with told_apart(target):
            _catch_up(new, target, written, began + HAND_OVER_SECONDS)
        terms.before_promotion()
        with told_apart(primary):
            pipe = old.pipeline(transaction=True)
            pipe.replicaof(target.host, target.port)
            cut_clients(pipe)
            pipe.execute()
            old.client_unpause()
        with told_apart(target):
            pipe = new.pipeline(transaction=True)
            pipe.replicaof("NO", "ONE")
            cut_clients(pipe)
            pipe.execute()
    note_term(new, terms.term)
    return f"no writes for {time.monotonic() - began:.3f} s, none lost"


@contextlib.contextmanager
def _undone_on_failure(
    old: redis.Redis, new: redis.Redis, primary: Target, terms: HandOver
) -> Iterator[None]:
    try:
        yield
    except HamanagerError:
        terms.before_undo()
        with told_apart(primary):
            if info(new)["role"] != "master" and info(old)["role"] != "master":
                old.replicaof("NO", "ONE")
            old.client_unpause()
        raise


def _catch_up(
    new: redis.Redis, target: Target, written: dict[str, object], deadline: float
) -> None:
    history, offset = written["master_replid"], int(str(written["master_repl_offset"]))
    while True:
        seen = info(new)
        if seen["master_replid"] == history and int(seen["master_repl_offset"]) >= offset:
            return
        if time.monotonic() > deadline:
            raise ServerError(
                f"{target.name} did not catch up within {HAND_OVER_SECONDS:g} s: nothing was"
                " changed"
            )
        time.sleep(POLL_SECONDS)
