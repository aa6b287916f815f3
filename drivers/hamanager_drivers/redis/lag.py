"""Lag in seconds, from the primary's own offsets.

Redis tells how many bytes a standby is behind, not for how long. Each probe of a primary leaves
a sample of its offset; a standby is as far behind as the youngest sample that it has reached is
old. The resolution is the time between probes.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque

SAMPLES = 600


class OffsetHistory:
    """The last offsets of one service's primary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replid = ""
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self.dataset_bytes: int | None = None
        """About how large a full copy is."""

    def note(self, replid: str, offset: int, at: float) -> None:
        """The primary's offset at that (monotonic) time."""
        with self._lock:
            if replid != self._replid:
                self._samples.clear()
                self._replid = replid
            if not self._samples or self._samples[-1][1] != offset:
                self._samples.append((at, offset))

    def lag_seconds(self, replid: str, offset: int, now: float) -> float | None:
        """How long ago the primary wrote the first thing that a standby at that offset lacks;
        None when nothing is known of that primary."""
        with self._lock:
            if replid != self._replid or not self._samples:
                return None
            missing = [at for at, reached in self._samples if reached > offset]
        return max(0.0, now - missing[0]) if missing else 0.0

    def last_offset(self, replid: str) -> int | None:
        """The last known offset of the primary with that replication id."""
        with self._lock:
            if replid != self._replid or not self._samples:
                return None
            return self._samples[-1][1]


class OffsetHistories:
    """Those of all services."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histories: dict[str, OffsetHistory] = defaultdict(OffsetHistory)

    def of(self, service: str) -> OffsetHistory:
        """Of that service's primary."""
        with self._lock:
            return self._histories[service]
