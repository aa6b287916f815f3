"""Which manager is dead, and which one should lead a service. Pure.

Nobody compares wall clocks. A manager writes its row once in `BEAT_SECONDS`; by its own clock it
counts its session as valid for `VALID_SECONDS` from the beginning of the last write that succeeded.
Another manager takes it for dead when by its own clock the row has not changed for `DEAD_SECONDS`,
and the store has answered without interruption for `ANSWERING_SECONDS`: after it was away whoever
lives has to have had the time to write.

Services are shared out by rendezvous hashing: each manager draws a number for each service, and the
highest one leads. So a manager that comes or goes moves its own share and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

BEAT_SECONDS = 1.0
VALID_SECONDS = 2.5
DEAD_SECONDS = 3.5
ANSWERING_SECONDS = 1.5
LOOK_SECONDS = 0.5
"""Between two looks at the others."""
TAKEOVER_SECONDS = 5.0
"""In so long the services of a manager that ends are led by another one."""
LATE_SECONDS = 1.0
"""So long whoever should lead a service is given before another one takes it."""
SETTLED_SECONDS = 10.0
"""A manager has to have lived for so long before services are handed over to it."""


@dataclass(frozen=True)
class Sighting:
    """A row of another manager. In monotonic seconds of the manager that looks."""

    version: int
    first_at: float
    """The end of the look that saw this version first."""
    last_at: float
    """The beginning of the last look that saw it."""
    alive_since: float
    """The end of the look that saw the first of its rows that followed each other in time."""


@dataclass(frozen=True)
class Looks:
    """Whether the store answers, as seen by one manager."""

    answering_since: float | None = None
    """Without interruption; None: it does not."""
    ended_at: float = 0.0
    """The last one."""

    def after(self, began_at: float, ended_at: float) -> Looks:
        """One more that was answered."""
        gap = began_at - self.ended_at > ANSWERING_SECONDS
        slow = ended_at - began_at > BEAT_SECONDS
        whole = self.answering_since is not None and not gap and not slow
        return Looks(self.answering_since if whole else ended_at, ended_at)


def sighted(before: Sighting | None, version: int, began_at: float, ended_at: float) -> Sighting:
    """The row was seen in that version."""
    if before is None:
        return Sighting(version, ended_at, began_at, ended_at)
    if before.version == version:
        return Sighting(version, before.first_at, max(before.last_at, began_at), before.alive_since)
    lived_on = began_at - before.first_at < DEAD_SECONDS
    return Sighting(version, ended_at, began_at, before.alive_since if lived_on else ended_at)


def is_dead(seen: Sighting, looks: Looks) -> bool:
    """Whether that manager's session has run out, by its own clock, too."""
    if looks.answering_since is None:
        return False
    unchanged = seen.last_at - seen.first_at
    return unchanged >= DEAD_SECONDS and seen.last_at - looks.answering_since >= ANSWERING_SECONDS


def preferred(service: str, managers: Collection[str]) -> str | None:
    """Which of them should lead that service."""
    return max(managers, key=lambda name: (_draw(service, name), name), default=None)


def _draw(service: str, manager: str) -> bytes:
    return hashlib.sha256(f"{service}\0{manager}".encode()).digest()


def may_claim(service: str, me: str, living: Collection[str], unled_seconds: float) -> bool:
    """Whether this manager should take a service that nobody leads."""
    return unled_seconds >= LATE_SECONDS or preferred(service, {*living, me}) == me


def successor(service: str, me: str, living: Mapping[str, float]) -> str | None:
    """To whom this manager should hand over a service that it leads and that is well; None when it
    should keep it. `living`: for how many seconds each of the others has lived."""
    settled = {name for name, seconds in living.items() if seconds >= SETTLED_SECONDS}
    best = preferred(service, {*settled, me})
    return None if best == me else best
