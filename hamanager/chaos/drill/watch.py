"""An own look at who takes writes, which asks neither the daemon nor its connections."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hamanager.contracts.driver import Driver
from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role

LOOK_SECONDS = 0.05
"""Between two looks at one server."""
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


Looks = Mapping[str, Sequence[Look]]
"""By instance, in the order of time."""


class Watch:
    """Asks every server about 20 times a second; each in a thread of its own, so that one that
    hangs does not delay what is seen of the others."""

    def __init__(self, driver: Driver, service: ServiceContext, members: Sequence[Target]) -> None:
        """The driver is this watch's alone: it shares no connection with anybody."""
        self._watchers = [_Watcher(driver, service, target) for target in members]

    def __enter__(self) -> Watch:
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.stopping.set()
        for watcher in self._watchers:
            watcher.join(END_SECONDS)

    def since(self, at: float) -> Looks:
        """Every look that was begun after that (monotonic) moment."""
        return {w.target.name: w.looks[w.first_after(at) :] for w in self._watchers}

    def latest(self, after: float) -> Mapping[str, Seen] | None:
        """What was last seen of each; None while a server has not been asked (and has answered, or
        failed to) after that moment."""
        last = {w.target.name: w.looks[-1] for w in self._watchers if w.looks}
        if len(last) < len(self._watchers) or any(k.asked_at < after for k in last.values()):
            return None
        return {name: look.seen for name, look in last.items()}


class _Watcher(threading.Thread):
    def __init__(self, driver: Driver, service: ServiceContext, target: Target) -> None:
        super().__init__(name=f"watch-{target.name}", daemon=True)
        self._driver = driver
        self._service = service
        self.target = target
        self.stopping = threading.Event()
        self.looks: list[Look] = []

    def run(self) -> None:
        """The thread's life."""
        while not self.stopping.wait(LOOK_SECONDS):
            asked_at = time.monotonic()
            seen = self._look()
            self.looks.append(Look(asked_at, time.monotonic(), seen))
        self._driver.forget(self.target)

    def first_after(self, at: float) -> int:
        return bisect_left(self.looks, at, key=lambda look: look.asked_at)

    def _look(self) -> Seen:
        try:
            role = self._driver.probe(self._service, self.target).role
        except ServerError:
            return Seen.DOWN
        return Seen.PRIMARY if role is Role.PRIMARY else Seen.STANDBY


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
                before = bisect_right(answered, look.asked_at) - 1
                after = bisect_left(asked, look.answered_at)
                bracketed = look.seen is Seen.PRIMARY and before >= 0 and after < len(watched)
                if bracketed and all(k.seen is Seen.PRIMARY for k in watched[before : after + 1]):
                    found.add(look.asked_at)
    return sorted(found)
