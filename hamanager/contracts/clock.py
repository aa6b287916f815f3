"""Time, as a thing that can be simulated."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Reads the time. The core never reads it any other way."""

    def now(self) -> float:
        """Seconds since the epoch; for people, never for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; for durations."""
        ...


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()
