"""What each service's primary was last seen to have executed."""

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
