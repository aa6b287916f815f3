"""When a drill is due, what is missed, and that several managers run each one once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hamanager.decide.drills import (
    LATE_SECONDS,
    MISSED_AT_ONCE,
    START_SECONDS,
    Due,
    Missed,
    due,
    first_at,
    next_at,
)
from hamanager.model.drill import DrillFault, Schedule

HOUR, DAY = 3600, 86400


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-{text}:00").replace(tzinfo=UTC).timestamp()


def schedule(**changes: object) -> Schedule:
    filled: dict[str, object] = {
        "service": "db",
        "every_seconds": 7 * DAY,
        "at_minute": 180,
        "fault": DrillFault.KILL,
        "rounds": 1,
        "since": at("11-03 12:00"),
        **changes,
    }
    return Schedule.model_validate(filled)


FIRST = at("11-04 03:00")


def asked(made: Schedule, now: float, *, told: bool = True, busy: bool = False) -> Due:
    return due(made, now, told=told, busy=busy)


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("11-03 12:00", "11-04 03:00"),
        ("11-03 02:59", "11-03 03:00"),
        ("11-03 03:00", "11-04 03:00"),
    ],
)
def test_the_first_one_is_at_that_time_of_day_after_the_schedule_was_made(
    since: str, first: str
) -> None:
    assert first_at(schedule(since=at(since))) == at(first)


def test_the_others_follow() -> None:
    made = schedule()
    assert next_at(made, at("11-03 12:00")) == FIRST
    assert next_at(made, FIRST) == FIRST + 7 * DAY
    assert next_at(made, FIRST + 7 * DAY - 1) == FIRST + 7 * DAY
    assert next_at(schedule(every_seconds=12 * HOUR), at("11-09 04:00")) == at("11-09 15:00")


def test_nothing_is_due_before_its_time() -> None:
    assert asked(schedule(), at("11-03 12:00")) == Due()
    assert asked(schedule(), FIRST - 1) == Due()


def test_it_is_due_at_its_time_and_once() -> None:
    found = asked(schedule(), FIRST)
    assert (found.run_at, found.missed, found.settle_at) == (FIRST, (), FIRST)
    settled = schedule().settled(FIRST, "one", FIRST + 1)
    assert asked(settled, FIRST + 2) == Due()
    assert asked(settled, FIRST + 7 * DAY).run_at == FIRST + 7 * DAY


def test_a_manager_that_comes_within_the_hour_runs_it_and_later_it_is_missed() -> None:
    assert asked(schedule(), FIRST + LATE_SECONDS).run_at == FIRST
    late = asked(schedule(), FIRST + LATE_SECONDS + 1)
    assert late.run_at is None
    assert late.missed == (Missed(FIRST),)
    assert late.settle_at == FIRST


def test_what_was_missed_before_is_told_and_the_present_one_is_run() -> None:
    now = FIRST + 21 * DAY + 60
    found = asked(schedule(), now)
    assert found.run_at == FIRST + 21 * DAY
    assert [missed.due_at for missed in found.missed] == [FIRST, FIRST + 7 * DAY, FIRST + 14 * DAY]
    seen_to = schedule().settled(FIRST, "one", FIRST)
    assert len(asked(seen_to, now).missed) == 2


def test_after_a_very_long_time_what_was_missed_is_counted() -> None:
    hourly = schedule(every_seconds=HOUR)
    found = asked(hourly, FIRST + 1000 * HOUR + 30)
    assert found.run_at == FIRST + 1000 * HOUR
    assert len(found.missed) == MISSED_AT_ONCE
    assert sum(missed.times for missed in found.missed) == 1000
    assert found.missed[-1] == Missed(FIRST + 999 * HOUR)
    assert found.missed[0].times == 901


def test_a_clock_that_goes_back_makes_nothing_due_again() -> None:
    assert asked(schedule().settled(FIRST, "one", FIRST), FIRST - 2 * DAY) == Due()


def test_one_of_which_nothing_came_is_told_after_a_while() -> None:
    begun = schedule().settled(FIRST, "one", FIRST + 10)
    over = FIRST + 10 + START_SECONDS + 1
    assert asked(begun, over - 2, told=False).unfinished_at is None
    assert asked(begun, over, told=False).unfinished_at == FIRST
    assert asked(begun, over, told=False, busy=True).unfinished_at is None
    assert asked(begun, over, told=True).unfinished_at is None
    both = asked(begun, FIRST + 7 * DAY, told=False)
    assert (both.unfinished_at, both.run_at) == (FIRST, FIRST + 7 * DAY)
