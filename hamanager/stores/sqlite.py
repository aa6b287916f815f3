"""The store contract in one SQLite file: the default, with nothing else to run.

Several processes may have the file open (the daemon, a command, a second manager): SQLite's lock
makes each compare-and-swap atomic between them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from hamanager.contracts.store import Keep, Versioned
from hamanager.errors import StaleVersionError, StoreError
from hamanager.model.history import HistoryEntry

BUSY_SECONDS = 5.0
"""How long to wait for another thread's or process's transaction."""
LAST = chr(0x10FFFF)
"""Sorts after every character of a key."""
POLL_SECONDS = 0.01
"""How often one that waits looks for what another process has changed."""
SCHEMA_VERSION = 3

_SCHEMA = """
CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL);
CREATE TABLE counter (last_version INTEGER NOT NULL);
CREATE TABLE deletions (key TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE history (
    number INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, entry TEXT NOT NULL,
    at REAL NOT NULL DEFAULT 0
);
CREATE INDEX history_in_time ON history (service, number, at);
INSERT INTO counter VALUES (0);
"""

_FROM_VERSION_1 = """
ALTER TABLE history ADD COLUMN at REAL NOT NULL DEFAULT 0;
UPDATE history SET at = json_extract(entry, '$.at') WHERE json_valid(entry);
DROP INDEX history_by_service;
CREATE INDEX history_in_time ON history (service, number, at);
"""

_FROM_VERSION_2 = "CREATE TABLE deletions (key TEXT PRIMARY KEY, version INTEGER NOT NULL)"

_STEPS = (_SCHEMA, f"{_FROM_VERSION_1};{_FROM_VERSION_2}", _FROM_VERSION_2)
"""By the version that the file has: what makes it the present one."""

_CHANGED = """
SELECT EXISTS (SELECT 1 FROM {} WHERE version > :after AND substr(key, 1, :length) = :prefix)
"""

_NAMES = """
WITH RECURSIVE names (name) AS (
    SELECT MIN(service) FROM history
    UNION ALL
    SELECT (SELECT MIN(service) FROM history WHERE service > name) FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
"""
"""`DISTINCT` would read every entry."""

_PRUNE = """
DELETE FROM history WHERE number IN (
    SELECT number FROM (
        SELECT number, at FROM history WHERE service = :service ORDER BY number LIMIT :batch
    )
    WHERE number <= :last_beyond OR (number <= :last_aging AND at < :since)
)
"""

_REASONS: Mapping[str, str] = {
    "SQLITE_BUSY": f"is locked by another process for more than {BUSY_SECONDS:.0f} s",
    "SQLITE_LOCKED": "is locked by another process",
    "SQLITE_FULL": "cannot grow: its disk is full",
    "SQLITE_READONLY": "cannot be written: the file or its directory is read-only",
    "SQLITE_PERM": "cannot be used: its permissions deny it",
    "SQLITE_CANTOPEN": "cannot be opened: look at the permissions of its directory",
    "SQLITE_CORRUPT": "is damaged: restore it from a copy",
    "SQLITE_NOTADB": "is not a store of hamanager, or is damaged: restore it or move it away",
    "SQLITE_IOERR": "cannot be read or written: its disk reports an error",
}


class SqliteStore:
    """One connection, guarded by a lock; every call is one transaction, and each change of a key
    durable on return."""

    def __init__(self, path: Path | str) -> None:
        """Opens the file, making it and its directory (0600 in 0700: it holds secrets).

        Raises:
            StoreError: it cannot be used.
        """
        self._path = Path(path)
        self._lock = threading.Lock()
        self._change = threading.Condition()
        self._told = 0
        """How often this process has told those who wait that something has changed."""
        with self._explained():
            _make_private(self._path)
            self._connection = sqlite3.connect(
                self._path,
                timeout=BUSY_SECONDS,
                isolation_level=None,  # transactions begin where the code says so
                check_same_thread=False,
            )
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT value, version FROM entries WHERE key = ?", (key,)
            ).fetchone()
        return Versioned(*row) if row else None

    def put(self, key: str, value: str, expected: int) -> int:
        """Set a key whose version still is `expected`."""
        with self._changing(key, expected) as connection:
            version = _next_version(connection)
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value, version = excluded.version",
                (key, value, version),
            )
            connection.execute("DELETE FROM deletions WHERE key = ?", (key,))
        self._tell()
        return version

    def delete(self, key: str, expected: int) -> None:
        """Remove a key whose version still is `expected`."""
        with self._changing(key, expected) as connection:
            if connection.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount:
                connection.execute(
                    "INSERT INTO deletions VALUES (?, ?)", (key, _next_version(connection))
                )
        self._tell()

    def keys(self, prefix: str) -> Sequence[str]:
        """All keys that begin so, sorted."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT key FROM entries WHERE substr(key, 1, ?) = ? ORDER BY key",
                (len(prefix), prefix),
            ).fetchall()
        return [key for (key,) in rows]

    def changed(self, prefix: str, after: int) -> Mapping[str, Versioned]:
        """All keys that begin so and have been changed later than that version."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT key, value, version FROM entries"
                " WHERE key >= ? AND key < ? AND version > ? ORDER BY key",
                (prefix, prefix + LAST, after),
            ).fetchall()
        return {key: Versioned(value, version) for key, value, version in rows}

    def version(self) -> int:
        """The newest version of the whole store."""
        with self._reading() as connection:
            return _last_version(connection)

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        """Wait until a key that begins so has been changed or deleted later than `after`."""
        deadline = time.monotonic() + timeout_seconds
        seen = after
        while True:
            told = self._told
            with self._reading() as connection:
                newest = _last_version(connection)
                if newest != seen and _changed(connection, prefix, after):
                    return newest
            seen = newest
            left = deadline - time.monotonic()
            if newest < after or left <= 0:
                return newest
            with self._change:
                self._change.wait_for(lambda: self._told != told, min(left, POLL_SECONDS))  # noqa: B023

    def append(self, entry: HistoryEntry) -> None:
        """Add to the history, with the next change of a key at the latest on the disk: a failover
        writes ten entries and does not wait for the disk with each."""
        with self._transaction(durable=False) as connection:
            connection.execute(
                "INSERT INTO history (service, entry, at) VALUES (?, ?, ?)",
                (entry.service, entry.model_dump_json(), entry.at),
            )

    def history(
        self, service: str, limit: int | None = None, since: float = 0.0
    ) -> Sequence[HistoryEntry]:
        """The newest `limit` entries of that service, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT entry FROM history WHERE service = ? AND at >= ?"
                " ORDER BY number DESC LIMIT ?",
                (service, since, -1 if limit is None else max(0, limit)),
            ).fetchall()
        try:
            return [HistoryEntry.model_validate_json(entry) for (entry,) in reversed(rows)]
        except ValidationError as error:
            raise StoreError(
                f"the store {self._path} holds a history entry of '{service}' that is damaged"
            ) from error

    def services_with_history(self) -> Sequence[str]:
        """The names that have entries, sorted."""
        with self._reading() as connection:
            return [name for (name,) in connection.execute(_NAMES)]

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        """Delete entries of that service that need not be kept, of its oldest ones."""
        with self._reading() as connection:
            chosen = {
                "service": service,
                "batch": batch,
                "last_beyond": _after_newest(connection, service, keep.newest),
                "last_aging": _after_newest(connection, service, keep.always),
                "since": keep.since,
            }
        with self._transaction() as connection:
            return connection.execute(_PRUNE, chosen).rowcount

    def close(self) -> None:
        """Close the file; the write-ahead log is merged into it when nobody else has it open."""
        with self._reading() as connection:
            connection.close()
        self._tell()

    # --- Transactions ----------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._held():
            yield self._connection

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            # FULL syncs the log with each commit, and with it what was committed before.
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            # Takes the write lock at once: what is read inside is what is written over.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some failures have rolled back already
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _changing(self, key: str, expected: int) -> Iterator[sqlite3.Connection]:
        """A transaction in which the key has the expected version."""
        with self._transaction() as connection:
            row = connection.execute("SELECT version FROM entries WHERE key = ?", (key,)).fetchone()
            if (row[0] if row else 0) != expected:
                raise StaleVersionError(
                    f"'{key}' was changed by somebody else: nothing was written"
                )
            yield connection

    def _tell(self) -> None:
        """Wake those of this process who wait for a change."""
        with self._change:
            self._told += 1
            self._change.notify_all()

    @contextmanager
    def _held(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise StoreError(f"the store {self._path} is busy for more than {BUSY_SECONDS:.0f} s")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite and the system raise into one sentence that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            # Extended names (SQLITE_IOERR_FSYNC) begin with the plain one.
            name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
            reason = _REASONS.get(name, f"failed: {error}")
            raise StoreError(f"the store {self._path} {reason}") from error
        except OSError as error:
            raise StoreError(
                f"the store {self._path} cannot be opened: {error.strerror or error}"
            ) from error

    # --- The file --------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Set the modes, and make the tables of a new file."""
        with self._held():
            # Readers and the writer do not block each other.
            self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as connection:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if schema > SCHEMA_VERSION:
                raise StoreError(
                    f"the store {self._path} was written by a newer hamanager; use that one"
                )
            if schema < SCHEMA_VERSION:
                for statement in _STEPS[schema].split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _next_version(connection: sqlite3.Connection) -> int:
    """One counter for all keys and deletions: no version comes twice."""
    (version,) = connection.execute(
        "UPDATE counter SET last_version = last_version + 1 RETURNING last_version"
    ).fetchone()
    return int(version)


def _last_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("SELECT last_version FROM counter").fetchone()
    return int(version)


def _changed(connection: sqlite3.Connection, prefix: str, after: int) -> bool:
    """Whether a key that begins so has been changed or deleted at a later version."""
    what = {"after": after, "prefix": prefix, "length": len(prefix)}
    return any(
        connection.execute(_CHANGED.format(table), what).fetchone()[0]
        for table in ("entries", "deletions")
    )


def _after_newest(connection: sqlite3.Connection, service: str, newest: int) -> int:
    """The number of the newest entry that is not among so many; 0 when all are."""
    row = connection.execute(
        "SELECT number FROM history WHERE service = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
        (service, newest),
    ).fetchone()
    return int(row[0]) if row else 0


def _make_private(path: Path) -> None:
    """Make the file, or narrow the one that is there; SQLite gives its companions (the log and
    its index) the same permissions. A directory that is there already keeps its own."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
