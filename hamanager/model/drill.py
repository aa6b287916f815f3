"""Drills: their faults, when they are due, and what is kept of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import ConfigDict

from hamanager.model.frozen import Frozen

KEY = "drill-schedules/"
"""Under which schedules lie in the store, by service: apart from the service's rows, which each
pass reads."""


class DrillFault(StrEnum):
    """As `--fault` names them."""

    KILL = "kill"
    HANG = "hang"
    PARTITION = "partition"
    SLOW = "slow"
    DISK_FULL = "disk-full"
    RESTART = "restart"


class Schedule(Frozen):
    """When a service's drills are due. Times are in seconds since the epoch."""

    service: str
    every_seconds: int
    at_minute: int
    """Of the day, in UTC: of the first one; the others follow from it."""
    fault: DrillFault
    rounds: int
    since: float
    """When it was made: nothing before that is due."""
    settled_at: float | None = None
    """The last due time that some manager has seen to: it, and all before it, are nobody's any
    more."""
    begun_at: float = 0.0
    """When that was."""
    manager: str = ""
    """And which manager."""

    def settled(self, due_at: float, manager: str, now: float) -> Self:
        """A manager sees to that due time and to all before it."""
        return self._with(settled_at=due_at, begun_at=now, manager=manager)


class Claim(Frozen):
    """A drill that is under way: the only one of its service."""

    id: str
    fault: DrillFault
    rounds: int
    began_at: float
    until: float
    """From then on nobody carries it out any more: it says so again with each round."""
    due_at: float | None = None
    """Of one by schedule."""

    def extended(self, until: float) -> Self:
        """It goes on."""
        return self._with(until=until)


NOTED = "drill"
"""In the place of a rule's name: what drills note in the history."""


class Outcome(StrEnum):
    """What became of a drill."""

    PASSED = "passed"
    FAILED = "failed"
    """The service did not do what it promises."""
    REFUSED = "refused"
    """Nothing was broken, because the service was not fit for it then."""
    MISSED = "missed"
    """No manager was there at its time."""
    UNFINISHED = "unfinished"
    """It was begun, and not carried out to its end."""


class DrilledRound(Frozen):
    """What clients noticed of one fault."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    first_write_seconds: float | None
    """From the fault to the first write that was accepted again; None when writes went on."""
    longest_gap_seconds: float | None
    acknowledged: int
    lost: int | None
    """Acknowledged writes that the primary does not hold; None when it could not be asked."""
    duplicate_primaries: int
    recovered: bool


class DrillResult(Frozen):
    """What is kept of a drill, for long."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    service: str
    engine: str = ""
    version: str | None = None
    """Of the server."""
    fault: DrillFault
    rounds_wanted: int
    outcome: Outcome
    text: str
    """One sentence."""
    due_at: float | None = None
    """Of one by schedule; None of one by hand."""
    began_at: float
    ended_at: float
    times: int = 1
    """How many due times that stands for: many may have been missed at once."""
    lossless: bool = False
    """The service promises not to lose acknowledged writes."""
    rounds: tuple[DrilledRound, ...] = ()
    acknowledged: int = 0
    lost: int | None = None
    """Of all acknowledged writes, at the very end; None when that is not known."""
    manager: str = ""
    """Which one told it; '' where the drill itself did."""

    def of_times(self, times: int) -> Self:
        """It stands for so many due times."""
        return self._with(times=times)

    @property
    def at(self) -> float:
        """The moment that it counts for."""
        return self.began_at if self.due_at is None else self.due_at
