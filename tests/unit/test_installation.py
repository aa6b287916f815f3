"""The installation's id: made once, the same for all managers."""

from __future__ import annotations

import pytest

from hamanager.contracts.runtime import InstanceRef
from hamanager.errors import StoreError
from hamanager.runtimes.docker.names import Names
from hamanager.stores.installation import INSTALLATION_KEY, installation_id
from tests.support.memory_store import MemoryStore


def test_the_first_manager_gives_its_own_and_all_others_use_it() -> None:
    store = MemoryStore()
    assert installation_id(store, "aaaa0000") == "aaaa0000"
    assert installation_id(store, "bbbb1111") == "aaaa0000"
    assert installation_id(store, "aaaa0000") == "aaaa0000"


def test_of_two_at_once_one_wins() -> None:
    class Raced(MemoryStore):
        def put(self, key: str, value: str, expected: int) -> int:
            super().put(key, value.replace("bbbb1111", "aaaa0000"), expected)
            return super().put(key, value, expected)

    assert installation_id(Raced(), "bbbb1111") == "aaaa0000"


def test_a_manager_that_was_alone_keeps_the_names_of_its_containers() -> None:
    names = Names(installation_id(MemoryStore(), "aaaa0000"))
    assert names.container(InstanceRef("db", "db.0")) == "hamanager-aaaa0000-db-0"
    assert names.owns({"hamanager.manager": "aaaa0000"})


@pytest.mark.parametrize("damaged", ["", "aaaa0000", "{}", '{"id": 7}'])
def test_no_new_one_is_made_up_when_it_is_damaged(damaged: str) -> None:
    store = MemoryStore()
    store.put(INSTALLATION_KEY, damaged, 0)
    with pytest.raises(StoreError, match="damaged, so nobody knows what the containers are called"):
        installation_id(store, "aaaa0000")
    kept = store.get(INSTALLATION_KEY)
    assert kept is not None
    assert kept.value == damaged
