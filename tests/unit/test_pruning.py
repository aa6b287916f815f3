"""How much of the history is kept, and how gently the rest is deleted."""

from __future__ import annotations

import pytest

from hamanager.contracts.store import Keep
from hamanager.model.history import HistoryEntry
from hamanager.stores import pruning
from hamanager.stores.pruning import ALWAYS_KEPT, BATCH, KEPT_ENTRIES, KEPT_SECONDS, prune
from tests.support.memory_store import MemoryStore

NOW = 1_790_000_000.0


class Counting(MemoryStore):
    """Remembers what was deleted at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        gone = super().prune(service, keep, batch)
        self.batches.append(gone)
        return gone


def told(store: MemoryStore, service: str, count: int, at: float) -> None:
    for number in range(count):
        store.append(HistoryEntry(at=at, service=service, kind="note", text=str(number)))


def test_a_quiet_service_keeps_its_last_entries_and_one_that_is_no_more_none() -> None:
    store = Counting()
    old = NOW - KEPT_SECONDS - 1
    told(store, "db", ALWAYS_KEPT + 450, old)
    told(store, "gone", 30, old)
    told(store, "gone", 3, NOW)
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    assert prune(store, NOW, ["db"], pause) == 480
    kept = store.history("db")
    assert (len(kept), kept[0].text) == (ALWAYS_KEPT, "450")
    assert len(store.history("gone")) == 3
    assert max(store.batches) <= BATCH
    assert len(pauses) == len(store.batches), "others get at the store in between"
    assert prune(store, NOW, ["db"], lambda _: False) == 0


def test_a_busy_service_keeps_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_ENTRIES == 100_000
    monkeypatch.setattr(pruning, "KEPT_ENTRIES", 1500)
    store = Counting()
    told(store, "db", 2000, NOW)
    prune(store, NOW, ["db"], lambda _: False)
    assert [store.history("db")[at].text for at in (0, -1)] == ["500", "1999"]


def test_it_ends_when_it_is_told_to() -> None:
    store = Counting()
    told(store, "db", 1000, 0.0)
    assert prune(store, NOW, [], lambda _: True) == BATCH
