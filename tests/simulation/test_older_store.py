"""The store was restored from a copy that is older than the servers."""

from __future__ import annotations

from hamanager.model.snapshot import Role
from tests.simulation.modes import availability, running
from tests.simulation.simulation import Simulation


def restored(mode: str) -> Simulation:
    """Before the copy db.0 was primary; after it db.1, which alone has the last writes."""
    simulation = running(mode)
    simulation.event("copy the store")
    simulation.event("kill", "db.0")
    simulation.settle()
    assert simulation.record.primary == "db.1"
    simulation.event("break", "db.0")
    simulation.live(3)
    assert simulation.writes()
    simulation.event("repair", "db.0")
    simulation.event("restore the store")
    assert simulation.record.primary == "db.0"
    return simulation


@availability
def test_a_primary_of_a_former_term_does_not_come_back(mode: str) -> None:
    """Everything has ended and comes back, the former primary first."""
    simulation = restored(mode)
    simulation.event("break", "db.1")
    simulation.live(5, writing=False)
    assert not simulation.writes()
    assert "the store is older than the servers" in simulation.decision.reason
    simulation.event("repair", "db.1")
    simulation.event("start by somebody else", "db.1")
    simulation.live(2, writing=False)
    simulation.forced = True
    simulation.force_failover("db.1")
    simulation.settle()
    assert simulation.record.primary == "db.1"
    assert simulation.world.acknowledged <= simulation.log("db.1")
    assert simulation.record.term > 2


@availability
def test_a_working_primary_is_left_alone(mode: str) -> None:
    """It is not the one that the old record names."""
    simulation = restored(mode)
    simulation.live(3)
    assert simulation.server("db.1").role is Role.PRIMARY
    assert simulation.writes()
    simulation.force_failover("db.1")
    simulation.settle()
    assert simulation.world.acknowledged <= simulation.log("db.1")
