"""Stories that tell a mutant, and that no other test tells."""

from __future__ import annotations

from collections.abc import Callable

from hamanager.model.decision import Action
from hamanager.model.snapshot import Role
from tests.simulation.modes import running
from tests.simulation.simulation import PASSES_MEANWHILE, SUSPENDED_SECONDS
from tests.simulation.stories import STORIES, Story, until
from tests.unit.test_managers import Bench, two_managers

BUSY = 255
LATEST = 40


def a_standby_follows_and_has_not_joined_yet() -> None:
    simulation = running("lossless, availability")
    simulation.event("kill", "db.1")
    simulation.event("pass")
    until(simulation, Action.JOIN_SYNC_SET)
    simulation.events(("write", 0), ("kill", "db.0"))
    simulation.live(3, writing=False)
    assert simulation.record.primary == "db.0"
    simulation.settle()


def each_step_under_load(action: Action, happened: str, argument: object) -> None:
    """With a write before every effect, and something else before one of them."""
    mode = "lossless, availability"
    for story in stories_of(action, mode):
        for effect in range(LATEST):
            simulation = story.brink(mode)
            simulation.busy = BUSY
            simulation.interject(effect, happened, argument)
            simulation.run_pass(0)
            simulation.check("the pass")
            if simulation.interjected:
                break


def stories_of(action: Action, mode: str) -> list[Story]:
    return [story for story in STORIES if story.action is action and mode in story.modes]


def two_restarts_one_after_the_other() -> None:
    """The one that is back acknowledges for the other."""
    simulation = running("lossless, availability", 3, BUSY)
    simulation.events(("restart", "db.1"), ("restart", "db.2"))
    simulation.settle()


def an_old_primary_wakes_up_while_there_is_other_work() -> None:
    simulation = running("lossless, availability", 3)
    simulation.events(("runtime down", True), ("hang", "db.0"))
    simulation.live(6)
    simulation.events(("runtime down", False), ("wake", "db.0"), ("kill", "db.2"))
    assert simulation.server("db.0").role is Role.PRIMARY
    simulation.event("pass")
    assert simulation.server("db.0").role is Role.STANDBY


def manager_dies_after_the_promotion(mode: str, fate: str) -> None:
    """Before it is on record. Then the new primary takes a write and comes to its own `fate`, and
    the old one is back."""
    for effect in range(LATEST):
        simulation = running(mode, 3)
        simulation.event("break", "db.0")
        simulation.run_pass(0, dies_at=effect)
        died = simulation.managers[0].power.dead
        simulation.new_manager()
        leads = simulation.server("db.1").role is Role.PRIMARY
        unfinished = leads and simulation.record.primary == "db.0"
        simulation.events(("write", 0), ("repair", "db.0"), ("start by somebody else", "db.0"))
        if unfinished:
            simulation.event(fate, "db.1")
        simulation.live(3, writing=False)
        simulation.settle()
        assert not unfinished or simulation.record.primary == "db.1"
        if not died:
            return
    raise AssertionError("it never comes to an end")


def it_is_blind_when_asked_for_a_switchover() -> None:
    """It tells nobody that the primary does not answer: perhaps nothing answers it alone."""
    simulation = running("lossless, availability")
    simulation.event("runtime down", True)
    simulation.events(("cut off", "db.0"), ("cut off", "db.1"))
    simulation.event("switchover", "db.1")
    simulation.live(2)
    assert simulation.record.order_result is None
    simulation.event("runtime down", False)
    simulation.events(("reach again", "db.0"), ("reach again", "db.1"))
    simulation.live(2)
    assert simulation.record.primary == "db.1"


def received_and_not_applied() -> None:
    """The standby has acknowledged a write that it has not applied when the primary dies."""
    simulation = running("lossless, availability")
    assert simulation.writes()
    simulation.event("kill", "db.0")
    simulation.settle()


def suspended(
    action: Action,
    mode: str,
    *meanwhile: tuple[str, object],
    passes: int = PASSES_MEANWHILE,
    again: bool = False,
) -> None:
    """At every question of the action, while another manager works for so many passes; `again`: and
    then is gone in turn, so that the first one leads again before it goes on."""
    for story in stories_of(action, mode):
        for question in range(LATEST):
            simulation = story.brink(mode)
            simulation.busy = BUSY
            simulation.meanwhile, simulation.passes_meanwhile = list(meanwhile), passes
            simulation.leads_again = again
            began = simulation.world.clock.seconds
            simulation.event("pass and be suspended", question)
            simulation.settle()
            if simulation.world.clock.seconds < began + SUSPENDED_SECONDS:
                break


def bench_of_managers(test: Callable[[Bench], None]) -> None:
    """A test of managers among themselves."""
    test(two_managers())


def manager_dies_amid_a_switchover(mode: str) -> None:
    """And nobody expects the order any more when the next one is there."""
    for story in stories_of(Action.SWITCHOVER, mode):
        for effect in range(LATEST):
            simulation = story.brink(mode)
            simulation.run_pass(0, dies_at=effect)
            died = simulation.managers[0].power.dead
            simulation.new_manager()
            simulation.event("time", 120.0)
            simulation.settle()
            if not died:
                break


def fewer_instances_are_wanted() -> None:
    simulation = running("lossless, availability", 3)
    simulation.event("scale", 1)
    simulation.settle()
    assert simulation.record.primary == "db.0"


def the_members_elect_another() -> None:
    """While the manager is away."""
    simulation = running("electing")
    simulation.events(("cut link", "db.0"), ("elect", 0), ("mend link", "db.0"))
    assert simulation.server("db.0").role is Role.STANDBY
    simulation.settle()
    assert simulation.record.primary != "db.0"
