"""Pauses after failures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hamanager.act.backoff import (
    FORGOTTEN_SECONDS,
    PERMANENT_PAUSE_SECONDS,
    PERMANENT_URGENT_PAUSE_SECONDS,
    REPETITIONS,
    Retries,
)
from hamanager.errors import BusyError, EndpointFailedError, HamanagerError, ServerError
from hamanager.model.decision import Action, Decision
from tests.simulation.power import SimClock

ATTACH = Decision("rejoin", Action.ATTACH, "loose", "db.1")
LEAD = Decision("primary-dead", Action.FAIL_OVER, "dead", "db.1", urgent=True)


BROKEN = ServerError("broken")
DISK_FULL = ServerError("db.1 has no space left: free some on its disk", permanent=True)


def pauses(decision: Decision, times: int, error: HamanagerError = BROKEN) -> list[float]:
    clock = SimClock()
    retries = Retries(clock)
    seen = []
    for _ in range(times):
        retries.failed(decision, error)
        (told,) = retries.backing_off()
        seen.append(round(told.pause_seconds, 3))
        clock.sleep(told.pause_seconds - 0.01)
        assert retries.backing_off() == (told,)
        clock.sleep(0.02)
        assert retries.backing_off() == ()
    return seen


@pytest.mark.parametrize(
    ("decision", "error", "expected"),
    [
        (ATTACH, BROKEN, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]),
        (LEAD, BROKEN, [0.2, 0.4, 0.5, 0.5]),
        (ATTACH, BusyError("loading"), [0.5, 0.5, 0.5]),
        (LEAD, BusyError("loading"), [0.5, 0.5, 0.5]),
        (ATTACH, EndpointFailedError("it is being brought back"), [1.0, 1.0]),
        (LEAD, EndpointFailedError("it is being brought back"), [0.5, 0.5]),
        (ATTACH, BusyError("loading", retry_after_seconds=60), [5.0, 5.0]),
        (ATTACH, DISK_FULL, [30.0, 30.0]),
        (LEAD, DISK_FULL, [5.0, 5.0]),
    ],
)
def test_how_long(decision: Decision, error: HamanagerError, expected: list[float]) -> None:
    assert pauses(decision, len(expected), error) == expected


def test_who_leads_is_never_given_up() -> None:
    assert PERMANENT_URGENT_PAUSE_SECONDS <= 5.0


def test_a_change_of_the_spec_may_be_what_was_missing() -> None:
    retries = Retries(SimClock())
    retries.failed(ATTACH, DISK_FULL)
    retries.failed(replace(ATTACH, instance="db.2"), BROKEN)
    retries.spec_changed()
    assert [told.instance for told in retries.backing_off()] == ["db.2"]


def test_what_has_to_be_done_is_told() -> None:
    retries = Retries(SimClock())
    retries.failed(ATTACH, DISK_FULL)
    (told,) = retries.backing_off()
    assert str(told) == (
        "attach db.1: tried once, in vain until somebody acts on it (tried again within"
        f" {PERMANENT_PAUSE_SECONDS:g} s or when the spec changes): {DISK_FULL}"
    )


def test_each_has_its_own() -> None:
    retries = Retries(SimClock())
    retries.failed(ATTACH, BROKEN)
    retries.failed(replace(ATTACH, instance="db.2"), ServerError("broken, too"))
    retries.failed(replace(ATTACH, action=Action.SEED), ServerError("no space"))
    assert [told.error for told in retries.backing_off()] == ["broken", "broken, too", "no space"]
    retries.succeeded(ATTACH)
    assert [told.tries for told in retries.backing_off()] == [1, 1]


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    clock = SimClock()
    retries = Retries(clock)
    for _ in range(3):
        retries.failed(ATTACH, BROKEN)
    clock.sleep(0.8 + FORGOTTEN_SECONDS - 0.1)
    assert retries.backing_off() == ()
    retries.failed(ATTACH, BROKEN)
    assert [told.tries for told in retries.backing_off()] == [4]
    clock.sleep(1.6 + FORGOTTEN_SECONDS)
    assert retries.backing_off() == ()
    retries.failed(ATTACH, BROKEN)
    assert [told.tries for told in retries.backing_off()] == [1]


def test_the_last_error_is_told_whichever_rule_decides_the_same() -> None:
    """A failover that was begun goes on by the rule `unfinished-promotion`."""
    clock = SimClock()
    retries = Retries(clock)
    unfinished = replace(LEAD, rule="unfinished-promotion")
    assert retries.last_error(unfinished) == ""
    retries.failed(LEAD, ServerError("37 left"))
    clock.sleep(1)
    assert retries.last_error(unfinished) == "37 left"
    retries.failed(unfinished, ServerError("12 left"))
    assert retries.last_error(unfinished) == "12 left"
    assert retries.last_error(replace(LEAD, instance="db.2")) == ""
    retries.succeeded(unfinished)
    assert retries.last_error(LEAD) == ""
    assert retries.backing_off() == ()


def test_what_is_done_again_and_again_has_failed() -> None:
    retries = Retries(SimClock())
    for _ in range(REPETITIONS):
        retries.succeeded(ATTACH)
    assert retries.backing_off() == ()
    retries.succeeded(ATTACH)
    [told] = retries.backing_off()
    assert told.error == f"it was done {REPETITIONS + 1} times in a row, and is due again"


def test_what_is_done_now_and_then_has_not() -> None:
    retries = Retries(SimClock())
    for _ in range(REPETITIONS):
        retries.succeeded(ATTACH)
        retries.succeeded(LEAD)
        retries.succeeded(ATTACH)
        retries.rested()
    assert retries.backing_off() == ()
