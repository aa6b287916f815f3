"""Pauses after failures."""

from __future__ import annotations

from dataclasses import replace

from hamanager.act.backoff import FORGOTTEN_SECONDS, REPETITIONS, Retries
from hamanager.model.decision import Action, Decision
from tests.simulation.power import SimClock

ATTACH = Decision("rejoin", Action.ATTACH, "loose", "db.1")
LEAD = Decision("primary-dead", Action.FAIL_OVER, "dead", "db.1", urgent=True)


def pauses(decision: Decision, times: int) -> list[float]:
    clock = SimClock()
    retries = Retries(clock)
    seen = []
    for _ in range(times):
        retries.failed(decision, "broken")
        (told,) = retries.backing_off()
        seen.append(round(told.pause_seconds, 3))
        clock.sleep(told.pause_seconds - 0.01)
        assert retries.backing_off() == (told,)
        clock.sleep(0.02)
        assert retries.backing_off() == ()
    return seen


def test_they_double_up_to_a_bound() -> None:
    assert pauses(ATTACH, 7) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert pauses(LEAD, 4) == [0.2, 0.4, 0.5, 0.5]


def test_each_has_its_own() -> None:
    retries = Retries(SimClock())
    retries.failed(ATTACH, "broken")
    retries.failed(replace(ATTACH, instance="db.2"), "broken, too")
    retries.failed(replace(ATTACH, action=Action.SEED), "no space")
    assert [told.error for told in retries.backing_off()] == ["broken", "broken, too", "no space"]
    retries.succeeded(ATTACH)
    assert [told.tries for told in retries.backing_off()] == [1, 1]


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    clock = SimClock()
    retries = Retries(clock)
    for _ in range(3):
        retries.failed(ATTACH, "broken")
    clock.sleep(0.8 + FORGOTTEN_SECONDS - 0.1)
    assert retries.backing_off() == ()
    retries.failed(ATTACH, "broken")
    assert [told.tries for told in retries.backing_off()] == [4]
    clock.sleep(1.6 + FORGOTTEN_SECONDS)
    assert retries.backing_off() == ()
    retries.failed(ATTACH, "broken")
    assert [told.tries for told in retries.backing_off()] == [1]


def test_the_last_error_is_told_whichever_rule_decides_the_same() -> None:
    """A failover that was begun goes on by the rule `unfinished-promotion`."""
    clock = SimClock()
    retries = Retries(clock)
    unfinished = replace(LEAD, rule="unfinished-promotion")
    assert retries.last_error(unfinished) == ""
    retries.failed(LEAD, "37 left")
    clock.sleep(1)
    assert retries.last_error(unfinished) == "37 left"
    retries.failed(unfinished, "12 left")
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
