"""The manager dies, or is suspended, between any two steps of any playbook, in every mode.

For each action there is a story that makes the loop choose it. It is told again and again, and the
manager dies before its first effect, before its second one, ... until it no longer dies.
"""

from __future__ import annotations

import pytest

from hamanager.model.decision import Action
from hamanager.stores.repository import lock_key
from hamanager_playbooks.registry import PLAYBOOKS
from tests.simulation.simulation import SUSPENDED_SECONDS, TAKEN_OVER_SECONDS, Simulation
from tests.simulation.stories import STORIES, Story

LATEST = 60
LONGEST_FAILOVER_SECONDS = 12
"""Of one whose manager died in the middle."""
NOTHING_KNOWN = 3
"""The first questions of a pass are for spec, secrets and record."""
BUSY = 255
"""Clients write before every effect."""
every_story = pytest.mark.parametrize(
    ("story", "mode"),
    [
        pytest.param(story, mode, id=f"{story.action}: {story.title}, {mode}")
        for story in STORIES
        for mode in story.modes
    ],
)


def test_every_action_has_a_story() -> None:
    assert {story.action for story in STORIES} == set(PLAYBOOKS)


@every_story
def test_dies(story: Story, mode: str) -> None:
    """In the end everything is as if it had not died."""
    expected = story.brink(mode)
    expected.event("pass")
    come_to_rest(expected)
    for effect in range(LATEST):
        simulation = story.brink(mode)
        simulation.run_pass(0, dies_at=effect)
        died = simulation.managers[0].power.dead
        simulation.new_manager()
        come_to_rest(simulation)
        here, there = outcome(simulation), outcome(expected)
        different = {key for key in here if here[key] != there[key]} - may_differ(story, mode)
        assert not different, f"died before effect {effect}"
        if not died:
            return
    raise AssertionError("it never comes to an end")


def come_to_rest(simulation: Simulation) -> None:
    """What is broken stays so for a while."""
    simulation.live(LONGEST_FAILOVER_SECONDS, writing=False)
    simulation.settle()


def may_differ(story: Story, mode: str) -> set[str]:
    """Members that elect may choose another one meanwhile; a switchover that was interrupted late
    is finished as a failover."""
    if mode == "electing":
        return {"primary", "failover", "order"}
    return {"failover"} if story.action is Action.SWITCHOVER else set()


@every_story
def test_dies_and_another_manager_goes_on(story: Story, mode: str) -> None:
    """Under load, when it has found out that the other one is dead."""
    for effect in range(LATEST):
        simulation = story.brink(mode)
        simulation.busy = BUSY
        simulation.run_pass(0, dies_at=effect)
        died = simulation.managers[0].power.dead
        simulation.event("time", TAKEN_OVER_SECONDS)
        for _ in range(4):
            simulation.event("pass", 1)
            simulation.event("write", effect)
        assert simulation.destroying or simulation.managers[1].leads is died
        simulation.settle()
        if not died:
            return
    raise AssertionError("it never comes to an end")


@every_story
def test_is_suspended_while_another_manager_goes_on(story: Story, mode: str) -> None:
    """Under load; whatever it knew before it does no harm afterwards."""
    is_suspended_at_each(story, mode, "pass and be suspended", first=NOTHING_KNOWN)


def is_suspended_at_each(
    story: Story, mode: str, how: str, *, first: int = 0, leads_again: bool = False
) -> None:
    """The story under load again and again, suspended later each time, until it no longer is."""
    for number in range(first, LATEST):
        simulation = story.brink(mode)
        simulation.busy, simulation.leads_again = BUSY, leads_again
        began = simulation.world.clock.seconds
        simulation.event(how, number)
        suspended = simulation.world.clock.seconds >= began + SUSPENDED_SECONDS
        simulation.settle()
        if not suspended:
            return
    raise AssertionError("it never comes to an end")


@every_story
def test_loses_an_answer(story: Story, mode: str) -> None:
    """What was done is taken for failed."""
    for effect in range(LATEST):
        simulation = story.brink(mode)
        simulation.busy = BUSY
        before = simulation.effects
        simulation.event("pass with a lost answer", effect)
        lost = simulation.effects > before + effect
        simulation.settle()
        if not lost:
            return
    raise AssertionError("it never comes to an end")


def outcome(simulation: Simulation) -> dict[str, object]:
    """What is left in the end, as people would tell it. (Data set aside may be more: what could
    not be proven at once is kept.)"""
    if simulation.destroying:
        left = [*simulation.world.servers, *simulation.world.volumes, *simulation.store.keys("")]
        return {"left": [key for key in left if key != lock_key("db")]}
    record = simulation.record
    failover, result = record.last_failover, record.order_result
    return {
        "primary": record.primary,
        "instances": [
            (i.name, i.memory_bytes, i.synchronized, i.restarts_done, i.restarting_since)
            for i in record.instances
        ],
        "images": [(i.image, i.former_image, i.upgrading) for i in record.instances],
        "sync set": (record.sync_set, record.guarded),
        "data": [simulation.log(i.name) for i in record.instances],
        "failover": failover and (failover.from_instance, failover.to_instance, failover.forced),
        "order": result and (result.number, result.ok),
        "acknowledged": simulation.world.acknowledged,
    }
