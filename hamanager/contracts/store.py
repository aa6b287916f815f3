"""The store contract: versioned keys, compare-and-swap, an append-only history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hamanager.model.history import HistoryEntry


@dataclass(frozen=True)
class Versioned:
    """A value together with the version that a compare-and-swap needs."""

    value: str
    version: int
    """Grows with each change of the key, starting at 1; never reused, not even after a
    deletion."""


@dataclass(frozen=True)
class Keep:
    """Which entries of a service's history are kept."""

    newest: int
    """So many at the most."""
    since: float
    """Older ones (seconds since the epoch) are not ..."""
    always: int = 0
    """... except so many of the newest."""


class Reader(Protocol):
    """What single values are read from: a store, or what a part of it was at one moment."""

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        ...


class Store(Protocol):
    """Where specs, records, secrets and history live.

    Raises `StoreError` (one sentence) when it cannot be read or written within some seconds.
    """

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        ...

    def put(self, key: str, value: str, expected: int) -> int:
        """Set a key whose version still is `expected` (0: it does not exist); durable when it
        returns. Returns the new version.

        Raises:
            StaleVersionError: the version is another.
        """
        ...

    def delete(self, key: str, expected: int) -> None:
        """Remove a key whose version still is `expected`.

        Raises:
            StaleVersionError: the version is another.
        """
        ...

    def keys(self, prefix: str) -> Sequence[str]:
        """All keys that begin so, sorted."""
        ...

    def changed(self, prefix: str, after: int) -> Mapping[str, Versioned]:
        """All keys that begin so and have been changed later than that version, with their values
        (0: all that there are): as they were at one moment."""
        ...

    def version(self) -> int:
        """The newest version of the whole store."""
        ...

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        """Wait until a key that begins so has been changed or deleted at a version later than
        `after`, at most so long. Returns the newest version of the store seen then, which is what
        to pass the next time: so no change is missed between two calls. May return early.

        Smaller than `after` when an older copy of the store has been put in its place: whatever
        was read before may be outdated.
        """
        ...

    def append(self, entry: HistoryEntry) -> None:
        """Add to the history. It survives the process at once, and the machine's crash when a key
        has been changed after it."""
        ...

    def history(
        self, service: str, limit: int | None = None, since: float = 0.0
    ) -> Sequence[HistoryEntry]:
        """The newest `limit` entries of that service (all when None) whose `at` is not before
        `since`, oldest first. Takes no longer for what is older or beyond the limit."""
        ...

    def services_with_history(self) -> Sequence[str]:
        """The names that have entries, sorted; also of services that are no more."""
        ...

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        """Delete entries of that service that need not be kept, of its `batch` oldest ones: so it
        is done in a moment. How many were deleted."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...
