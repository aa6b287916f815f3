"""The store contract: one body, every store; then what is SQLite's alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hamanager.contracts.store import Keep, Store, Versioned
from hamanager.errors import StaleVersionError, StoreError
from hamanager.model.history import HistoryEntry
from hamanager.stores.sqlite import SqliteStore
from tests.support.altered import altered
from tests.support.memory_store import MemoryStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda directory: SqliteStore(directory / "state" / "hamanager.db"),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


def entry(text: str, service: str = "db") -> HistoryEntry:
    return HistoryEntry(at=1.5, service=service, kind="note", text=text)


# --- Every store ---------------------------------------------------------------------------------


def test_a_key_from_its_beginning_to_its_end(store: Store) -> None:
    assert store.get("a") is None
    version = store.put("a", "one", 0)
    assert version >= 1
    assert store.get("a") == Versioned("one", version)
    later = store.put("a", "two", version)
    assert later > version
    assert store.get("a") == Versioned("two", later)
    store.delete("a", later)
    assert store.get("a") is None


@pytest.mark.parametrize(
    "value", ["", "ü €\N{GRINNING FACE}", "a\0b", "'; DROP TABLE entries", "x" * 300_000]
)
def test_values_come_back_as_they_were(store: Store, value: str) -> None:
    store.put("key 'with' %_*", value, 0)
    assert store.get("key 'with' %_*") == Versioned(value, 1)


def test_only_the_expected_version_is_changed(store: Store) -> None:
    version = store.put("a", "one", 0)
    for stale in (0, version - 1, version + 1):
        with pytest.raises(StaleVersionError, match="'a' was changed by somebody else"):
            store.put("a", "lost", stale)
        with pytest.raises(StaleVersionError):
            store.delete("a", stale)
    with pytest.raises(StaleVersionError):
        store.put("b", "lost", version)
    with pytest.raises(StaleVersionError):
        store.delete("b", version)
    store.delete("b", 0)  # it does not exist, as expected
    assert store.get("a") == Versioned("one", version)
    assert store.keys("") == ["a"]


def test_a_version_never_comes_twice(store: Store) -> None:
    seen = set()
    version = 0
    for _ in range(3):
        for _ in range(3):
            version = store.put("a", "same", version)
            assert version not in seen
            seen.add(version)
        store.delete("a", version)
        version = 0


def test_keys_by_prefix(store: Store) -> None:
    for key in (
        "services/db/wish",
        "services/db2/wish",
        "services/db/record",
        "other",
        "Services/",
    ):
        store.put(key, "", 0)
    assert store.keys("services/db/") == ["services/db/record", "services/db/wish"]
    assert store.keys("services/db") == [
        "services/db/record",
        "services/db/wish",
        "services/db2/wish",
    ]
    assert len(store.keys("")) == 5
    assert store.keys("services/%") == []
    assert store.keys("nothing") == []


def test_history_is_per_service_and_in_order(store: Store) -> None:
    for number in range(5):
        store.append(entry(str(number)))
        store.append(entry(f"other {number}", "db2"))
    assert [e.text for e in store.history("db")] == ["0", "1", "2", "3", "4"]
    assert [e.text for e in store.history("db", 2)] == ["3", "4"]
    assert [e.text for e in store.history("db", 99)] == ["0", "1", "2", "3", "4"]
    assert store.history("db", 0) == []
    assert store.history("unknown") == []
    full = HistoryEntry(
        at=2.25, service="db", kind="step", text="t", run="r", playbook="p", number=1,
        seconds=0.5, ok=False,
    )  # fmt: skip
    store.append(full)
    assert store.history("db", 1) == [full]


def test_history_since_a_time(store: Store) -> None:
    for number in range(10):
        store.append(altered(entry(str(number)), at=float(number)))
        store.append(entry("other", "db2"))
    assert [e.text for e in store.history("db", 3, 8.0)] == ["8", "9"]
    assert [e.text for e in store.history("db", 1, 2.0)] == ["9"]
    assert [e.text for e in store.history("db", since=7.0)] == ["7", "8", "9"]
    assert store.history("db", since=10.0) == []


def test_history_is_pruned_by_number_and_age(store: Store) -> None:
    for number in range(10):
        store.append(altered(entry(str(number)), at=float(number)))
        store.append(entry("other", "db2"))
    assert store.services_with_history() == ["db", "db2"]

    def left() -> str:
        return "".join(e.text for e in store.history("db"))

    assert store.prune("db", Keep(newest=10, since=0.0), 100) == 0
    assert store.prune("db", Keep(newest=8, since=0.0), 100) == 2
    assert left() == "23456789"
    assert store.prune("db", Keep(newest=8, since=4.0), 100) == 2
    assert left() == "456789"
    assert store.prune("db", Keep(newest=8, since=99.0, always=4), 1) == 1, "a batch of one"
    assert left() == "56789"
    assert store.prune("db", Keep(newest=8, since=99.0, always=4), 100) == 1
    assert left() == "6789"
    assert store.prune("db", Keep(newest=8, since=99.0), 100) == 4
    assert store.services_with_history() == ["db2"]
    assert len(store.history("db2")) == 10
    assert store.prune("unknown", Keep(newest=0, since=99.0), 100) == 0
    store.append(entry("new"))
    assert left() == "new"


def test_threads_that_compete(store: Store) -> None:
    """Every increment is kept: a lost compare-and-swap is noticed by the loser."""
    store.put("counter", "0", 0)
    errors: list[BaseException] = []

    def increment() -> None:
        try:
            for _ in range(25):
                increment_once(store)
                store.append(entry("incremented"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    kept = store.get("counter")
    assert kept is not None
    assert kept.value == "100"
    assert len(store.history("db")) == 100


def increment_once(store: Store) -> None:
    while True:
        kept = store.get("counter")
        assert kept is not None
        try:
            store.put("counter", str(int(kept.value) + 1), kept.version)
        except StaleVersionError:
            continue
        return


# --- SQLite --------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hamanager.db"


def test_processes_that_compete(path: Path) -> None:
    """They also make the file at the same time."""
    program = (
        "import sys; from pathlib import Path\n"
        "from hamanager.errors import StaleVersionError\n"
        "from hamanager.stores.sqlite import SqliteStore\n"
        "from tests.contract.test_store import increment_once\n"
        "sys.stdin.readline()\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "try: store.put('counter', '0', 0)\n"
        "except StaleVersionError: pass\n"
        "for _ in range(50): increment_once(store)\n"
        "store.close()\n"
    )
    search = os.pathsep.join(p for p in sys.path if p)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    store = SqliteStore(path)
    kept = store.get("counter")
    store.close()
    assert kept is not None
    assert kept.value == "150"


def test_everything_is_there_after_reopening(path: Path) -> None:
    store = SqliteStore(path)
    version = store.put("a", "kept", 0)
    last = store.put("b", "gone", 0)
    store.delete("b", last)
    store.append(entry("kept"))
    store.close()
    store = SqliteStore(path)
    assert store.get("a") == Versioned("kept", version)
    assert store.put("b", "again", 0) > last
    assert [e.text for e in store.history("db")] == ["kept"]
    store.close()


def test_only_changes_of_keys_wait_for_the_disk(path: Path) -> None:
    store = SqliteStore(path)
    said: list[str] = []
    store._connection.set_trace_callback(said.append)
    store.append(entry("a step"))
    store.put("a", "1", 0)
    store.append(entry("a step"))
    store._connection.set_trace_callback(None)
    modes = [statement.rpartition(" ")[2] for statement in said if "synchronous" in statement]
    assert modes == ["NORMAL", "FULL", "NORMAL"]
    store.close()


def test_a_write_survives_a_kill_of_the_process(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from hamanager.stores.sqlite import SqliteStore\n"
        "SqliteStore(Path(sys.argv[1])).put('a', 'kept', 0)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=30)
    store = SqliteStore(path)
    assert store.get("a") == Versioned("kept", 1)
    store.close()


def test_a_failed_change_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    store.put("a", "one", 0)
    with pytest.raises(StoreError):
        store.put("a", {}, 1)  # type: ignore[arg-type]
    assert store.get("a") == Versioned("one", 1)
    assert store.put("a", "two", 1) == 2
    store.close()


def test_nobody_else_can_read_it(path: Path) -> None:
    store = SqliteStore(path)
    store.put("a", "secret", 0)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = list(path.parent.iterdir())
    assert len(files) == 3  # the log and its index too
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()
    path.chmod(0o644)
    SqliteStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_promised_modes(path: Path) -> None:
    store = SqliteStore(path)
    connection = store._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    store.close()


def test_a_locked_file_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamanager.stores.sqlite.BUSY_SECONDS", 0.1)
    store = SqliteStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=f"^the store {path} is locked by another process"):
        store.put("a", "", 0)
    assert store.get("a") is None, "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    assert store.put("a", "", 0)
    store.close()


def test_a_damaged_file_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match=f"^the store {path} is not a store of hamanager"):
        SqliteStore(path)

    path.unlink()
    store = SqliteStore(path)
    for number in range(200):
        store.append(entry("x" * 500 + str(number)))
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=f"^the store {path} is damaged"):
        store.history("db")
    store.close()


def test_a_full_disk_is_named_and_survived(path: Path) -> None:
    store = SqliteStore(path)
    store.put("a", "one", 0)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match=f"^the store {path} cannot grow: its disk is full"):
        store.put("b", "x" * 100_000, 0)
    assert store.get("a") == Versioned("one", 1)
    assert store.put("a", "two", 1) == 2
    store.close()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "hamanager.db", tmp_path):
        with pytest.raises(StoreError, match=f"^the store {path} cannot be opened: "):
            SqliteStore(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer hamanager"):
        SqliteStore(path)


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match=f"^the store {path} failed: .*closed"):
        store.get("a")


def test_a_store_of_before_history_had_times(path: Path) -> None:
    path.parent.mkdir()
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL,"
        " version INTEGER NOT NULL);"
        "CREATE TABLE counter (last_version INTEGER NOT NULL);"
        "CREATE TABLE history (number INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL,"
        " entry TEXT NOT NULL);"
        "CREATE INDEX history_by_service ON history (service, number);"
        "INSERT INTO counter VALUES (7);"
        "PRAGMA user_version = 1;"
    )
    for number in range(3):
        told = altered(entry(str(number)), at=float(number))
        values = ("db", told.model_dump_json())
        old.execute("INSERT INTO history (service, entry) VALUES (?, ?)", values)
    old.commit()
    old.close()
    for _ in range(2):
        store = SqliteStore(path)
        assert [e.text for e in store.history("db", since=1.0)] == ["1", "2"]
        store.close()
    store = SqliteStore(path)
    assert store.put("a", "", 0) == 8
    store.close()


def test_no_entry_is_read_that_is_not_asked_for(path: Path) -> None:
    """Neither those beyond the limit nor those of a former service of that name."""
    store = SqliteStore(path)
    with store._transaction() as connection:
        connection.executemany(
            "INSERT INTO history (service, entry, at) VALUES ('db', 'unreadable', ?)",
            [(float(number),) for number in range(1000)],
        )
    for number in range(5):
        store.append(altered(entry(str(number)), at=5000.0 + number))
    assert [e.text for e in store.history("db", 2)] == ["3", "4"]
    assert len(store.history("db", 20, 5000.0)) == 5
    plan = store._connection.execute(
        "EXPLAIN QUERY PLAN SELECT entry FROM history WHERE service = 'db' AND at >= 1"
        " ORDER BY number DESC LIMIT 20"
    ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH history USING INDEX history_in_time (service=?)"]
    store.close()
