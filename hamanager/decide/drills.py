"""Whether a drill is due, and what becomes of due times at which nobody was there. Pure.

Nothing is remembered but the schedule: which due time was seen to last. So it is the same for every
manager, and after every restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hamanager.model.drill import Schedule

DAY_SECONDS = 86400
LATE_SECONDS = 3600.0
"""A drill that could not begin in time is run within the hour: later is another time of day than
the one that was chosen for it, so it is told as missed."""
START_SECONDS = 300.0
"""After so long one that was seen to, and of which nothing is known, was not carried out."""
MISSED_AT_ONCE = 100
"""So many are told one by one."""


@dataclass(frozen=True)
class Missed:
    """Due times at which no manager was there."""

    due_at: float
    """The last of them."""
    times: int = 1


@dataclass(frozen=True)
class Due:
    """What is to be done now."""

    missed: tuple[Missed, ...] = ()
    run_at: float | None = None
    """The due time of the drill that is to be run."""
    settle_at: float | None = None
    """Up to which everything is seen to by that; None: there was nothing."""
    unfinished_at: float | None = None
    """The due time of a drill that somebody saw to and of which nothing came."""


def first_at(schedule: Schedule) -> float:
    """The first due time: that time of day after the schedule was made."""
    day = schedule.since // DAY_SECONDS * DAY_SECONDS
    first = day + schedule.at_minute * 60
    return first if first > schedule.since else first + DAY_SECONDS


def next_at(schedule: Schedule, now: float) -> float:
    """The first due time after that moment."""
    first = first_at(schedule)
    if now < first:
        return first
    done = math.floor((now - first) / schedule.every_seconds)
    return first + (done + 1) * schedule.every_seconds


def due(schedule: Schedule, now: float, *, told: bool, busy: bool) -> Due:
    """What is due now. `told`: what became of the due time seen to last is known; `busy`: a drill
    of that service is under way."""
    unfinished = None
    settled_at = schedule.settled_at
    if settled_at is not None and not (told or busy) and now - schedule.begun_at > START_SECONDS:
        unfinished = settled_at
    last = next_at(schedule, now) - schedule.every_seconds
    before = schedule.since if settled_at is None else settled_at
    first = max(first_at(schedule), next_at(schedule, before))
    if last < first:
        return Due(unfinished_at=unfinished)
    pending = round((last - first) / schedule.every_seconds) + 1
    run_at = last if now - last <= LATE_SECONDS else None
    missed = _missed(schedule, last, pending, skipped=0 if run_at is None else 1)
    return Due(missed, run_at, last, unfinished)


def _missed(schedule: Schedule, last: float, pending: int, skipped: int) -> tuple[Missed, ...]:
    """The due times before the last one, oldest first; without so many of the last ones."""
    count = pending - skipped
    shown = min(count, MISSED_AT_ONCE)
    found = [Missed(last - (skipped + number) * schedule.every_seconds) for number in range(shown)]
    if count > shown:
        found[-1] = Missed(found[-1].due_at, 1 + count - shown)
    return tuple(reversed(found))
