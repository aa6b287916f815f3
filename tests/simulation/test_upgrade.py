"""Another image, instance by instance, in a world where an older server reads no newer data and
follows no newer primary."""

from __future__ import annotations

import pytest

from hamanager.model.decision import Action
from tests.simulation.modes import in_all_modes, lossless, promoted, running
from tests.simulation.simulation import Simulation
from tests.simulation.stories import until

BUSY = 255
LATEST_EFFECT = 400
STRIDE = 5


def images(simulation: Simulation) -> dict[str, str]:
    return {s.ref.instance: s.image for s in simulation.world.servers.values()}


@pytest.mark.parametrize("instances", [2, 3])
@in_all_modes
def test_standbys_first_and_the_primary_last(mode: str, instances: int) -> None:
    """Under load: a planned change of primary, and nobody fails over."""
    simulation = running(mode, 3 if mode == "electing" else instances, BUSY)
    simulation.event("upgrade", 2)
    simulation.settle()
    assert set(images(simulation).values()) == {"image:2"}
    assert simulation.record.primary != "db.0"
    assert simulation.record.last_failover is None
    assert simulation.record.retained == ()
    assert all(i.generation == int(i.name[-1]) + 1 for i in simulation.record.instances)
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_a_service_of_one_instance_is_restarted(mode: str) -> None:
    simulation = running(mode, 1)
    simulation.event("upgrade", 2)
    simulation.settle()
    assert images(simulation) == {"db.0": "image:2"}
    assert "nothing can be written until it is back" in simulation.told()
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_an_image_that_does_not_come_up_stops_it(mode: str) -> None:
    """One standby is away, the primary is never touched, and the former image is the way back."""
    simulation = running(mode, 3)
    simulation.events(("bad image", 2), ("upgrade", 2))
    simulation.live(200)
    assert images(simulation) == {"db.0": "image", "db.1": "image", "db.2": "image:2"}
    assert simulation.record.primary == "db.0"
    assert simulation.record.retained == ()
    assert "the upgrade has stopped: db.2 does not come up from image:2" in (
        simulation.decision.reason
    )
    assert "`hamanager upgrade db --image image` goes back" in simulation.decision.reason
    assert simulation.writes()
    simulation.event("upgrade", 1)
    simulation.live(60)
    assert simulation.healthy()
    assert set(images(simulation).values()) == {"image:1"}


@in_all_modes
def test_one_instance_and_a_bad_image_and_back(mode: str) -> None:
    simulation = running(mode, 1)
    simulation.events(("bad image", 2), ("upgrade", 2))
    simulation.live(60)
    assert not simulation.server("db.0").running
    simulation.event("upgrade", 1)
    simulation.live(90)
    assert simulation.healthy()
    assert simulation.writes()


@in_all_modes
def test_one_instance_that_hangs_in_a_new_image_and_back(mode: str) -> None:
    simulation = running(mode, 1)
    simulation.event("upgrade", 2)
    until(simulation, Action.START_INSTANCE)
    simulation.event("pass")
    simulation.event("hang", "db.0")
    simulation.live(80)
    simulation.world.volumes["db.0-g1"].version = 1  # it has not come so far
    simulation.event("upgrade", 1)
    simulation.live(90)
    assert images(simulation) == {"db.0": "image:1"}
    assert simulation.healthy()


@in_all_modes
def test_a_standby_that_is_added_meanwhile_copies_from_one_of_its_version(mode: str) -> None:
    simulation = running(mode, 3)
    simulation.events(("upgrade", 2), ("scale", 5))
    simulation.settle()
    assert set(images(simulation).values()) == {"image:2"}
    assert len(images(simulation)) == 5


@promoted
def test_an_old_primary_comes_back_from_the_image_of_the_new_one(mode: str) -> None:
    """It fails when the standbys are upgraded and it is not."""
    simulation = running(mode, 3)
    simulation.event("upgrade", 2)
    for _ in range(200):
        decision = simulation.peek()
        if decision is not None and decision.action is Action.SWITCHOVER:
            break
        simulation.live(1)
    assert images(simulation) == {"db.0": "image", "db.1": "image:2", "db.2": "image:2"}
    simulation.event("kill", "db.0")
    simulation.live(3)
    assert simulation.record.last_failover is not None
    assert images(simulation)["db.0"] == "image:2"
    simulation.settle()
    assert simulation.record.retained == ()


@promoted
def test_it_is_not_followed_from_the_former_image_whoever_starts_it(mode: str) -> None:
    simulation = running(mode, 3)
    simulation.event("upgrade", 2)
    for _ in range(200):
        decision = simulation.peek()
        if decision is not None and decision.action is Action.SWITCHOVER:
            break
        simulation.live(1)
    simulation.event("kill", "db.0")
    simulation.event("pass")
    simulation.event("start by somebody else", "db.0")
    simulation.settle()
    assert set(images(simulation).values()) == {"image:2"}


@lossless
def test_an_upgraded_standby_loses_its_data(mode: str) -> None:
    """It is copied anew from a primary that is not upgraded yet, by what that one runs from."""
    simulation = running(mode, 3)
    simulation.event("upgrade", 2)
    until(simulation, Action.JOIN_SYNC_SET)
    simulation.event("lose a copy", "db.2")
    simulation.settle()
    assert set(images(simulation).values()) == {"image:2"}
    assert simulation.record.retained == ()


@in_all_modes
def test_somebody_starts_the_former_container_in_the_very_moment(mode: str) -> None:
    """The record must not say that it runs from the new image."""
    for effect in range(4):
        simulation = running(mode)
        simulation.event("upgrade", 2)
        until(simulation, Action.UPGRADE)
        simulation.event("pass")
        until(simulation, Action.START_INSTANCE)
        simulation.interject(effect, "start by somebody else", simulation.decision.instance)
        simulation.event("pass")
        over = bool(simulation.interjected)
        simulation.settle()
        assert set(images(simulation).values()) == {"image:2"}
        if over:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("victim", ["db.0", "db.1", "db.2"])
@in_all_modes
def test_kill_in_the_middle(mode: str, victim: str) -> None:
    """Before any effect, while clients write."""
    for effect in range(int(victim[-1]), LATEST_EFFECT, STRIDE):
        simulation = running(mode, 3, BUSY)
        simulation.event("upgrade", 2)
        simulation.interject(effect, "kill", victim)
        simulation.live(25)
        done = simulation.interjected
        simulation.settle()
        assert set(images(simulation).values()) == {"image:2"}
        if done:
            return
    raise AssertionError("it never comes to an end")
