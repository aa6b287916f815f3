"""The store contract in memory: for tests and simulations."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from hamanager.contracts.store import Keep, Versioned
from hamanager.errors import StaleVersionError
from hamanager.model.history import HistoryEntry


class MemoryStore:
    """Keeps everything in dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._values: dict[str, Versioned] = {}
        self._history: list[HistoryEntry] = []
        self._last_version = 0
        self._changes: dict[str, int] = {}
        """Of each key that was ever there, the version of its last change or deletion."""

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: str, value: str, expected: int) -> int:
        """Set a key whose version still is `expected`."""
        with self._lock:
            self._check(key, expected)
            self._values[key] = Versioned(value, self._next_version(key))
            return self._last_version

    def delete(self, key: str, expected: int) -> None:
        """Remove a key whose version still is `expected`."""
        with self._lock:
            self._check(key, expected)
            if self._values.pop(key, None) is not None:
                self._next_version(key)

    def keys(self, prefix: str) -> Sequence[str]:
        """All keys that begin so, sorted."""
        with self._lock:
            return sorted(key for key in self._values if key.startswith(prefix))

    def changed(self, prefix: str, after: int) -> Mapping[str, Versioned]:
        """All keys that begin so and have been changed later than that version."""
        with self._lock:
            return {
                key: kept
                for key, kept in sorted(self._values.items())
                if key.startswith(prefix) and kept.version > after
            }

    def version(self) -> int:
        """The newest version of the whole store."""
        with self._lock:
            return self._last_version

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        """Wait until a key that begins so has been changed or deleted later than `after`."""

        def over() -> bool:
            return self._last_version < after or any(
                version > after for key, version in self._changes.items() if key.startswith(prefix)
            )

        with self._lock:
            self._lock.wait_for(over, timeout_seconds)
            return self._last_version

    def append(self, entry: HistoryEntry) -> None:
        """Add to the history."""
        with self._lock:
            self._history.append(entry)

    def history(
        self, service: str, limit: int | None = None, since: float = 0.0
    ) -> Sequence[HistoryEntry]:
        """The newest `limit` entries of that service, oldest first."""
        found = [entry for entry in self._entries(service) if entry.at >= since]
        return found if limit is None else found[len(found) - min(max(0, limit), len(found)) :]

    def copy(self) -> dict[str, Versioned]:
        """All values, as a backup keeps them."""
        with self._lock:
            return dict(self._values)

    def restore(self, copy: Mapping[str, Versioned]) -> None:
        """Go back to a copy."""
        with self._lock:
            self._values = dict(copy)

    def services_with_history(self) -> Sequence[str]:
        """The names that have entries, sorted."""
        with self._lock:
            return sorted({entry.service for entry in self._history})

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        """Delete entries of that service that need not be kept, of its oldest ones."""
        entries = self._entries(service)
        gone = {
            id(entry)
            for number, entry in enumerate(entries[:batch])
            if len(entries) - number > keep.newest
            or (len(entries) - number > keep.always and entry.at < keep.since)
        }
        with self._lock:
            self._history = [entry for entry in self._history if id(entry) not in gone]
        return len(gone)

    def _entries(self, service: str) -> list[HistoryEntry]:
        with self._lock:
            return [entry for entry in self._history if entry.service == service]

    def close(self) -> None:
        """Nothing is held open."""

    def _next_version(self, key: str) -> int:
        self._last_version += 1
        self._changes[key] = self._last_version
        self._lock.notify_all()
        return self._last_version

    def _check(self, key: str, expected: int) -> None:
        kept = self._values.get(key)
        if (kept.version if kept else 0) != expected:
            raise StaleVersionError(f"'{key}' was changed by somebody else: nothing was written")
