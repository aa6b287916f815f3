"""Acknowledgements that a server has stored, gives by halves, or invents when it is shut down."""

from __future__ import annotations

import pytest

from hamanager.model.decision import Action
from tests.simulation.modes import lossless, running, strict
from tests.simulation.servers import CONNECTIONS
from tests.simulation.stories import an_acknowledgement_is_lost, until

LATEST = 12


@lossless
def test_what_a_departed_standby_had_acknowledged_counts_for_nobody(mode: str) -> None:
    """One member hears nothing, the other acknowledges and dies; then the primary dies."""
    simulation = running(mode, 3)
    simulation.events(("stall link", "db.1"), ("write", 0))
    assert simulation.server("db.0").waiting
    simulation.event("kill", "db.2")
    simulation.live(2, writing=False)
    assert "db.2" not in simulation.record.sync_set
    simulation.events(("kill", "db.0"), ("mend link", "db.1"))
    simulation.settle()


@lossless
def test_the_same_after_a_manager_that_died(mode: str) -> None:
    """It had taken the departed one out of the set and not lowered the number."""
    for effect in range(LATEST):
        simulation = running(mode, 3)
        simulation.events(("stall link", "db.1"), ("write", 0), ("kill", "db.2"))
        simulation.event("pass and die", effect)
        simulation.live(2, writing=False)
        simulation.events(("kill", "db.0"), ("mend link", "db.1"))
        simulation.settle()


@lossless
def test_one_member_is_silent_and_the_rest_of_the_work_goes_on(mode: str) -> None:
    """The number cannot be lowered while one is silent; what has ended is started all the same."""
    simulation = running(mode, 3)
    simulation.events(("stall link", "db.1"), ("write", 0), ("kill", "db.2"))
    simulation.live(3, writing=False)
    assert simulation.server("db.2").running
    simulation.event("mend link", "db.1")
    simulation.assert_nothing_is_lost()


@strict
def test_a_clean_shutdown_by_somebody_else_tells_waiting_clients_nothing(mode: str) -> None:
    simulation = running(mode)
    simulation.events(("pause", True), ("kill", "db.1"), ("write", 0), ("terminate", "db.0"))
    simulation.events(("start by somebody else", "db.1"), ("pause", False))
    simulation.settle()


@lossless
def test_a_planned_restart_tells_waiting_clients_nothing(mode: str) -> None:
    for effect in range(LATEST):
        simulation = running(mode)
        simulation.busy = 255
        simulation.events(("cut link", "db.1"), ("write", 0), ("restart", "db.0"))
        simulation.event("pass and die", effect)
        simulation.events(("kill", "db.0"), ("mend link", "db.1"))
        simulation.settle()


@lossless
def test_a_member_puts_on_its_disk_what_it_acknowledges(mode: str) -> None:
    simulation = running(mode)
    simulation.server("db.1").syncs = False
    simulation.live(2)
    assert simulation.server("db.1").syncs
    simulation.event("write", 0)
    simulation.events(("lose power", "db.0"), ("lose power", "db.1"))
    simulation.assert_nothing_is_lost()


@lossless
def test_half_silenced(mode: str) -> None:
    """A manager died between telling it and its receiver's restart."""
    simulation = running(mode, 3)
    simulation.event("restart", "db.2")
    until(simulation, Action.LEAVE_SYNC_SET)
    simulation.run_pass(0, dies_at=0)
    simulation.new_manager()
    simulation.server("db.2").acknowledges = False
    assert simulation.server("db.2").link_acknowledges
    simulation.live(10)
    simulation.settle()
    assert simulation.record.sync_set == ("db.1", "db.2")


@pytest.mark.parametrize("mode", ["lossless, strict"])
def test_clients_whose_writes_wait_do_not_keep_others_out(mode: str) -> None:
    """Their standby does not come back. They are ended, and none of them is told that it wrote."""
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.events(*[("write", 0)] * (CONNECTIONS + 2))
    primary = simulation.server("db.0")
    assert len(primary.waiting) == CONNECTIONS
    told = set(simulation.world.acknowledged)
    simulation.live(8, writing=False)
    assert not primary.waiting
    assert simulation.world.acknowledged == told
    assert primary.required_acks == 1
    simulation.event("write", 0)
    assert len(primary.waiting) == 1
    simulation.event("repair", "db.1")
    simulation.assert_nothing_is_lost()


@lossless
def test_a_write_whose_acknowledgement_was_lost_is_told_all_the_same(mode: str) -> None:
    """Nobody else writes."""
    simulation = an_acknowledgement_is_lost(mode)
    simulation.live(6, writing=False)
    simulation.assert_nothing_is_lost()
    assert not simulation.server("db.0").waiting
    assert len(simulation.world.acknowledged) == len(simulation.log("db.0")) - 1
