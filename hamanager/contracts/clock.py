"""Time, as a thing that can be simulated."""

from __future__ import annotations

import time
from typing import Protocol

_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Reads the time. The core never reads it any other way."""

    def now(self) -> float:
        """Seconds since the epoch; for people, never for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, and go on while this process or its machine sleeps; for
        durations."""
        ...


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since the machine was started, those in which it slept among them."""
        return time.clock_gettime(_MONOTONIC)
