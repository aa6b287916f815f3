"""Drills in the store: one at a time, told once, kept for long and not for ever."""

from __future__ import annotations

import pytest

from hamanager.errors import ConflictError
from hamanager.model.drill import Claim, DrillFault, DrillResult, Outcome, Schedule
from hamanager.stores import drills
from hamanager.stores.repository import forget_service, save_spec
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, commands

DAY = 86400.0


def claim(number: str = "a", due_at: float | None = None, until: float = NOW + 100) -> Claim:
    return Claim(
        id=number, fault=DrillFault.KILL, rounds=2, began_at=NOW, until=until, due_at=due_at
    )  # fmt: skip


def result(at: float = NOW, **changes: object) -> DrillResult:
    filled: dict[str, object] = {
        "service": "db",
        "fault": DrillFault.KILL,
        "rounds_wanted": 1,
        "outcome": Outcome.PASSED,
        "text": "passed",
        "due_at": at,
        "began_at": at + 1,
        "ended_at": at + 20,
        **changes,
    }
    return DrillResult.model_validate(filled)


def schedule(every_seconds: int = 86400) -> Schedule:
    return Schedule(
        service="db",
        every_seconds=every_seconds,
        at_minute=180,
        fault=DrillFault.KILL,
        rounds=1,
        since=NOW,
    )


def test_a_service_has_one_schedule_and_its_end_takes_it_away() -> None:
    store = MemoryStore()
    spec = commands(store).create("db", "redis")
    assert not drills.change_schedule(store, "db", schedule())
    assert drills.change_schedule(store, "db", schedule(2 * 86400))
    assert drills.schedules(store)["db"][0].every_seconds == 2 * 86400
    assert drills.change_schedule(store, "db", None)
    assert not drills.change_schedule(store, "db", None)
    drills.change_schedule(store, "db", schedule())
    drills.keep(store, result(), "", NOW)
    forget_service(store, "db")
    assert drills.schedules(store) == {}
    assert len(drills.results(store, "db")) == 1, "what was found out outlives the service"
    save_spec(store, spec, 0)


def test_of_two_managers_one_sees_to_a_due_time() -> None:
    store = MemoryStore()
    drills.change_schedule(store, "db", schedule())
    made, version = drills.schedules(store)["db"]
    assert drills.settle(store, made.settled(NOW, "one", NOW), version)
    assert not drills.settle(store, made.settled(NOW, "two", NOW), version)
    assert drills.schedules(store)["db"][0].manager == "one"


def test_a_damaged_schedule_is_passed_over() -> None:
    store = MemoryStore()
    store.put("drill-schedules/db", "{", 0)
    assert drills.schedules(store) == {}


def test_never_two_at_once() -> None:
    store = MemoryStore()
    first = claim()
    drills.claim(store, "db", first, NOW)
    words = "a drill of 'db' is under way .kill, by hand, since .*; nothing was done"
    with pytest.raises(ConflictError, match=words):
        drills.claim(store, "db", claim("b"), NOW + 99)
    drills.change_claim(store, "db", claim("b"), None)
    assert drills.claimed(store, "db") == first, "it is somebody else's"
    drills.change_claim(store, "db", first, first.extended(NOW + 500))
    with pytest.raises(ConflictError):
        drills.claim(store, "db", claim("b"), NOW + 101)
    drills.change_claim(store, "db", first, None)
    drills.claim(store, "db", claim("b"), NOW)


def test_one_that_was_given_up_without_a_word_makes_room_and_is_told() -> None:
    store = MemoryStore()
    drills.claim(store, "db", claim(due_at=NOW), NOW)
    drills.claim(store, "db", claim("b"), NOW + 101)
    (told,) = drills.results(store, "db")
    assert told.outcome is Outcome.UNFINISHED
    assert told.due_at == NOW
    assert "ended without a word" in told.text


def test_a_due_time_is_told_once_and_those_by_hand_beside_it() -> None:
    store = MemoryStore()
    assert drills.keep(store, result(), "", NOW)
    assert not drills.keep(store, result(outcome=Outcome.UNFINISHED), "", NOW)
    assert drills.result_of(store, "db", NOW) == result()
    assert drills.keep(store, result(due_at=None, began_at=NOW), "x", NOW)
    assert drills.keep(store, result(due_at=None, began_at=NOW), "y", NOW)
    assert len(drills.results(store, "db")) == 3
    assert drills.results(store, "db", NOW + 1) == []
    assert drills.results(store, "db", 0, NOW) == []
    assert drills.drilled_services(store) == ["db"]


def test_they_are_kept_for_two_years_and_a_thousand() -> None:
    store = MemoryStore()
    for number in range(3):
        drills.keep(store, result(NOW + number * DAY), "", NOW)
    later = NOW + drills.KEPT_SECONDS + 1.5 * DAY
    drills.keep(store, result(later), "", later)
    kept = [found.at for found in drills.results(store, "db")]
    assert kept == [NOW + 2 * DAY, later]
    for number in range(drills.KEPT_RESULTS + 5):
        drills.keep(store, result(later + 60 * number + 60), "", later)
    kept = [found.at for found in drills.results(store, "db")]
    assert len(kept) == drills.KEPT_RESULTS
    assert kept[0] == later + 60 * 6
