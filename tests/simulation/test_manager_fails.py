"""The manager fails, or what it stands on does. (Its death between any two steps of any playbook:
`test_crashes.py`.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hamanager.decide.leading import TAKEOVER_SECONDS, VALID_SECONDS
from hamanager.model.decision import Action
from tests.simulation.modes import MODES, in_all_modes, lossless, promoted, running
from tests.simulation.simulation import SUSPENDED_SECONDS, Simulation

DAY_SECONDS = 86_400.0
LATEST = 40
"""No failover has so many effects."""
REASON_TO_ACT: dict[str, Callable[[Simulation], None]] = {
    "the primary is dead": lambda s: s.event("kill", "db.0"),
    "a standby is dead": lambda s: s.event("kill", "db.1"),
    "another size is wanted": lambda s: s.event("scale", 5),
    "a planned change is wanted": lambda s: s.event("switchover", "db.1"),
}
something_to_do = pytest.mark.parametrize("reason", REASON_TO_ACT)


def state(simulation: Simulation) -> object:
    """All that a manager could have changed."""
    servers = [
        (server.address, server.running, server.role, server.source, server.required_acks)
        for server in simulation.world.servers.values()
    ]
    return servers, simulation.record, sorted(simulation.world.volumes)


@pytest.mark.parametrize("fault", ["store down", "store full"])
@in_all_modes
def test_store_unavailable(mode: str, fault: str) -> None:
    """Nothing happens to healthy databases."""
    simulation = running(mode)
    before = state(simulation)
    simulation.event(fault, True)
    for _ in range(60):
        simulation.live(1)
        assert state(simulation) == before
        assert simulation.writes()
    simulation.event(fault, False)
    simulation.settle()
    assert state(simulation) == before


@something_to_do
@pytest.mark.parametrize("fault", ["store down", "store full"])
@in_all_modes
def test_store_unavailable_when_it_matters(mode: str, fault: str, reason: str) -> None:
    """What cannot be written down is not done; it is done when the store is back."""
    simulation = running(mode)
    REASON_TO_ACT[reason](simulation)
    simulation.event(fault, True)
    before = state(simulation)
    for _ in range(20):
        simulation.event("time", 1.0)
        simulation.event("pass")
        assert state(simulation) == before
    simulation.event(fault, False)
    simulation.settle()
    assert simulation.writes()


@something_to_do
@in_all_modes
def test_store_fails_in_the_middle(mode: str, reason: str) -> None:
    """Before any effect, for some time."""
    for effect in range(100):
        simulation = running(mode, busy=255)
        REASON_TO_ACT[reason](simulation)
        simulation.interject(effect, "store down", True)
        simulation.live(5)
        if simulation.interjected:
            break
        simulation.event("store down", False)
        simulation.settle()
    else:
        raise AssertionError("it never comes to an end")
    assert effect > 2


@something_to_do
@in_all_modes
def test_paused_for_a_minute_with_another_manager_at_work(mode: str, reason: str) -> None:
    """Whatever it knew when it was suspended, it does no harm afterwards."""
    for question in range(100):
        simulation = running(mode, 3, busy=255)
        REASON_TO_ACT[reason](simulation)
        before = simulation.world.clock.seconds
        simulation.event("pass and be suspended", question)
        if simulation.world.clock.seconds < before + SUSPENDED_SECONDS:
            break
        simulation.settle()
    else:
        raise AssertionError("it never comes to an end")
    assert question > 4


@in_all_modes
def test_two_managers_from_the_beginning(mode: str) -> None:
    """They take turns without ever treading on each other's toes; one lock, one winner."""
    simulation = Simulation(*MODES[mode], instances=3, busy=255)
    for second in range(60):
        simulation.event("time", 0.5)
        simulation.event("pass", second % 2)
        simulation.event("pass", (second + 1) % 2)
        simulation.event("elect")
        simulation.event("replicate")
        if second in (30, 45):
            simulation.event("kill", simulation.record.primary)
    simulation.settle()
    assert len(simulation.record.instances) == 3
    failures = [entry.text for entry in simulation.store.history("db") if not entry.ok]
    assert not [text for text in failures if "was changed by somebody else" in text]


@in_all_modes
def test_other_manager_takes_over_when_the_session_runs_out(mode: str) -> None:
    simulation = running(mode)
    simulation.event("kill", "db.1")
    simulation.managers[0].power.dead = True
    simulation.event("time", VALID_SECONDS)
    simulation.event("pass", 1)
    assert not simulation.server("db.1").running  # nobody knows yet
    simulation.event("time", TAKEOVER_SECONDS - VALID_SECONDS)
    simulation.events(("pass", 1), ("pass", 1))
    assert simulation.server("db.1").running
    simulation.settle()


@in_all_modes
def test_started_for_the_first_time_while_the_primary_is_dead(mode: str) -> None:
    """It decides from the store and what it sees."""
    simulation = running(mode)
    simulation.event("break", "db.0")
    simulation.event("time", 3600.0)
    simulation.event("new manager")
    simulation.event("pass")
    simulation.event("elect")
    simulation.event("pass")
    simulation.live(2)
    assert simulation.record.primary != "db.0"
    simulation.settle()
    assert simulation.writes()


@promoted
def test_started_for_the_first_time_while_the_primary_hangs(mode: str) -> None:
    """It has seen no silence yet: it counts `down_after` for itself."""
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.event("time", 3600.0)
    simulation.event("new manager")
    simulation.event("pass")
    assert simulation.decision.rule == "primary-suspect"
    simulation.live(4)
    assert simulation.record.primary == "db.1"


@in_all_modes
def test_suspended_manager_has_seen_no_silence(mode: str) -> None:
    """A minute in which nobody looked is no minute of silence."""
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.event("pass")
    simulation.event("time", SUSPENDED_SECONDS)
    simulation.event("pass")
    assert simulation.decision.rule == "primary-suspect"


@pytest.mark.parametrize("seconds", [DAY_SECONDS, 40.0, -40.0, -DAY_SECONDS])
@in_all_modes
def test_clock_jumps(mode: str, seconds: float) -> None:
    """Nothing happens to a healthy service, and what fails afterwards is handled in time."""
    simulation = running(mode)
    before = state(simulation)
    simulation.event("clock jump", seconds)
    simulation.live(10)
    assert state(simulation) == before
    simulation.event("kill", "db.0")
    simulation.live(3)
    assert simulation.record.primary != "db.0"
    simulation.settle()
    assert simulation.writes()


@pytest.mark.parametrize("seconds", [DAY_SECONDS, -DAY_SECONDS])
@something_to_do
@in_all_modes
def test_clock_jumps_in_the_middle(mode: str, reason: str, seconds: float) -> None:
    """Before any effect; the work is done within the usual time."""
    for effect in range(0, 100, 3):
        simulation = running(mode)
        REASON_TO_ACT[reason](simulation)
        simulation.interject(effect, "clock jump", seconds)
        simulation.live(5)
        if simulation.interjected:
            break
        simulation.settle()
        assert simulation.decision.action is Action.NOTHING
    else:
        raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("seconds", [DAY_SECONDS, -DAY_SECONDS])
@in_all_modes
def test_clock_jumps_during_a_planned_restart(mode: str, seconds: float) -> None:
    simulation = running(mode)
    simulation.event("restart", "db.0")
    simulation.event("pass")
    simulation.event("clock jump", seconds)
    simulation.live(10)
    simulation.settle()
    assert all(i.restarting_since is None for i in simulation.record.instances)


@in_all_modes
def test_paused_by_a_person(mode: str) -> None:
    """The manager observes, says so, and does nothing until it is told to resume."""
    simulation = running(mode)
    simulation.event("pause", True)
    simulation.event("kill", "db.0")
    before = state(simulation)
    for _ in range(20):
        simulation.event("time", 1.0)
        simulation.event("pass")
        assert state(simulation) == before
    assert "paused by an operator: `hamanager resume db`" in simulation.decision.reason
    assert "its process has ended" in simulation.decision.reason
    simulation.event("pause", False)
    simulation.settle()
    assert simulation.writes()


@pytest.mark.parametrize("again", [False, True])
@promoted
def test_suspended_manager_sends_nobody_to_a_former_primary(mode: str, again: bool) -> None:
    """It has seen that all is well, and wakes up when another one has failed over. (That the former
    primary is back as a standby, and clients are not sent there, the invariants check.)"""
    suspended_until_another_leads(lambda: running(mode), "db.0", "db.1", again)


@pytest.mark.parametrize("again", [False, True])
@promoted
def test_suspended_manager_has_seen_clients_sent_nowhere(mode: str, again: bool) -> None:
    """It was about to send them to the primary, and then another one leads."""

    def brink() -> Simulation:
        simulation = running(mode)
        simulation.events(("names lost", True), ("kill", "db.0"))
        simulation.live(10)
        simulation.event("replicate")
        assert simulation.record.primary == "db.1"
        assert simulation.world.led_to("db") != ("db.1",)
        simulation.event("names lost", False)
        return simulation

    suspended_until_another_leads(brink, "db.1", "db.0", again)


def suspended_until_another_leads(
    brink: Callable[[], Simulation], old: str, new: str, again: bool
) -> None:
    """At every question of a pass; `again`: and leads again before it goes on."""
    for question in range(40):
        simulation = brink()
        simulation.meanwhile, simulation.leads_again = [("kill", old)], again
        began = simulation.world.clock.seconds
        simulation.event("pass and be suspended", question)
        if simulation.world.clock.seconds < began + SUSPENDED_SECONDS:
            assert question, "it was not suspended at all"
            return
        assert simulation.record.primary == new
        assert simulation.world.led_to("db") == (new,)
        simulation.settle()
    raise AssertionError("it never comes to an end")


@promoted
def test_dies_in_a_failover_and_the_primary_wakes_up(mode: str) -> None:
    """The one that was to be promoted breaks, and comes back when the primary has taken writes
    without it."""
    for simulation in dying_in_a_failover(mode):
        simulation.events(("wake", "db.0"), ("break", "db.1"))
        simulation.live(4)
        simulation.event("repair", "db.1")
        simulation.settle()


@pytest.mark.parametrize("fault", [("break", "db.1"), ("cut off", "db.1"), ("kill", "db.1")])
@pytest.mark.parametrize("instances", [1, 2])
@lossless
def test_dies_in_a_failover_that_passed_the_primary_over(
    mode: str, instances: int, fault: tuple[str, str]
) -> None:
    """The runtime was away. The other one has taken writes when it is no more to be seen, and the
    primary wakes up: it does not go on without them, nor while that one may lead."""
    for simulation in dying_in_a_failover(mode, ("runtime down", True)):
        simulation.event("write", 0)
        simulation.events(fault, ("wake", "db.0"), ("runtime down", False))
        simulation.event("scale", instances)
        simulation.live(12)
        simulation.events(("repair", "db.1"), ("reach again", "db.1"))
        simulation.settle()


def dying_in_a_failover(mode: str, *before: tuple[str, object]) -> Iterator[Simulation]:
    """Before each of its effects; the primary hangs."""
    for effect in range(LATEST):
        simulation = running(mode)
        simulation.events(*before, ("hang", "db.0"))
        simulation.live(2)
        died = False
        while not died and simulation.record.primary == "db.0":
            simulation.elapse(1)
            simulation.run_pass(0, dies_at=effect)
            died = simulation.managers[0].power.dead
        if not died:
            return
        simulation.new_manager()
        yield simulation
    raise AssertionError("it never comes to an end")
