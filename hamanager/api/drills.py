"""What the API says about drills, and the words in which they are asked for."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from hamanager.errors import UsageError
from hamanager.model.drill import DrillFault, DrillResult

HOUR_SECONDS, DAY_SECONDS = 3600, 86400
LONGEST_DAYS = 366
MOST_ROUNDS = 20
_UNITS = {"h": HOUR_SECONDS, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_EVERY = re.compile(r"([0-9]{1,4})([hdw])")
_AT = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
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
