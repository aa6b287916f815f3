"""A drill is the only one of its service, and what became of it is kept."""

from __future__ import annotations

import time

import pytest

from hamanager.chaos.drill.rounds import Round
from hamanager.chaos.drill.text import verdict
from hamanager.chaos.drill.turn import Turn
from hamanager.errors import ConflictError, HamanagerError, StoreError
from hamanager.model.drill import Claim, DrillFault, Outcome
from hamanager.stores import drills
from tests.support.memory_store import MemoryStore
from tests.unit.test_drill_report import done, report

DUE = 1_790_000_000.0


def turn(store: MemoryStore, due_at: float | None = DUE) -> Turn:
    return Turn(store, "db", DrillFault.KILL, 1, due_at)


def ended_by(store: MemoryStore, error: BaseException, due_at: float | None) -> None:
    with turn(store, due_at) as running:
        running.broken()
        raise error


def carried_out(store: MemoryStore, *rounds: Round, due_at: float | None = DUE) -> None:
    made = report(*rounds)
    with turn(store, due_at) as running:
        running.begin_round(60)
        running.broken()
        assert drills.claimed(store, "db") is not None
        running.done(made, verdict(made))
    assert drills.claimed(store, "db") is None


def test_what_is_kept_of_one_that_passed() -> None:
    store = MemoryStore()
    carried_out(store, done())
    (kept,) = drills.results(store, "db")
    assert kept.outcome is Outcome.PASSED
    assert kept.text == "400 writes acknowledged, none lost; never two primaries"
    assert kept.due_at == DUE
    assert (kept.engine, kept.version, kept.lossless) == ("mysql", "8.4.3", True)
    assert (kept.acknowledged, kept.lost) == (400, 0)
    (made,) = kept.rounds
    assert made.first_write_seconds == 0.085
    assert made.recovered
    assert store.history("db") == [], "the manager that began it writes that, for its hooks"


def test_one_by_hand_is_kept_and_stands_in_the_history() -> None:
    store = MemoryStore()
    carried_out(store, done(lost=4), due_at=None)
    (kept,) = drills.results(store, "db")
    assert kept.outcome is Outcome.FAILED
    assert kept.due_at is None
    (entry,) = store.history("db")
    assert entry.text.startswith("drill by hand (kill): failed: round 1: 4 acknowledged")
    assert not entry.ok
    carried_out(store, done(), due_at=None)
    assert len(drills.results(store, "db")) == 2


def test_a_refusal_is_kept_of_one_by_schedule_alone() -> None:
    store = MemoryStore()
    for due_at in (DUE, None):
        with pytest.raises(HamanagerError), turn(store, due_at):
            raise HamanagerError("'db' is paused; nothing was done")
    (kept,) = drills.results(store, "db")
    assert kept.outcome is Outcome.REFUSED
    assert kept.text == "'db' is paused; nothing was done"
    assert kept.rounds == ()


def test_one_that_was_stopped_is_not_finished() -> None:
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        ended_by(store, KeyboardInterrupt(), None)
    (kept,) = drills.results(store, "db")
    assert kept.outcome is Outcome.UNFINISHED
    assert kept.text == "it was stopped; what was broken is undone"


def test_an_error_of_the_program_holds_no_words_of_others() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="secret"):
        ended_by(store, ValueError("secret"), DUE)
    (kept,) = drills.results(store, "db")
    assert kept.text == "it failed unexpectedly (ValueError)"


def test_one_by_schedule_while_one_by_hand_is_under_way_is_refused_and_told() -> None:
    store = MemoryStore()
    with turn(store, None):
        with pytest.raises(ConflictError, match="is under way"), turn(store):
            pytest.fail("two at once")
        with pytest.raises(ConflictError, match="is under way"), turn(store, None):
            pytest.fail("two at once")
    (kept,) = drills.results(store, "db")
    assert kept.outcome is Outcome.REFUSED
    assert kept.due_at == DUE


def test_one_that_was_told_by_others_meanwhile_is_not_run() -> None:
    store = MemoryStore()
    carried_out(store, done())
    with pytest.raises(ConflictError, match="is told already"), turn(store):
        pytest.fail("a second time")
    assert drills.claimed(store, "db") is None


def test_a_round_that_takes_long_keeps_the_claim() -> None:
    store = MemoryStore()
    with turn(store) as running:
        running.begin_round(4000)
        kept = drills.claimed(store, "db")
        assert kept is not None
        assert kept.until > time.time() + 3900
        other = Claim(id="b", fault=DrillFault.KILL, rounds=1, began_at=0, until=1)
        with pytest.raises(ConflictError):
            drills.claim(store, "db", other, time.time() + 3900)
        running.broken()


def test_without_the_store_the_numbers_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()

    def away(*_: object) -> None:
        raise StoreError("the store does not answer")

    with turn(store, None) as running:
        running.broken()
        running.done(report(done()), "passed: all")
        monkeypatch.setattr(store, "put", away)
    assert "what became of the drill is not kept: the store does not answer" in caplog.text
