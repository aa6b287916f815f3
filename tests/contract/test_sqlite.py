"""What is SQLite's alone; the contract is in `test_store.py`."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hamanager.contracts.store import Versioned
from hamanager.errors import StoreError
from hamanager.stores.sqlite import SqliteStore
from tests.contract.test_store import entry
from tests.support.altered import altered


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


def test_a_store_of_before_deletions_were_kept(path: Path) -> None:
    SqliteStore(path).close()
    old = sqlite3.connect(path)
    old.executescript("DROP TABLE deletions; PRAGMA user_version = 2;")
    old.close()
    store = SqliteStore(path)
    version = store.put("a", "", 0)
    store.delete("a", version)
    assert store.wait("a", version, 5) > version
    store.close()


def test_one_that_waits_hears_of_another_process(path: Path) -> None:
    store, other = SqliteStore(path), SqliteStore(path)
    before = store.version()
    started = threading.Timer(0.2, lambda: other.put("a", "", 0))
    started.start()
    assert store.wait("a", before, 30) > before
    started.join()
    store.close()
    other.close()


def test_one_that_waits_is_told_when_the_store_is_closed(path: Path) -> None:
    store = SqliteStore(path)
    started = threading.Timer(0.2, store.close)
    started.start()
    with pytest.raises(StoreError, match="closed"):
        store.wait("a", store.version(), 30)
    started.join()


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
