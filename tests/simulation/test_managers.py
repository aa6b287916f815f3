"""Several managers: one is suspended, dies, or is cut off from the store, before each effect, each
question and each statement, while another one goes on; and what comes after that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from hamanager.decide.leading import SETTLED_SECONDS
from hamanager.model.decision import Action
from tests.simulation.modes import ASYNCHRONOUS, LOSSLESS, MODES, in_all_modes, lossless, running
from tests.simulation.simulation import TAKEN_OVER_SECONDS, Simulation
from tests.simulation.stories import STORIES, Story
from tests.simulation.test_crashes import BUSY, LATEST, is_suspended_at_each

DELICATE = (
    *(Action.FAIL_OVER, Action.SWITCHOVER, Action.JOIN_SYNC_SET, Action.LEAVE_SYNC_SET),
    *(Action.END_WAITING, Action.RESTART),
)
"""Those of many statements, about who leads and for whom writes wait."""
delicate = pytest.mark.parametrize(
    ("story", "mode"),
    [
        pytest.param(story, mode, id=f"{story.action}: {story.title}, {mode}")
        for story in STORIES
        if story.action in DELICATE
        for mode in story.modes
        if not mode.endswith("strict")
    ],
)
NEXT: dict[str, tuple[tuple[str, object], ...]] = {
    "it wakes up": (),
    "it wakes up and the other one dies": (("manager dies", 1),),
    "it wakes up and the other one loses the store": (("manager loses the store", 1),),
    "it wakes up and the standby dies": (("kill", "db.1"),),
}


@delicate
@pytest.mark.parametrize("again", [False, True])
def test_is_suspended_in_the_middle_of_a_call(story: Story, mode: str, again: bool) -> None:
    """Before each statement; nothing that it does later does harm, also when it leads again."""
    is_suspended_at_each(story, mode, "pass and be suspended in a call", leads_again=again)


@delicate
def test_is_suspended_and_leads_again_before_it_goes_on(story: Story, mode: str) -> None:
    """The one that had taken over is gone in turn."""
    is_suspended_at_each(story, mode, "pass and be suspended", leads_again=True)


FIRST: dict[str, Callable[[Simulation, int], None]] = {
    "dies": lambda s, effect: s.interject(effect, "manager dies", 0),
    "loses the store": lambda s, effect: s.interject(effect, "manager loses the store", 0),
}
THEN = {
    "dies": (("manager dies", 1), ("manager returns", 0)),
    "loses the store": (("manager loses the store", 1), ("manager finds the store", 0)),
}


@pytest.mark.parametrize(
    "mode", [*LOSSLESS, *(pytest.param(mode, marks=pytest.mark.long) for mode in ASYNCHRONOUS)]
)
@pytest.mark.parametrize(("first", "then"), list(product(FIRST, THEN)))
def test_two_events_in_a_failover(mode: str, first: str, then: str) -> None:
    """Before each effect of the first manager, and before each of the one that follows it: one dies
    or is cut off from the store, and then the other one, when the first is back."""
    for simulation, effect in begun_failovers(mode, first):
        if simulation is None:
            return
        for second in range(LATEST):
            if second:
                again = next(s for s, e in begun_failovers(mode, first, effect) if e == effect)
                assert again is not None
                simulation = again
            for number, event in enumerate(THEN[then]):
                simulation.interjected.append((simulation.effects + second, *event))
                assert number < 2
            for _ in range(3):
                simulation.event("pass", 1)
            happened = not simulation.interjected
            simulation.interjected.clear()
            simulation.events(*((kind, which) for kind, which in THEN[then] if not happened))
            simulation.events(("manager returns", 0), ("manager finds the store", 0))
            simulation.live(3)
            simulation.settle()
            if not happened:
                break
        else:
            raise AssertionError("the second failover never comes to an end")


def begun_failovers(
    mode: str, first: str, since: int = 0
) -> Iterator[tuple[Simulation | None, int]]:
    """The world when another manager has just found out, for each effect; None at the end."""
    for effect in range(since, LATEST):
        simulation = running(mode, 3, busy=BUSY)
        simulation.event("break", "db.0")
        FIRST[first](simulation, effect)
        simulation.event("pass", 0)
        if simulation.interjected:
            yield None, effect
            return
        simulation.elapse(TAKEN_OVER_SECONDS)
        yield simulation, effect
    raise AssertionError("the failover never comes to an end")


@in_all_modes
def test_a_manager_that_loses_the_store_is_followed_and_demotes_nobody(mode: str) -> None:
    simulation = running(mode)
    simulation.event("manager loses the store", 0)
    before = [(s.role, s.running) for s in simulation.world.servers.values()]
    simulation.live(8)
    assert [m.leads for m in simulation.managers] == [False, True]
    assert [(s.role, s.running) for s in simulation.world.servers.values()] == before
    assert simulation.writes()
    simulation.event("kill", "db.0")
    simulation.live(3)
    assert simulation.record.primary != "db.0"
    simulation.settle()


@in_all_modes
def test_a_manager_without_the_store_goes_on_observing(mode: str) -> None:
    simulation = running(mode)
    simulation.event("store down", True)
    simulation.event("kill", "db.0")
    simulation.live(2, writing=False)
    last = simulation.managers[0].loop.last
    assert last is not None
    assert last.decision.rule == "store-away"
    assert ("elected db.1" if mode == "electing" else "its process has ended") in last.message
    assert "nothing is done before it answers" in last.message
    assert simulation.record.primary == "db.0"


@in_all_modes
def test_a_store_that_was_away_changes_nobodys_place(mode: str) -> None:
    """Also when the one that leads is a little late to say that it lives."""
    simulation = running(mode)
    simulation.live(2)
    simulation.event("store down", True)
    simulation.live(20)
    simulation.event("store down", False)
    simulation.event("manager sleeps", 0)
    simulation.elapse(1)
    simulation.event("pass", 1)
    simulation.event("manager wakes", 0)
    for _ in range(10):
        simulation.live(1)
        assert not simulation.managers[1].leads
    assert simulation.managers[0].leads


@in_all_modes
def test_a_service_comes_back_to_the_manager_that_should_lead_it(mode: str) -> None:
    simulation = running(mode)
    simulation.event("manager sleeps", 0)
    simulation.live(8)
    assert simulation.managers[1].leads
    simulation.event("manager wakes", 0)
    simulation.live(5)
    assert simulation.managers[1].leads
    simulation.live(int(SETTLED_SECONDS))
    assert simulation.managers[0].leads
    simulation.settle()


@in_all_modes
def test_only_one_manager_leads(mode: str) -> None:
    """Whatever happens to them: never both at once."""
    simulation = Simulation(*MODES[mode], instances=2)
    happen = [
        *(("manager sleeps", 0), ("manager sleeps", 1), ("manager wakes", 0), ("manager dies", 1)),
        *(("manager wakes", 1), ("manager returns", 1), ("manager loses the store", 0)),
        *(("store down", True), ("store down", False), ("manager finds the store", 0)),
        *(("manager dies", 0), ("manager returns", 0)),
    ]
    for event in happen:
        for _ in range(7):
            simulation.live(1)
            assert sum(manager.leads for manager in simulation.managers) <= 1
        simulation.event(*event)
    simulation.settle()


@lossless
@pytest.mark.parametrize("then", NEXT)
def test_is_cut_off_from_the_store_in_the_middle(mode: str, then: str) -> None:
    """Of a failover, for so long that another manager finishes it; then it comes back."""
    for effect in range(LATEST):
        simulation = running(mode, 3, busy=BUSY)
        simulation.event("hang", "db.0")
        simulation.live(2)
        simulation.interject(effect, "manager loses the store", 0)
        simulation.live(2)
        happened = not simulation.interjected
        simulation.interjected.clear()
        simulation.elapse(TAKEN_OVER_SECONDS)
        simulation.live(3)
        simulation.events(*NEXT[then], ("manager finds the store", 0))
        simulation.live(8)
        simulation.settle()
        if not happened:
            return
    raise AssertionError("it never comes to an end")
