"""An address on another machine may be late: a former primary that it leads to takes no writes."""

from __future__ import annotations

from tests.simulation.modes import PROMOTED, promoted, running
from tests.simulation.simulation import Simulation


def hears(simulation: Simulation, behind: int = 0) -> tuple[str, ...]:
    simulation.event("hear elsewhere", behind)
    return simulation.world.elsewhere.led_to("db")


def fail_over(mode: str) -> Simulation:
    """While nobody elsewhere hears of it; then the former primary is back."""
    simulation = running(mode, 3)
    assert hears(simulation) == ("db.0",)
    simulation.event("kill", "db.0")
    simulation.live(3)
    assert simulation.record.primary != "db.0"
    simulation.event("start by somebody else", "db.0")
    simulation.live(1)
    return simulation


@promoted
def test_an_address_that_is_late_leads_to_one_that_takes_no_writes(mode: str) -> None:
    simulation = fail_over(mode)
    assert simulation.world.elsewhere.led_to("db") == ("db.0",)
    former = simulation.server("db.0")
    assert former not in simulation.world.primaries()
    simulation.settle()
    assert hears(simulation) == (simulation.record.primary,)


@promoted
def test_an_address_that_hangs_beside_a_primary_that_does(mode: str) -> None:
    """Both wake up when another one leads."""
    simulation = running(mode, 3)
    assert hears(simulation) == ("db.0",)
    simulation.event("hang", "db.0")
    simulation.live(8)
    assert simulation.record.primary != "db.0"
    simulation.event("wake", "db.0")
    simulation.live(1)
    simulation.settle()
    assert hears(simulation) == (simulation.record.primary,)


@promoted
def test_answers_that_come_late_lead_nobody_back(mode: str) -> None:
    simulation = fail_over(mode)
    leads = simulation.world.led_to("db")
    assert hears(simulation) == leads
    for behind in (1, 2, 1, 0):
        assert hears(simulation, behind) == leads
    simulation.settle()


def answers_come_in_any_order() -> None:
    for mode in PROMOTED:
        test_answers_that_come_late_lead_nobody_back(mode)
