"""A server dies in the middle of a planned operation, or one failure follows another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hamanager.model.decision import Action
from hamanager.model.snapshot import Role
from hamanager.stores.repository import load_spec
from tests.simulation.modes import (
    STRICT,
    asynchronous,
    in_all_modes,
    lossless,
    promoted,
    running,
)
from tests.simulation.simulation import Simulation

LATEST_EFFECT = 120
BUSY = 255


def is_larger(simulation: Simulation) -> None:
    assert [i.name for i in simulation.record.instances] == ["db.0", "db.1", "db.2"]


def is_smaller(simulation: Simulation) -> None:
    assert len(simulation.record.instances) == 1
    assert len(simulation.world.servers) == 1


def is_told_what_became_of_it(simulation: Simulation) -> None:
    """Done or refused, never half-done."""
    result = simulation.record.order_result
    assert result is not None
    assert simulation.record.switching_to is None
    if result.ok:
        assert result.text.startswith("db.1 is primary")


def has_the_limit(simulation: Simulation) -> None:
    assert {i.memory_bytes for i in simulation.record.instances} == {7}


OPERATIONS: dict[str, tuple[int, tuple[str, object], Callable[[Simulation], None]]] = {
    "scale up": (1, ("scale", 3), is_larger),
    "scale down": (3, ("scale", 1), is_smaller),
    "switchover": (3, ("switchover", "db.1"), is_told_what_became_of_it),
    "memory change": (3, ("memory", 7), has_the_limit),
}


@pytest.mark.parametrize("victim", ["db.0", "db.1", pytest.param("db.2", marks=pytest.mark.long)])
@pytest.mark.parametrize("operation", OPERATIONS)
@in_all_modes
def test_kill_in_the_middle(mode: str, operation: str, victim: str) -> None:
    """Before any effect, while clients write."""
    instances, request, check = OPERATIONS[operation]
    for effect in range(LATEST_EFFECT):
        simulation = running(mode, instances, BUSY)
        simulation.event(*request)
        simulation.interject(effect, "kill", victim)
        simulation.live(12)
        if simulation.interjected:
            break
        simulation.settle()
        check(simulation)
    else:
        raise AssertionError("it never comes to an end")
    assert effect > 2


@pytest.mark.parametrize("victim", ["db.0", "db.1"])
@in_all_modes
def test_kill_in_the_middle_of_destroying(mode: str, victim: str) -> None:
    for effect in range(LATEST_EFFECT):
        simulation = running(mode)
        simulation.destroy()
        simulation.interject(effect, "kill", victim)
        simulation.live(2)
        assert load_spec(simulation.store, "db") is None
        assert not simulation.world.servers
        assert not simulation.world.volumes
        if simulation.interjected:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("seconds", [1, 2, 3, 7])
@in_all_modes
def test_five_failures_in_a_row(mode: str, seconds: int) -> None:
    """The next one so soon after the last that its recovery is under way."""
    simulation = running(mode, 3, BUSY)
    for _ in range(5):
        simulation.event("kill", simulation.record.primary)
        simulation.live(seconds)
    simulation.settle()
    assert simulation.record.last_failover is not None
    assert simulation.writes()


@pytest.mark.parametrize("effect", range(0, 24, 2))
@in_all_modes
def test_failure_during_the_recovery_of_another(mode: str, effect: int) -> None:
    """Whoever is to take over dies in the middle of it."""
    simulation = running(mode, 3, BUSY)
    simulation.event("kill", "db.0")
    simulation.interject(effect, "kill", "db.1")
    simulation.live(10)
    simulation.settle()
    assert simulation.writes()


@promoted
def test_second_silent_failure_soon_after_the_first_needs_proof(mode: str) -> None:
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.live(5)
    assert simulation.record.primary == "db.1"
    simulation.settle()
    simulation.event("hang", "db.1")
    simulation.live(10)
    assert simulation.decision.rule == "flapping"
    assert simulation.record.primary == "db.1"
    simulation.event("kill", "db.1")  # that is proof
    simulation.live(1)
    assert simulation.record.primary == "db.0"
    simulation.settle()


@promoted
def test_second_silent_failure_later_needs_none(mode: str) -> None:
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.live(5)
    simulation.settle()
    simulation.live(60)
    simulation.event("hang", "db.1")
    simulation.live(5)
    assert simulation.record.primary == "db.0"
    simulation.settle()


@in_all_modes
def test_switchover(mode: str) -> None:
    """Under load: nothing is lost, and the old primary follows."""
    simulation = running(mode, 3, BUSY)
    simulation.event("switchover", "db.2")
    simulation.live(1)
    assert simulation.record.primary == "db.2"
    simulation.settle()
    assert simulation.world.acknowledged <= simulation.log("db.2")
    assert simulation.record.retained == ()
    assert simulation.record.last_failover is None


@pytest.mark.parametrize("fault", ["break", "hang", "cut link", "cut off", "write on standby"])
@promoted
def test_switchover_to_a_standby_that_is_not_well(mode: str, fault: str) -> None:
    """Refused or undone: the primary leads as before."""
    simulation = running(mode)
    simulation.event(fault, "db.1")
    simulation.event("switchover", "db.1")
    simulation.live(12, writing=False)
    result = simulation.record.order_result
    assert result is not None
    assert result.ok is False
    assert simulation.record.primary == "db.0"
    assert simulation.writes() or mode in STRICT
    simulation.settle()


@promoted
def test_new_primary_hangs_before_its_switchover_is_finished(mode: str) -> None:
    """It may have taken writes: nobody else leads before it is ended, not even the old one."""
    for effect in range(LATEST_EFFECT):
        simulation = running(mode, 3)
        simulation.event("switchover", "db.2")
        simulation.run_pass(0, dies_at=effect)
        died = simulation.managers[0].power.dead
        simulation.new_manager()
        simulation.event("hang", "db.2")
        simulation.live(8)
        simulation.settle()
        if not died:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("mode", ["lossless, availability"])
def test_primary_resumes_while_a_former_member_still_acknowledges(mode: str) -> None:
    """A manager died before that one was silenced; it does not stand for a member."""
    simulation = running(mode, 3)
    simulation.event("cut link", "db.1")
    for effect in range(LATEST_EFFECT):
        simulation.event("pass and die", effect)
        if simulation.record.sync_set == ("db.2",):
            break
    simulation.event("mend link", "db.1")
    assert simulation.server("db.1").acknowledges
    simulation.events(("kill", "db.0"), ("start by somebody else", "db.0"), ("kill", "db.2"))
    simulation.busy = BUSY
    simulation.live(3)
    simulation.settle()


@lossless
def test_unacknowledged_writes_make_room_for_others(mode: str) -> None:
    """Every failover may leave some behind: they do not fill up the room for data set aside."""
    simulation = running(mode)
    for _ in range(8):
        old, new = simulation.record.primary, simulation.record.instances
        standby = next(i.name for i in new if i.name != old)
        simulation.event("cut link", standby)
        simulation.event("write")
        simulation.events(("kill", old), ("pass", 0), ("mend link", standby))
        assert simulation.record.primary == standby
        simulation.settle()
    assert 1 <= len(simulation.record.retained) <= 5
    assert all(kept.unacknowledged for kept in simulation.record.retained)


@lossless
def test_unproven_data_are_never_let_go(mode: str) -> None:
    """When there is no more room nothing is rebuilt: an operator decides."""
    simulation = running(mode)
    for _ in range(5):
        simulation.event("write on standby", "db.1")
        simulation.settle()
    simulation.event("write on standby", "db.1")
    simulation.live(5)
    assert simulation.decision.action is Action.WAIT
    assert "`hamanager discard db VOLUME`" in simulation.decision.reason
    assert len(simulation.record.retained) == 5


@asynchronous
def test_oldest_data_set_aside_make_room(mode: str) -> None:
    """Where each failover may leave some behind the newest five are kept."""
    simulation = running(mode)
    for _ in range(7):
        simulation.event("write on standby", "db.1")
        simulation.settle()
    newest = sorted(simulation.world.errant)[-5:]
    assert [kept.writes for kept in simulation.record.retained] == [
        str(number) for number in newest
    ]


@pytest.mark.parametrize("reason", [("switchover", "db.1"), ("kill", "db.0")])
@promoted
def test_hangs_in_the_middle_of_its_promotion(mode: str, reason: tuple[str, object]) -> None:
    """For good: either it is started anew and leads, or the other one does."""
    goes_on_without_help(mode, reason, ("hang", "db.1"))


@pytest.mark.parametrize("fault", ["break", "cut off"])
@asynchronous
def test_ends_in_the_middle_of_its_promotion(mode: str, fault: str) -> None:
    """For good: the other one, which works after all, leads."""
    goes_on_without_help(mode, ("switchover", "db.1"), (fault, "db.1"))


def goes_on_without_help(mode: str, reason: tuple[str, object], fault: tuple[str, object]) -> None:
    """Before each effect; when it had become primary already, an operator may be needed."""
    for effect in range(LATEST_EFFECT):
        simulation = running(mode, 2, BUSY)
        simulation.event(*reason)
        simulation.interject(effect, *fault)
        simulation.event("pass")
        if simulation.interjected:
            break
        simulation.live(25)
        if simulation.decision.rule in ("no-safe-candidate", "primary-restarted"):
            continue
        primary = simulation.record.primary or ""
        assert simulation.server(primary).role is Role.PRIMARY, simulation.decision.reason
        assert simulation.world.led_to("db") == (primary,)
        simulation.settle()
    else:
        raise AssertionError("it never comes to an end")
    assert effect > 2
