"""Somebody else stops the primary: its place is taken as planned before it ends, or afterwards."""

from __future__ import annotations

import pytest

from hamanager.model.decision import Action
from tests.simulation.modes import ASYNCHRONOUS, in_all_modes, running
from tests.simulation.simulation import Simulation

holding = pytest.mark.parametrize("mode", [*ASYNCHRONOUS, "electing"])
"""Modes in which a guard holds a stop back."""


def assert_it_ends_well(simulation: Simulation) -> None:
    simulation.assert_nothing_is_lost()
    assert simulation.server("db.0").running, "it was not started again"


@holding
def test_its_place_is_taken_before_it_ends(mode: str) -> None:
    simulation = running(mode, 3)
    simulation.event("terminate", "db.0")
    simulation.event("pass")
    assert simulation.record.primary == "db.1"
    assert simulation.server("db.0").running
    simulation.events(("pass", 0), ("pass", 0))
    assert simulation.writes()
    simulation.event("time", 1.0)
    assert not simulation.server("db.0").running
    simulation.live(2)
    assert simulation.writes()
    assert_it_ends_well(simulation)
    assert simulation.record.last_failover is None
    assert "somebody else asked db.0 to end" in simulation.told()


@in_all_modes
@pytest.mark.parametrize("how", ["terminate", "terminate unseen"])
def test_the_manager_is_late_or_hears_nothing(mode: str, how: str) -> None:
    simulation = running(mode)
    simulation.event(how, "db.0")
    if how == "terminate":
        simulation.event("time", 0.9)
    simulation.event("pass")
    assert simulation.decision.action is not Action.SWITCHOVER
    simulation.event("time", 1.0)
    simulation.events(("elect", 0), ("pass", 0), ("pass", 0))
    assert simulation.record.primary != "db.0"
    assert_it_ends_well(simulation)
    assert simulation.record.last_failover is not None


@holding
def test_the_manager_is_away(mode: str) -> None:
    simulation = running(mode)
    simulation.events(("terminate", "db.0"), ("time", 31.0), ("new manager", 0))
    assert_it_ends_well(simulation)


@holding
@pytest.mark.parametrize("effect", range(8))
@pytest.mark.parametrize("what", ["end what is held", "kill", "hang"])
def test_it_ends_amid_its_planned_change(mode: str, effect: int, what: str) -> None:
    simulation = running(mode, busy=0b10110101)
    simulation.event("terminate", "db.0")
    simulation.event("pass amid", (effect, what, "db.0"))
    simulation.live(4)
    if mode == "electing":
        assert_it_ends_well(simulation)
    simulation.settle()  # an asynchronous service may lose writes by a failover
    assert simulation.writes()


@holding
def test_the_heir_is_none_that_ends_as_well(mode: str) -> None:
    simulation = running(mode, 3)
    simulation.events(("terminate", "db.1"), ("time", 0.5), ("terminate", "db.0"), ("pass", 0))
    assert simulation.record.primary == "db.2"
    assert_it_ends_well(simulation)


@holding
def test_nobody_is_left_to_lead(mode: str) -> None:
    """The whole machine goes down."""
    simulation = running(mode, 3)
    simulation.events(*(("terminate", f"db.{number}") for number in range(3)), ("pass", 0))
    assert simulation.record.primary == "db.0"
    assert_it_ends_well(simulation)


@in_all_modes
def test_a_planned_restart_is_no_such_case(mode: str) -> None:
    simulation = running(mode)
    simulation.event("restart", "db.0")
    simulation.live(3)
    assert "somebody else asked" not in simulation.told()
    assert_it_ends_well(simulation)
    if mode != "electing":
        assert simulation.record.primary == "db.0"


@holding
def test_paused_nothing_is_done(mode: str) -> None:
    simulation = running(mode)
    simulation.events(("pause", True), ("terminate", "db.0"), ("pass", 0))
    assert simulation.record.primary == "db.0"
    assert_it_ends_well(simulation)
