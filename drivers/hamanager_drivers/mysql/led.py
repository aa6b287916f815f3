"""What each service's primary was last seen to have executed, and to wait for."""

from __future__ import annotations

import threading


class Led:
    """GTID sets, as text, of the last two probes of a primary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[str, str]] = {}

    def note(self, service: str, executed: str) -> None:
        """A probe of the primary."""
        with self._lock:
            before = self._seen.get(service)
            self._seen[service] = (executed, before[0] if before else executed)

    def last(self, service: str) -> str | None:
        """In the last probe."""
        with self._lock:
            return self._seen[service][0] if service in self._seen else None

    def before(self, service: str) -> str | None:
        """In the one before."""
        with self._lock:
            return self._seen[service][1] if service in self._seen else None


class Waits:
    """Since when each primary's writes have been waiting for standbys, none acknowledged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, tuple[tuple[str, ...], float]] = {}

    def note(self, address: str, clients: int, progress: tuple[str, ...], now: float) -> float:
        """A probe of the primary: so many clients wait, and `progress` changes with each that is
        acknowledged; for how many seconds that has been so."""
        with self._lock:
            if not clients:
                self._since.pop(address, None)
                return 0.0
            before = self._since.get(address)
            if before is None or before[0] != progress:
                self._since[address] = before = (progress, now)
            return now - before[1]
