"""The store on etcd on its bad days: members that hang, are gone, full, or put back."""

from __future__ import annotations

import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hamanager.contracts.store import Keep
from hamanager.errors import StaleVersionError, StoreError
from hamanager.model.history import HistoryEntry
from hamanager.stores.etcd import compaction, gateway, lineage, store, watch
from hamanager.stores.etcd.gateway import Gateway, UncertainError
from hamanager.stores.etcd.store import EtcdStore
from hamanager.stores.etcd.wire import Kept
from tests.support.certificates import Certificates
from tests.support.etcd_cluster import EtcdCluster, Member

BOUND_SECONDS = 30.0
"""What takes longer hangs; only a bound, on a busy machine."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Shared by tests that leave it whole."""
    with EtcdCluster(tmp_path_factory.mktemp("three") / "etcd", 3) as cluster:
        yield cluster


@pytest.fixture
def opened(three: EtcdCluster) -> Iterator[EtcdStore]:
    made = three.store(f"test-{secrets.token_hex(4)}")
    yield made
    made.close()


@contextmanager
def stopped(member: Member) -> Iterator[None]:
    member.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        member.signal(signal.SIGCONT)


def entry(text: str) -> HistoryEntry:
    return HistoryEntry(at=time.time(), service="db", kind="note", text=text)


def ask_first(opened: EtcdStore, member: Member) -> None:
    """Make it the one that is asked first."""
    members = opened._gateway.address.endpoints
    opened._gateway._first = next(
        n for n, url in enumerate(members) if url.endswith(f":{member.client_port}")
    )


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_a_member_hangs_and_the_store_goes_on(
    three: EtcdCluster, opened: EtcdStore, which: str
) -> None:
    leader = three.leader()
    hung = leader if which == "leader" else next(m for m in three.members if m is not leader)
    version = opened.put("a", "before", 0)
    ask_first(opened, hung)
    with stopped(hung):
        later = opened.put("a", "while", version)
        kept = opened.get("a")
        assert kept is not None
        assert (kept.value, kept.version) == ("while", later)
        opened.append(entry("while"))
        assert opened._gateway.address.endpoints[opened._gateway._first].endswith(
            tuple(str(m.client_port) for m in three.members if m is not hung)
        ), "the next call asks one that answers"
    three.wait_until_it_serves()
    assert [e.text for e in opened.history("db")] == ["while"]


def test_a_member_is_killed_and_the_store_goes_on(three: EtcdCluster, opened: EtcdStore) -> None:
    leader = three.leader()
    ask_first(opened, leader)
    version = opened.put("a", "before", 0)
    leader.end()
    opened.delete("a", opened.put("a", "without it", version))
    three.start(leader)
    three.wait_until_it_serves()


def test_a_watch_on_a_member_that_hangs_is_not_believed(
    three: EtcdCluster, opened: EtcdStore
) -> None:
    """It would never say a word; the change is heard of from another one."""
    leader = three.leader()
    hung = next(m for m in three.members if m is not leader)
    after = opened.wait("a", opened.version(), 0.1)
    opened._watch._member = three.members.index(hung)
    time.sleep(watch.SILENCE_SECONDS + 1)  # it goes over to that one
    with stopped(hung):
        version = opened.put("a", "", 0)
        assert opened.wait("a", after, BOUND_SECONDS) >= version
    three.wait_until_it_serves()


def test_no_majority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EtcdCluster(tmp_path / "etcd", 3) as etcd:
        opened = etcd.store()
        version = opened.put("a", "before", 0)
        for member in etcd.members[:2]:
            member.end()
        monkeypatch.setattr(gateway, "CALL_SECONDS", 1.5)
        said = ""
        for _ in range(10):  # the one that is left has to notice, too
            with pytest.raises(StoreError, match="cannot be used") as told:
                opened.get("a")
            assert not isinstance(told.value, StaleVersionError)
            said = str(told.value)
            if "it has no leader" in said:
                break
        assert "it has no leader" in said
        assert "refuses connections" in said
        with pytest.raises(UncertainError, match="whether 'a' was changed is not known"):
            opened.put("a", "perhaps", version)
        with pytest.raises(StoreError, match="cannot be used"):
            opened.wait("a", opened._watch._position, 0.5)
        for member in etcd.members[:2]:
            etcd.start(member)
        etcd.wait_until_it_serves()
        monkeypatch.undo()
        kept = opened.get("a")
        assert kept is not None
        assert kept.value in ("before", "perhaps")
        opened.put("a", "after", kept.version)
        opened.close()


def test_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EtcdCluster(tmp_path / "etcd") as etcd:
        opened = etcd.store()
        etcd.members[0].end()
        asked: list[object] = []
        honest = Gateway._post

        def counted(*told: Any) -> Any:
            asked.append(told)
            return honest(*told)

        monkeypatch.setattr(Gateway, "_post", counted)
        with pytest.raises(StoreError, match="refuses connections"):
            opened.put("a", "", 0)
        assert len(asked) == 1, "it is not tried for long"
        opened.close()
        with pytest.raises(StoreError, match="was closed"):
            opened.wait("a", 0, 1)


def test_a_full_etcd_can_be_read(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path / "etcd", options=["--quota-backend-bytes=262144"]) as etcd:
        opened = etcd.store()
        opened.put("kept", "value", 0)
        with pytest.raises(StoreError, match="has reached its quota") as told:
            fill(opened)
        assert told.value.permanent
        assert not isinstance(told.value, StaleVersionError)
        kept = opened.get("kept")
        assert kept is not None
        assert kept.value == "value"
        with pytest.raises(StoreError, match="has reached its quota"):
            opened.append(entry("lost"))
        opened.close()


def fill(opened: EtcdStore) -> None:
    for number in range(100):
        opened.put(f"ballast{number}", "x" * 50_000, 0)


def test_a_value_that_is_too_large(opened: EtcdStore) -> None:
    with pytest.raises(StoreError, match="takes no value of that size"):
        opened.put("a", "x" * 2_000_000, 0)
    assert opened.get("a") is None


def test_certificates_and_users(tmp_path: Path) -> None:
    good, foreign = Certificates(tmp_path / "good"), Certificates(tmp_path / "foreign")
    password = tmp_path / "password"
    password.write_text("secret\n")
    with EtcdCluster(tmp_path / "etcd", certificates=good, asks_clients=True) as etcd:
        client = {
            "HAMANAGER_STORE_CERT": str(good.client.certificate),
            "HAMANAGER_STORE_KEY": str(good.client.key),
        }
        etcd.environment |= client
        etcd.require_users("hamanager", "secret", "test/")
        with pytest.raises(StoreError, match="wants to know who asks"):
            etcd.store()
        etcd.environment["HAMANAGER_STORE_USER"] = "hamanager"
        etcd.environment["HAMANAGER_STORE_PASSWORD_FILE"] = str(password)
        opened = etcd.store()
        version = opened.put("a", "one", 0)
        assert opened.wait("a", version - 1, BOUND_SECONDS) >= version
        etcd.members[0].end()  # with it, the token that it gave
        etcd.start(etcd.members[0])
        etcd.wait_until_it_serves()
        opened.put("a", "two", version)
        opened.close()
        with pytest.raises(StoreError, match="does not allow its user") as told:
            etcd.store("elsewhere")
        assert told.value.permanent
        password.write_text("wrong")
        with pytest.raises(StoreError, match="does not know this user and password"):
            etcd.store()
        password.write_text("secret")
        named = good.issue("named", "somebody")
        for words, changes in {
            "shows a certificate that is not to be believed": {
                "HAMANAGER_STORE_CA": str(foreign.ca)
            },
            "takes no client certificate with a common name": {
                "HAMANAGER_STORE_CERT": str(named.certificate),
                "HAMANAGER_STORE_KEY": str(named.key),
            },
            "does not accept our certificate": {
                "HAMANAGER_STORE_CERT": str(foreign.client.certificate),
                "HAMANAGER_STORE_KEY": str(foreign.client.key),
            },
            "two do not match": {"HAMANAGER_STORE_KEY": str(foreign.client.key)},
            "No such file": {"HAMANAGER_STORE_CA": str(tmp_path / "nowhere")},
        }.items():
            with pytest.raises(StoreError, match=words) as told:
                with_changes(etcd, changes)
            assert "secret" not in str(told.value)


def with_changes(etcd: EtcdCluster, changes: dict[str, str]) -> None:
    before = etcd.environment
    etcd.environment = {**before, **changes}
    try:
        etcd.store().close()
    finally:
        etcd.environment = before


# --- Answers that do not come --------------------------------------------------------------------


class Losing:
    """A member that carries out what it is asked, and whose answer is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.meanwhile: Callable[[], object] | None = None
        honest = Gateway._post

        def post(gateway_: Gateway, member: str, path: str, *rest: Any) -> Any:
            answer = honest(gateway_, member, path, *rest)
            if path == "kv/txn" and self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
                raise gateway._MemberError("did not answer")
            return answer

        monkeypatch.setattr(Gateway, "_post", post)


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Losing:
    return Losing(monkeypatch)


def nothing() -> None:
    return None


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(
    opened: EtcdStore, losing: Losing
) -> None:
    losing.meanwhile = nothing
    version = opened.put("a", "one", 0)
    kept = opened.get("a")
    assert kept is not None
    assert (kept.value, kept.version) == ("one", version)
    losing.meanwhile = nothing
    opened.put("a", "one", version)
    kept = opened.get("a")
    assert kept is not None
    losing.meanwhile = nothing
    opened.delete("a", kept.version)
    assert opened.get("a") is None
    losing.meanwhile = nothing
    opened.append(entry("once"))
    assert [e.text for e in opened.history("db")] == ["once"]


def test_the_same_value_by_somebody_else_is_not_ones_own(
    three: EtcdCluster, opened: EtcdStore, losing: Losing
) -> None:
    """Two managers begin the same run: exactly one of them has won."""
    other = EtcdStore(opened._address)
    version = opened.put("a", "before", 0)

    def is_overtaken(*arguments: Any) -> Any:
        other.put("a", "same", version)
        raise gateway._MemberError("did not answer")

    honest, opened._gateway._ask = opened._gateway._ask, is_overtaken  # type: ignore[method-assign, assignment]
    threading.Timer(0.2, lambda: setattr(opened._gateway, "_ask", honest)).start()
    with pytest.raises(StaleVersionError):
        opened.put("a", "same", version)
    other.close()


def test_a_write_whose_answer_was_lost_and_that_was_overwritten_since(
    opened: EtcdStore, losing: Losing
) -> None:
    other = EtcdStore(opened._address)
    version = opened.put("a", "before", 0)

    def overwrite() -> None:
        for number in range(3):
            kept = other.get("a")
            assert kept is not None
            other.put("a", f"later {number}", kept.version)

    losing.meanwhile = overwrite
    written = opened.put("a", "mine", version)
    assert written > version
    kept = opened.get("a")
    assert kept is not None
    assert kept.value == "later 2"
    assert kept.version > written

    def remove() -> None:
        now = other.get("a")
        assert now is not None
        other.delete("a", now.version)

    losing.meanwhile = remove
    with pytest.raises(UncertainError, match="whether 'a' was written is not known"):
        opened.put("a", "mine", kept.version)
    other.close()


# --- Old versions ------------------------------------------------------------------------------


def test_old_versions_are_let_go_of(
    three: EtcdCluster, opened: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever waits for what is gone looks again."""
    old = opened.put("a", "", 0)
    opened.prune("db", Keep(1, 0.0), 1)
    monkeypatch.setattr(compaction, "KEPT_SECONDS", 0.0)
    after = opened.put("a", "", old)
    opened.prune("db", Keep(1, 0.0), 1)
    opened.prune("db", Keep(1, 0.0), 1)
    with pytest.raises(gateway.CompactedError):
        opened._call("kv/range", {"key": "YQ==", "revision": old})
    waiting = EtcdStore(opened._address)
    assert waiting.wait("a", old - 1, BOUND_SECONDS) >= after
    waiting.close()


def test_history_in_the_order_of_time_whoever_writes(
    opened: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = EtcdStore(opened._address)
    now = time.time()
    days = [700, 60, 20, 2, 0.5, 0.01, 0.0]
    for number, age in enumerate(days):
        writer = opened if number % 2 else other
        writer.append(
            HistoryEntry(at=now - age * 86400, service="db", kind="note", text=str(number))
        )
    assert [e.text for e in opened.history("db")] == list("0123456")
    for limit in range(8):
        assert [e.text for e in opened.history("db", limit)] == list("0123456"[7 - limit :])
    assert [e.text for e in opened.history("db", 5, now - 30 * 86400)] == list("23456")
    monkeypatch.setattr(store, "PAGE", 2)
    assert [e.text for e in opened.history("db")] == list("0123456")
    other.close()


# --- Older copies ------------------------------------------------------------------------------


def test_an_older_copy_is_found_out_by_who_runs_on_and_by_who_starts(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path / "etcd", 3) as etcd:
        seen = [tmp_path / "one", tmp_path / "two"]
        running, ended = etcd.store(seen=seen[0]), etcd.store(seen=seen[1])
        version = running.put("a", "before", 0)
        snapshot = tmp_path / "snapshot"
        etcd.ctl("snapshot", "save", str(snapshot), members=etcd.members[:1])
        version = running.put("a", "after", version)
        for number in range(20):
            running.put(f"more{number}", "", 0)
        ended.version()
        ended.close()
        etcd.restore(snapshot)
        for _ in range(2):
            with pytest.raises(StoreError, match="has gone back from its version") as told:
                running.put("a", "overwritten", version)
            assert told.value.permanent
        with pytest.raises(StoreError, match="hamanager store accept"):
            running.get("a")
        with pytest.raises(StoreError, match="has gone back"):
            running.wait("a", version, 1)
        running.close()
        for path in seen:
            with pytest.raises(StoreError, match="has gone back"):
                etcd.store(seen=path)
        fresh = etcd.store()
        kept = fresh.get("a")
        assert kept is not None
        assert kept.value == "before"
        fresh.close()
        lineage.accept(etcd.address())
        for path in seen:
            accepted = etcd.store(seen=path)
            accepted.put(path.name, "", 0)
            accepted.close()


def test_a_version_that_came_again_in_an_older_copy_is_another_one(opened: EtcdStore) -> None:
    """The value decides, too: whoever read it before the copy was put back has lost."""
    version = opened.put("a", "now", 0)
    opened._known["a"] = Kept("a", "#0123456789abcdef\nnow", version, 0)
    with pytest.raises(StaleVersionError):
        opened.put("a", "lost", version)
    with pytest.raises(StaleVersionError):
        opened.delete("a", version)
    kept = opened.get("a")
    assert kept is not None
    opened.put("a", "read anew", kept.version)


def test_one_member_with_old_data_changes_nothing(tmp_path: Path) -> None:
    """Its disk was put back: it fetches what it lacks, or does not come up; the store goes on."""
    with EtcdCluster(tmp_path / "etcd", 3) as etcd:
        opened = etcd.store(seen=tmp_path / "seen")
        member = next(m for m in etcd.members if m is not etcd.leader())
        copy = tmp_path / "copy"
        version = opened.put("a", "0", 0)
        member.end()
        shutil.copytree(member.directory, copy)
        etcd.start(member)
        for number in range(20):
            version = opened.put("a", str(number), version)
        etcd.wait_until_it_serves()
        member.end()
        version = opened.put("a", "while away", version)
        shutil.rmtree(member.directory)
        shutil.copytree(copy, member.directory)
        etcd.start(member)
        for other in etcd.members:
            ask_first(opened, other)
            kept = opened.get("a")
            assert kept is not None
            assert (kept.value, kept.version) == ("while away", version)
        opened.put("a", "after", version)
        opened.close()
