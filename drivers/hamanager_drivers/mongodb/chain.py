"""From whom a member replicates: a planned change is fast when enough members already follow the
one that is going to lead.

A member whose source steps down, with nobody ahead of it, looks for another one after exactly a
second (bgsync.cpp), and the first write of a majority waits for it. One that follows the coming
primary keeps its source. (`replSetSyncFrom` is obeyed at the next batch, and the new source must
then be ahead of the member: so the primary is made to write no-op entries meanwhile.)
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb.connections import AnsweredError, Connections

PREPARE_SECONDS = 4.0
"""No attempt begins later."""
STRAIGHTEN_SECONDS = 1.0
"""For one attempt: when it is refused the member goes on as it is."""
NOTES_SECONDS = 0.5
"""So long at the most the primary writes no-op entries."""
NOTES_AT_ONCE = 4
"""One after the other leaves gaps in which nobody is ahead."""
SETTLED_SECONDS = 0.1
"""It names its new source before it has asked that for anything, and gives it up again if it finds
it not ahead."""
POLL_SECONDS = 0.01
RETRY_SECONDS = 1.2
"""A member that was refused has no source for a second."""


class Chain:
    """Lets members follow another one than the primary."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def source(self, service: ServiceContext, member: Target) -> str:
        """Where it replicates from; '' for nowhere."""
        answer = self._connections.command(service, member, {"replSetGetStatus": 1})
        return str(answer.get("syncSourceHost") or "")

    def prepare(
        self,
        service: ServiceContext,
        heir: Target,
        primary: Target,
        others: Sequence[Target],
        voters: int,
        within_seconds: float = PREPARE_SECONDS,
    ) -> None:
        """Let as many others follow the heir as make a majority together with it; one that does not
        is asked again within that time. What cannot be had costs a second later on, nothing else.
        """
        wanted = voters // 2
        deadline = time.monotonic() + within_seconds
        with contextlib.suppress(ServerError):
            # It may follow one that is to follow it.
            self.follow(service, heir, primary, primary, deadline)
        for member in others:
            if wanted == 0:
                break
            with contextlib.suppress(ServerError):
                wanted -= self.follow(service, member, heir, primary, deadline)

    def straighten(self, service: ServiceContext, target: Target, primary: Target) -> str:
        """A member that comes back takes the nearest one for its source, as likely another standby
        as the primary. In the failover the follower of the heir has to wait for a second now and
        then; one whose source has died looks for the new primary at once (decision 0015)."""
        self._look_again_each_second(service, target)
        source = self.source(service, target)
        if source in ("", primary.address):
            return ""
        deadline = time.monotonic() + STRAIGHTEN_SECONDS
        done = self.follow(service, target, primary, primary, deadline)
        return f"instead of {source}" if done else f"it goes on with {source}"

    def _look_again_each_second(self, service: ServiceContext, member: Target) -> None:
        """While its source does not answer (decision 0036). 0 is no limit for the query, which
        leaves the network buffer of 1 s. 6.0 takes it; a version that did not would refuse to start
        with it in its configuration, so it is told here, and goes on with what is written there."""
        command = {"setParameter": 1, "oplogRetriedFindMaxSeconds": 0}
        with contextlib.suppress(ServerError):
            self._connections.command(service, member, command)

    def follow(
        self,
        service: ServiceContext,
        member: Target,
        heir: Target,
        primary: Target,
        deadline: float,
    ) -> bool:
        """Whether it follows the heir now; tried until the deadline (monotonic seconds)."""
        while True:
            # Asked to follow whom it follows, it would pause for a second.
            if self.source(service, member) == heir.address:
                return True
            if self._move(service, member, heir, primary):
                return True
            if time.monotonic() + RETRY_SECONDS > deadline:
                return False
            time.sleep(RETRY_SECONDS)

    def _move(self, service: ServiceContext, member: Target, heir: Target, primary: Target) -> bool:
        deadline = time.monotonic() + NOTES_SECONDS
        ended = threading.Event()

        def write_notes() -> None:
            note = {"appendOplogNote": 1, "data": {"msg": "a planned change of primary"}}
            with contextlib.suppress(ServerError):
                while time.monotonic() < deadline and not ended.is_set():
                    self._connections.command(service, primary, note)

        with ThreadPoolExecutor(NOTES_AT_ONCE) as pool:
            for _ in range(NOTES_AT_ONCE):
                pool.submit(copy_context().run, write_notes)
            try:
                with contextlib.suppress(AnsweredError):
                    self._connections.command(service, member, {"replSetSyncFrom": heir.address})
                return self._settles(service, member, heir, deadline)
            finally:
                ended.set()

    def _settles(
        self, service: ServiceContext, member: Target, heir: Target, deadline: float
    ) -> bool:
        since: float | None = None
        while since is not None or time.monotonic() < deadline:
            if self.source(service, member) != heir.address:
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() > since + SETTLED_SECONDS:
                return True
            time.sleep(POLL_SECONDS)
        return False
