"""What the API says about drills, and the words in which they are asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from hamanager.errors import UsageError
from hamanager.model.drill import DrillFault, DrillResult

HOUR_SECONDS, DAY_SECONDS = 3600, 86400
LONGEST_DAYS = 366
MOST_ROUNDS = 20
_UNITS = {"h": HOUR_SECONDS, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_EVERY = re.compile(r"([0-9]{1,4})([hdw])")
_AT = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_QUARTER = re.compile(r"(20[0-9]{2})Q([1-4])", re.IGNORECASE)
_UNCHANGED = "nothing was changed"


class ScheduleView(BaseModel):
    """When a service's drills are due. Times are in seconds since the epoch."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    service: str
    every_seconds: int
    at: str
    """The time of day of the first one, in UTC: `03:00`."""
    fault: DrillFault
    rounds: int
    since: float
    next_at: float
    under_way: bool = False
    """A drill of it, by schedule or by hand."""
    last: DrillResult | None = None
    """What became of the last one, by schedule or by hand."""


class Figures(BaseModel):
    """What came of several drills."""

    model_config = ConfigDict(frozen=True)

    fault: DrillFault | None
    """null: of all faults."""
    drills: int
    """All of the next five together."""
    passed: int
    failed: int
    refused: int
    missed: int
    unfinished: int
    rounds: int
    """Faults that were injected."""
    rto_seconds_min: float | None
    """From the fault to the first write that was accepted again; null when writes always went
    on."""
    rto_seconds_median: float | None
    rto_seconds_max: float | None
    uninterrupted_rounds: int
    """In which writes went on, so that there is no such time."""
    acknowledged: int
    """Writes."""
    lost: int
    """Of these, how many the primary did not hold at the end of their drill (RPO)."""
    lost_most: int
    """The most in one drill."""
    lost_unknown: int
    """Drills after which the primary could not be asked."""
    two_primaries: int
    """Rounds in which two servers were seen to take writes at once."""


class DrillsReport(BaseModel):
    """A quarter of a service's drills."""

    model_config = ConfigDict(frozen=True)

    service: str
    quarter: str
    """`2026Q4`, in UTC."""
    begins_at: float
    ends_at: float
    made_at: float
    """What is later than that is not in it."""
    program: str
    authority: str
    """The SHA-256 of the certificate whose key signs the report."""
    all: Figures
    faults: list[Figures]
    drills: list[DrillResult]


class SignedReport(BaseModel):
    """A report as it was signed."""

    model_config = ConfigDict(frozen=True)

    content: str
    """UTF-8, exactly as it was signed."""
    signature: str
    """Base64."""


def parse_every(text: str) -> int:
    """Seconds: `12h`, `7d`, `2w`.

    Raises:
        UsageError: it is no such time, or out of bounds.
    """
    match = _EVERY.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(
            f"--every takes a number of hours, days or weeks such as 12h, 7d or 2w, not '{text}';"
            f" {_UNCHANGED}"
        )
    return checked_every(int(match[1]) * _UNITS[match[2]], text)


def checked_every(seconds: int, text: str = "") -> int:
    """That time, when drills can be so far apart.

    Raises:
        UsageError: they cannot.
    """
    if not HOUR_SECONDS <= seconds <= LONGEST_DAYS * DAY_SECONDS:
        raise UsageError(
            f"drills can be 1h to {LONGEST_DAYS}d apart, not {text or f'{seconds} s'}; {_UNCHANGED}"
        )
    return seconds


def parse_at(text: str) -> int:
    """The minute of the day: `03:00`.

    Raises:
        UsageError: there is no such time of day.
    """
    match = _AT.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"--at takes a time of day in UTC from 00:00 to 23:59, not '{text}'; {_UNCHANGED}"
        )
    return int(match[1]) * 60 + int(match[2])


def time_of_day(minute: int) -> str:
    """`03:00`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def quarter_bounds(text: str) -> tuple[float, float]:
    """The beginning of that quarter, and of the next one: `2026Q4`.

    Raises:
        UsageError: it is no quarter.
    """
    match = _QUARTER.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"a quarter is written 2026Q4, not '{text}'; nothing was made")
    year, number = int(match[1]), int(match[2])
    begins = datetime(year, 3 * number - 2, 1, tzinfo=UTC)
    after = (year, 3 * number + 1) if number < 4 else (year + 1, 1)
    return begins.timestamp(), datetime(*after, 1, tzinfo=UTC).timestamp()


def quarter_of(at: float) -> str:
    """In which quarter that moment is."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.year}Q{(moment.month + 2) // 3}"
