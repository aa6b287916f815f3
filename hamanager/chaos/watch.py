"""Two primaries: the one judgement on it, and an own look at who takes writes, which asks neither
the daemon nor its connections.

**Two servers are primaries at a moment when both would tell a client that its write succeeded.** Of
an engine that elects by itself the one of an older term would not: no majority follows it. Nor
would one whose writes wait for more standbys than are told to replicate from it, nor one that has
cut its clients off and turns others away (a former primary that is made to step down lets go of
what waits there only then). The simulation
knows of every server at every moment and asks `rivals`; on real servers a `Watch` asks one after
the other, and `duplicates` says when that proves a moment with rivals.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from hamanager.contracts.driver import Driver
from hamanager.errors import HamanagerError, ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role

LOOK_SECONDS = 0.05
"""Between two looks at one server."""
FOLLOW_SECONDS = 0.5
"""Between two questions for who the servers are."""
ABOUT_SECONDS = 1.0
END_SECONDS = 5.0
"""A look under way takes about a second at the most."""


class Seen(StrEnum):
    """What a client would meet."""

    PRIMARY = "primary"
    """It takes writes."""
    STANDBY = "standby"
    DOWN = "down"
    """It does not answer, or not as a server that is ready."""


@dataclass(frozen=True)
class Look:
    """One question to one server; monotonic seconds."""

    asked_at: float
    answered_at: float
    seen: Seen
    term: int = 0
    """Of one that takes writes: in which term, where the engine elects by itself; else 0."""
    waits_for: int = 0
    """Of one that takes writes: for how many standbys each of them waits."""
    address: str = ""
    """Where standbys reach it."""
    source: str = ""
    """The address from which it is told to replicate."""


Looks = Mapping[str, Sequence[Look]]
"""By instance, in the order of time."""


class Watch:
    """Asks every server about 20 times a second; each in a thread of its own, so that one that
    hangs does not delay what is seen of the others."""

    def __init__(
        self,
        driver: Driver,
        service: ServiceContext,
        members: Callable[[], Sequence[Target]],
    ) -> None:
        """The driver is this watch's alone: it shares no connection with anybody. The members may
        change."""
        self._driver, self._service, self._members = driver, service, members
        self._watchers: list[_Watcher] = []
        self._stopping = threading.Event()
        self._following = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._ask(self._members())
        self._following.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._following.join(END_SECONDS)
        self._ask([])
        for watcher in self._watchers:
            watcher.join(END_SECONDS)

    def is_whole(self) -> bool:
        """Whether everybody is still being asked: a watch that has ended sees nothing wrong."""
        threads = [self._following, *(w for w in list(self._watchers) if not w.stopping.is_set())]
        return all(thread.is_alive() for thread in threads)

    def since(self, at: float) -> Looks:
        """Every look that was begun after that (monotonic) moment."""
        found: dict[str, list[Look]] = {}
        for watcher in list(self._watchers):
            found.setdefault(watcher.target.name, []).extend(watcher.looks[watcher.after(at) :])
        return {name: sorted(looks, key=lambda k: k.asked_at) for name, looks in found.items()}

    def forget_before(self, at: float) -> None:
        """What was seen before that moment is not needed any more."""
        for watcher in list(self._watchers):
            del watcher.looks[: watcher.after(at)]

    def latest(self, after: float) -> Mapping[str, Seen] | None:
        """What was last seen of each; None while a server has not been asked (and has answered, or
        failed to) after that moment."""
        asked = [w for w in list(self._watchers) if not w.stopping.is_set()]
        last = {w.target.name: w.looks[-1] for w in asked if w.looks}
        if len(last) < len(asked) or any(k.asked_at < after for k in last.values()):
            return None
        return {name: look.seen for name, look in last.items()}

    def _follow(self) -> None:
        while not self._stopping.wait(FOLLOW_SECONDS):
            with suppress(HamanagerError):  # the next time, then
                self._ask(self._members())

    def _ask(self, members: Sequence[Target]) -> None:
        """From now on those, and nobody else."""
        wanted = {(target.name, target.address): target for target in members}
        for watcher in self._watchers:
            if not watcher.stopping.is_set() and wanted.pop(watcher.whom, None) is None:
                watcher.stopping.set()
        for target in wanted.values():
            watcher = _Watcher(self._driver, self._service, target)
            self._watchers.append(watcher)
            watcher.start()


class _Watcher(threading.Thread):
    def __init__(self, driver: Driver, service: ServiceContext, target: Target) -> None:
        super().__init__(name=f"watch-{target.name}", daemon=True)
        self._driver = driver
        self._service = service
        self.target = target
        self.whom = target.name, target.address
        self.stopping = threading.Event()
        self.looks: list[Look] = []

    def run(self) -> None:
        """The thread's life."""
        while not self.stopping.wait(LOOK_SECONDS):
            asked_at = time.monotonic()
            seen = self._look()
            self.looks.append(replace(seen, asked_at=asked_at, answered_at=time.monotonic()))
        self._driver.forget(self.target)

    def after(self, at: float) -> int:
        """The number of the first look that was begun after that moment."""
        return bisect_left(self.looks, at, key=lambda look: look.asked_at)

    def _look(self) -> Look:
        try:
            status = self._driver.probe(self._service, self.target)
        except ServerError:
            return Look(0.0, 0.0, Seen.DOWN)
        if status.role is not Role.PRIMARY or status.turns_clients_away:
            return Look(0.0, 0.0, Seen.STANDBY, source=status.source or "")
        elects = self._driver.capabilities.elects_itself
        term = int(status.position.get("term", 0)) if elects else 0
        address = self.target.replication_address
        return Look(0.0, 0.0, Seen.PRIMARY, term, status.required_acks or 0, address)


def rivals(terms: Mapping[str, int]) -> tuple[str, ...]:
    """Of the servers that take writes at one moment, each with its term: those of the newest term,
    if they are several."""
    newest = max(terms.values(), default=0)
    leading = tuple(sorted(name for name, term in terms.items() if term == newest))
    return leading if len(leading) > 1 else ()


def duplicates(looks: Looks) -> list[float]:
    """When a server took writes while another one did, too (monotonic seconds), in order.

    Two servers are never asked at the very same moment, so a change of primary could look like two
    primaries. What counts is a look at one server between two looks at another, all of which, and
    all in between, saw a primary.
    """
    found = set()
    for name, watched in looks.items():
        asked = [look.asked_at for look in watched]
        answered = [look.answered_at for look in watched]
        for other, others in looks.items():
            if other == name:
                continue
            for look in others:
                if _waits(look, looks):
                    continue
                before = bisect_right(answered, look.asked_at) - 1
                after = bisect_left(asked, look.answered_at)
                bracketed = look.seen is Seen.PRIMARY and before >= 0 and after < len(watched)
                if bracketed and all(
                    k.seen is Seen.PRIMARY
                    and not _waits(k, looks)
                    and rivals({name: k.term, other: look.term})
                    for k in watched[before : after + 1]
                ):
                    found.add(look.asked_at)
    return sorted(found)


def _waits(look: Look, looks: Looks) -> bool:
    """Whether a write there would have waited: fewer servers than it needs were seen, about then,
    to be told to replicate from it."""
    if not look.waits_for:
        return False
    first, last = look.asked_at - ABOUT_SECONDS, look.answered_at + ABOUT_SECONDS
    followers = 0
    for others in looks.values():
        about = others[
            bisect_left(others, first, key=_asked) : bisect_right(others, last, key=_asked)
        ]
        followers += any(k.source == look.address for k in about)
    return followers < look.waits_for


def _asked(look: Look) -> float:
    return look.asked_at
