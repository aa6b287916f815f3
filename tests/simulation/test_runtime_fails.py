"""The runtime hangs or fails in some calls: a healthy service must not suffer from it."""

from __future__ import annotations

import pytest

from hamanager.model.snapshot import Contact
from tests.simulation.modes import in_all_modes, promoted, running

PEOPLES = frozenset({"file_names", "memory_used"})


@in_all_modes
@pytest.mark.parametrize(
    "calls",
    [PEOPLES, PEOPLES | {"process"}, frozenset({"kill", "start"})],
    ids=lambda calls: "-".join(sorted(calls)),
)
def test_a_healthy_service_stays_as_it_is(mode: str, calls: frozenset[str]) -> None:
    simulation = running(mode)
    before = simulation.record
    simulation.event("runtime out", calls)
    for _ in range(15):
        simulation.live(1)
        last = simulation.managers[0].loop.last
        assert last is not None
        assert {seen.contact for seen in last.snapshot.observations.values()} == {Contact.ANSWERS}
        assert simulation.writes()
    simulation.event("runtime out", frozenset())
    simulation.live(3)
    assert simulation.record.primary == before.primary
    assert (simulation.record.term, simulation.record.last_failover) == (before.term, None)
    simulation.assert_nothing_is_lost()


@promoted
def test_a_dead_primary_is_replaced_while_questions_for_people_hang(mode: str) -> None:
    simulation = running(mode)
    simulation.event("runtime out", PEOPLES)
    simulation.live(12)
    simulation.event("kill", "db.0")
    simulation.live(2)
    assert simulation.record.primary == "db.1"
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_names_that_cease_to_resolve_hold_up_no_fail_over(mode: str) -> None:
    simulation = running(mode)
    simulation.events(("names lost", True), ("kill", "db.0"))
    simulation.live(2)
    assert simulation.record.primary != "db.0"
    simulation.event("names lost", False)
    simulation.assert_nothing_is_lost()
