"""The store contract: one body, every store."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hamanager.contracts.store import Keep, Store, Versioned
from hamanager.errors import ConflictError, StaleVersionError, StoreError
from hamanager.model.history import HistoryEntry
from hamanager.stores.copying import Copied, copy, refuse_moved
from hamanager.stores.etcd import store as etcd_store
from hamanager.stores.sqlite import SqliteStore
from tests.support.altered import altered
from tests.support.etcd_cluster import EtcdCluster
from tests.support.memory_store import MemoryStore


def on_etcd(request: pytest.FixtureRequest) -> Store:
    etcd: EtcdCluster = request.getfixturevalue("etcd")
    return etcd.store(f"test-{secrets.token_hex(4)}")


STORES: dict[str, Callable[[pytest.FixtureRequest, Path], Store]] = {
    "etcd": lambda request, _: on_etcd(request),
    "memory": lambda *_: MemoryStore(),
    "sqlite": lambda _, directory: SqliteStore(directory / "state" / "hamanager.db"),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](request, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path_factory.mktemp("etcd") / "etcd") as cluster:
        yield cluster


def entry(text: str, service: str = "db") -> HistoryEntry:
    return HistoryEntry(at=1.5, service=service, kind="note", text=text)


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
    version = store.put("key 'with' %_*", value, 0)
    assert store.get("key 'with' %_*") == Versioned(value, version)


def test_what_has_changed_since_is_told_with_its_values(store: Store) -> None:
    before = store.put("routes/a", "one", 0)
    store.put("routes/b", "two", 0)
    after = store.put("other/c", "three", 0)
    assert {key: kept.value for key, kept in store.changed("routes/", 0).items()} == {
        "routes/a": "one",
        "routes/b": "two",
    }
    assert set(store.changed("routes/", before)) == {"routes/b"}
    assert store.changed("routes/", after) == {}
    again = store.put("routes/a", "four", before)
    assert store.changed("routes/", after) == {"routes/a": Versioned("four", again)}
    store.delete("routes/a", again)
    assert store.changed("routes/", after) == {}


def test_many_that_have_changed_are_all_told(store: Store) -> None:
    for number in range(250):
        store.put(f"routes/{number:03d}", str(number), 0)
    assert len(store.changed("routes/", 0)) == 250


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


def test_values_by_prefix(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_store, "PAGE", 2)
    versions = {
        f"services/db/{name}": store.put(f"services/db/{name}", f"ü {name}", 0)
        for name in ("wish", "record", "ü", "lock", "\N{GRINNING FACE}")
    }
    for other in ("services/db", "services/db0", "services/db2/wish", "services/da/wish"):
        store.put(other, "", 0)
    found = store.changed("services/db/", 0)
    assert found == {key: Versioned(f"ü {key[12:]}", versions[key]) for key in versions}
    assert list(found) == sorted(versions)
    assert store.changed("services/d%/", 0) == {}
    assert len(store.changed("", 0)) == 9
    store.put("services/db/wish", "later", found["services/db/wish"].version)


def test_one_that_waits_hears_of_a_change_and_of_a_deletion(store: Store) -> None:
    before = store.version()
    version = store.put("services/db/wish", "", 0)
    assert store.version() >= version > before
    assert store.wait("services/", before, 5) >= version, "what is past already"
    store.delete("services/db/wish", version)
    after = store.wait("services/db/", version, 5)
    assert after > version
    assert store.wait("", version, 5) == after
    with timer(0.2, lambda: store.put("services/db/wish", "again", 0)):
        began = time.monotonic()
        last = store.wait("services/", after, 30)
    assert last > after
    assert time.monotonic() - began < 15
    kept = store.get("services/db/wish")
    assert kept is not None
    with timer(0.2, lambda: store.delete("services/db/wish", kept.version)):
        assert store.wait("services/", last, 30) > last
    assert store.keys("") == []


def test_one_that_waits_is_not_told_of_other_keys(store: Store) -> None:
    before = store.version()
    store.delete("services/other", 0)
    store.put("services/db2/wish", "", 0)
    store.put("services/%", "", 0)
    began = time.monotonic()
    assert store.wait("services/db/", before, 0.3) >= before
    assert time.monotonic() - began >= 0.25
    version = store.put("services/db/wish", "", 0)
    after = store.wait("services/db/", before, 5)
    assert after >= version
    assert store.wait("services/db/", after, 0) == after, "each change once"


def test_a_version_from_the_future_is_not_waited_for(store: Store) -> None:
    """An older copy was put in its place: what was read before may be outdated."""
    store.put("a", "", 0)
    newest = store.version()
    assert store.wait("", newest + 1000, 30) == newest


def test_no_change_is_missed_between_two_waits(store: Store) -> None:
    after = store.version()
    version = store.put("a", "first", 0)
    seen: list[str | None] = []

    def change() -> None:
        last = version
        for number in range(30):
            last = store.put("a", str(number), last)
        store.delete("a", last)

    thread = threading.Thread(target=change)
    thread.start()
    while None not in seen and len(seen) < 100:
        told = store.wait("a", after, 30)
        assert told > after, "a change was missed"
        after = told
        kept = store.get("a")
        seen.append(None if kept is None else kept.value)
    thread.join(60)
    assert None in seen


@contextmanager
def timer(seconds: float, what: Callable[[], object]) -> Iterator[None]:
    """Do something in a moment, in another thread."""
    started = threading.Timer(seconds, what)
    started.start()
    try:
        yield
    finally:
        started.join(30)


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


def test_all_of_it_can_be_copied(store: Store, tmp_path: Path) -> None:
    """There and back, to a store of each other kind."""
    for number in range(3):
        store.put(f"services/db/{number}", f"ü {number}", 0)
        store.append(altered(entry(str(number)), at=float(number)))
    store.append(entry("other", "db2"))
    other: Store = SqliteStore(tmp_path / "copy" / "hamanager.db")
    assert copy(store, other, "the copy", lambda _: None) == Copied(3, 4)
    assert contents(other) == {k: v for k, v in contents(store).items() if k != "moved"}
    assert other.history("db") == store.history("db")
    with pytest.raises(ConflictError, match="was copied to the copy"):
        refuse_moved(store)
    with pytest.raises(ConflictError, match="was copied to the copy"):
        copy(store, MemoryStore(), "another", lambda _: None)
    with pytest.raises(ConflictError, match="is not empty"):
        copy(other, store, "the first", lambda _: None)
    for key in store.keys(""):
        kept = store.get(key)
        assert kept is not None
        store.delete(key, kept.version)
    for service in store.services_with_history():
        store.prune(service, Keep(0, 0.0), 100)
    assert copy(other, store, "the first", lambda _: None) == Copied(3, 4)
    assert store.services_with_history() == ["db", "db2"]
    other.close()


def contents(store: Store) -> dict[str, str]:
    found = {key: store.get(key) for key in store.keys("")}
    return {key: kept.value for key, kept in found.items() if kept is not None}


def test_what_somebody_uses_is_not_copied(store: Store) -> None:
    version = store.put("managers/a", "0", 0)
    target = MemoryStore()
    with pytest.raises(ConflictError, match=r"a manager is running.*nothing was copied"):
        copy(store, target, "the copy", lambda _: none(store.put("managers/a", "1", version)))
    assert target.keys("") == []

    class Interrupted(MemoryStore):
        def put(self, key: str, value: str, expected: int) -> int:
            kept = store.get("managers/a")
            assert kept is not None
            store.put("managers/a", "2", kept.version)
            return super().put(key, value, expected)

    target = Interrupted()
    with pytest.raises((ConflictError, StoreError)):
        copy(store, target, "the copy", lambda _: None)
    assert target.keys("") == []


def none(_: object) -> None:
    return None


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
