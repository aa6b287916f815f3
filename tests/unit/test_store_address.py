"""Which store a URL means, and who may use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamanager import paths
from hamanager.errors import ConflictError, UsageError
from hamanager.stores.copying import copy
from hamanager.stores.etcd.address import parse
from hamanager.stores.installation import installation_id
from hamanager.stores.opening import accept, join, open_store
from hamanager.stores.sqlite import SqliteStore
from tests.support.memory_store import MemoryStore


def test_members_prefix_and_certificates() -> None:
    address = parse("etcd://a,b:1,[::1]:2", {})
    assert address.endpoints == ("http://a:2379", "http://b:1", "http://[::1]:2")
    assert address.prefix == "hamanager"
    assert address.compacts
    address = parse("etcd://a/two/levels?compact=no", {"HAMANAGER_STORE_CA": "/ca.pem"})
    assert address.endpoints == ("https://a:2379",)
    assert address.prefix == "two/levels"
    assert not address.compacts
    assert parse("etcds://a", {}).endpoints == ("https://a:2379",)


@pytest.mark.parametrize(
    ("url", "environment", "sentence"),
    [
        ("http://a", {}, "does not begin with etcd://"),
        ("etcd://", {}, "'' is not HOST"),
        ("etcd://a,,b", {}, "'' is not HOST"),
        ("etcd://a:port", {}, "'a:port' is not HOST"),
        ("etcd://a/pre fix", {}, "the prefix 'pre fix'"),
        ("etcd://a?timeout=3", {}, "compact=no"),
        ("etcd://user:hidden@a", {}, "HAMANAGER_STORE_PASSWORD_FILE instead"),
        ("etcd://a", {"HAMANAGER_STORE_USER": "u"}, "a name and a password"),
        ("etcd://a", {"HAMANAGER_STORE_CERT": "/c"}, "two files"),
        ("etcd://a", {"HAMANAGER_STORE_PASSWORD_FILE": "/no/file"}, "/no/file cannot be read"),
    ],
)
def test_one_sentence_says_what_is_wrong(
    url: str, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError) as told:
        parse(url, environment)
    assert sentence in str(told.value)
    assert "hidden" not in str(told.value)


def test_a_password_is_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    environment = {
        "HAMANAGER_STORE_USER": "u",
        "HAMANAGER_STORE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    address = parse("etcd://a", environment)
    assert address.password == "hidden"
    assert "hidden" not in f"{address} {address!r}"


def test_stores_by_their_urls(tmp_path: Path) -> None:
    own = open_store("", tmp_path)
    own.put("a", "", 0)
    own.close()
    named = open_store(f"sqlite://{tmp_path}/hamanager.db", tmp_path / "elsewhere")
    assert named.keys("") == ["a"]
    named.close()
    for wrong in ("sqlite://relative", "sqlite://", "redis://a"):
        with pytest.raises(UsageError):
            open_store(wrong, tmp_path)


def test_a_directory_stays_with_its_installation(tmp_path: Path) -> None:
    store = MemoryStore()
    first, second = tmp_path / "first", tmp_path / "second"
    found = join(store, "etcd://a", first)
    assert found == paths.manager_id(first)
    assert join(store, "etcd://a", second) == found, "a second manager of the installation"
    with pytest.raises(ConflictError, match=r"name another store, or another prefix"):
        join(MemoryStore(), "etcd://a/other", second)
    assert join(store, "etcd://a", second) == found


def test_two_that_were_alone_do_not_meet_in_one_prefix(tmp_path: Path) -> None:
    """Each has services of its own in its directory, from before any of this was kept."""
    store = MemoryStore()
    installation_id(store, "somebody")
    with SqliteKept(tmp_path) as own:
        own.put("services/db/wish", "{}", 0)
    with pytest.raises(ConflictError, match="belongs to the installation"):
        join(store, "etcd://a", tmp_path)
    with SqliteKept(tmp_path) as own:
        kept = own.get("services/db/wish")
        assert kept is not None
        own.delete("services/db/wish", kept.version)
    assert join(store, "etcd://a", tmp_path) == "somebody"


class SqliteKept:
    """The file of a state directory, open for a moment."""

    def __init__(self, home: Path) -> None:
        self._store = SqliteStore(paths.database_path(home))

    def __enter__(self) -> SqliteStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def test_what_was_moved_is_not_started_from_before_it_is_accepted(tmp_path: Path) -> None:
    with SqliteKept(tmp_path) as own:
        joined = join(own, "", tmp_path)
        own.put("services/db/wish", "{}", 0)
        target = MemoryStore()
        copy(own, target, "etcd://a", lambda _: None)
        with pytest.raises(ConflictError, match=r"was copied to etcd://a.*store accept"):
            join(own, "", tmp_path)
    assert join(target, "etcd://a", tmp_path) == joined
    accept("", tmp_path)
    with SqliteKept(tmp_path) as own:
        assert join(own, "", tmp_path) == joined
