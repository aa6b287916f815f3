"""The primary fails: what has to come of it, in every mode."""

from __future__ import annotations

from hamanager.model.decision import Action
from hamanager.model.snapshot import Role
from tests.simulation.modes import (
    LOSSLESS,
    asynchronous,
    availability,
    in_all_modes,
    lossless,
    promoted,
    running,
    strict,
)


@in_all_modes
def test_primary_killed(mode: str) -> None:
    simulation = running(mode)
    simulation.event("kill", "db.0")
    simulation.event("pass")
    simulation.event("elect")
    simulation.event("pass")
    assert simulation.record.primary != "db.0"
    simulation.assert_nothing_is_lost()
    failover = simulation.record.last_failover
    assert failover is not None
    assert (failover.from_instance, failover.forced) == ("db.0", False)


@promoted
def test_the_other_standby_follows_the_new_primary(mode: str) -> None:
    """It goes on to look for the dead one, as a member of the sync set that it was there."""
    simulation = running(mode, 3)
    simulation.event("kill", "db.0")
    simulation.live(12)
    assert simulation.record.primary == "db.1"
    assert simulation.server("db.2").source == simulation.server("db.1").address


@in_all_modes
def test_primary_hangs_for_a_moment(mode: str) -> None:
    """For less than `down_after`: nothing is done."""
    simulation = running(mode)
    simulation.event("hang", "db.0")
    for _ in range(3):
        simulation.event("pass")
        assert simulation.decision.rule == "primary-suspect"
        simulation.event("time", 0.9)
    simulation.event("wake", "db.0")
    simulation.live(3)
    assert (simulation.record.primary, simulation.record.last_failover) == ("db.0", None)
    assert simulation.record.term == 1
    simulation.assert_nothing_is_lost()


@promoted
def test_primary_hangs_for_ever(mode: str) -> None:
    """It is ended and taken back."""
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.live(12)
    assert simulation.record.primary != "db.0"
    assert simulation.healthy()
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_primary_hangs_and_wakes_up(mode: str) -> None:
    """For longer than `down_after`: it is replaced, and as an old primary it takes no writes."""
    simulation = running(mode)
    simulation.event("hang", "db.0")
    simulation.live(6)
    assert simulation.record.primary != "db.0"
    simulation.event("wake", "db.0")
    for _ in range(3):  # in which it gets no chance
        simulation.event("write")
        assert simulation.server("db.0").role is Role.STANDBY
        simulation.event("pass")
    simulation.assert_nothing_is_lost()
    assert simulation.record.retained == ()


@lossless
def test_hanging_primary_that_cannot_be_fenced(mode: str) -> None:
    """None of its writes can be acknowledged without the one that is promoted: it is passed over.
    When it wakes up its clients go on waiting, and it is stopped."""
    simulation = running(mode)
    simulation.event("runtime down", True)
    simulation.event("hang", "db.0")
    simulation.live(6, writing=False)
    assert simulation.record.primary == "db.1"
    simulation.event("wake", "db.0")
    assert simulation.server("db.0").role is Role.PRIMARY
    number = simulation.world.next_write
    simulation.event("write")
    assert number in simulation.log("db.0")
    assert number not in simulation.world.acknowledged
    simulation.event("pass")
    assert simulation.decision.action is Action.DEMOTE
    assert simulation.server("db.0").role is Role.STANDBY
    simulation.assert_nothing_is_lost()


@asynchronous
def test_hanging_primary_that_cannot_be_fenced_and_waits_for_nobody(mode: str) -> None:
    """It might wake up and take writes: nobody is promoted until it can be ended."""
    simulation = running(mode)
    simulation.event("runtime down", True)
    simulation.event("hang", "db.0")
    simulation.live(20)
    assert simulation.record.primary == "db.0"
    assert simulation.server("db.1").role is Role.STANDBY
    simulation.event("runtime down", False)
    simulation.live(2)
    assert simulation.record.primary == "db.1"
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_primary_cut_off_from_everyone(mode: str) -> None:
    simulation = running(mode)
    simulation.events(("cut off", "db.0"), ("cut link", "db.0"))
    simulation.event("pass")
    assert simulation.decision.rule == "primary-suspect"
    simulation.live(6, writing=False)  # what it took alone would be lost where none waits
    assert simulation.record.primary != "db.0"
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_primary_cut_off_from_the_manager_only(mode: str) -> None:
    """It is the manager who is cut off: no failover, and writes go on."""
    simulation = running(mode)
    simulation.event("cut off", "db.0")
    for _ in range(20):
        simulation.live(1)
        assert simulation.decision.rule == "primary-cut-off"
        assert simulation.writes()
    simulation.event("reach again", "db.0")
    simulation.live(3)
    assert (simulation.record.primary, simulation.record.term) == ("db.0", 1)
    assert simulation.record.last_failover is None


@availability
def test_primary_cut_off_from_the_standby_only(mode: str) -> None:
    """Writes go on without it."""
    simulation = running(mode)
    simulation.event("cut link", "db.1")
    simulation.live(4)
    assert (simulation.record.primary, simulation.record.sync_set) == ("db.0", ())
    assert simulation.writes()
    simulation.event("mend link", "db.1")
    simulation.assert_nothing_is_lost()
    assert simulation.record.sync_set == (("db.1",) if mode in LOSSLESS else ())


@strict
def test_primary_cut_off_from_the_standby_only_strict(mode: str) -> None:
    """Writes wait until the link is back."""
    simulation = running(mode)
    simulation.event("cut link", "db.1")
    simulation.live(10)
    assert simulation.record.primary == "db.0"
    assert not simulation.writes()
    assert simulation.record.sync_set == (("db.1",) if mode in LOSSLESS else ())
    simulation.event("mend link", "db.1")
    simulation.event("replicate")
    assert simulation.writes()
    simulation.assert_nothing_is_lost()


def test_primary_cut_off_from_the_others_that_elect() -> None:
    """The majority goes on without it."""
    simulation = running("electing")
    simulation.event("cut link", "db.0")
    simulation.live(3)
    assert simulation.record.primary != "db.0"
    assert simulation.writes()
    simulation.assert_nothing_is_lost()


@promoted
def test_primary_crashes_and_somebody_else_restarts_it(mode: str) -> None:
    """It has everything, so it leads again, in a new term."""
    simulation = running(mode)
    simulation.events(("kill", "db.0"), ("start by somebody else", "db.0"))
    assert not simulation.writes()
    simulation.event("pass")
    assert simulation.decision.action is Action.RESUME
    assert (simulation.record.primary, simulation.record.term) == ("db.0", 2)
    assert simulation.record.last_failover is None
    simulation.live(2)
    simulation.assert_nothing_is_lost()


def test_member_crashes_and_somebody_else_restarts_it() -> None:
    simulation = running("electing")
    simulation.events(("kill", "db.0"), ("start by somebody else", "db.0"))
    simulation.live(3)
    assert simulation.writes()
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_primary_restarted_on_purpose(mode: str) -> None:
    """No failover. (Members that elect may choose another one meanwhile: a planned change.)"""
    simulation = running(mode)
    simulation.event("restart", "db.0")
    simulation.live(6)
    assert simulation.record.last_failover is None
    if mode != "electing":
        assert simulation.record.primary == "db.0"
    simulation.assert_nothing_is_lost()


@promoted
def test_primary_returns_with_writes_nobody_else_has(mode: str) -> None:
    """It is never promoted again and nothing is merged: it is rebuilt, and told what it alone
    had."""
    simulation = running(mode)
    simulation.event("cut link", "db.1")
    alone = simulation.world.next_write
    simulation.event("write")
    if mode == "asynchronous, strict":
        assert alone not in simulation.log("db.0")  # refused from the start
        return
    simulation.events(("kill", "db.0"), ("pass", 0), ("mend link", "db.1"), ("pass", 0))
    assert simulation.record.primary == "db.1"
    assert alone in simulation.log("db.0")
    simulation.event("kill", "db.1")  # even now it is no candidate
    simulation.live(3)
    assert simulation.record.primary == "db.1"
    simulation.settle()
    (kept,) = simulation.record.retained
    assert (kept.instance, kept.writes) == ("db.0", str(alone))
    assert kept.unacknowledged is (mode in LOSSLESS)
    assert alone not in simulation.log("db.1")
    assert (alone in simulation.world.acknowledged) is (mode not in LOSSLESS)


@promoted
def test_primary_returns_empty(mode: str) -> None:
    """It is never followed: the standby, which has the data, takes over."""
    simulation = running(mode)
    data = simulation.log("db.1")
    simulation.events(("lose data", "db.0"), ("start by somebody else", "db.0"))
    simulation.live(1)
    assert simulation.record.primary == "db.1"
    assert data <= simulation.log("db.1")
    simulation.assert_nothing_is_lost()


@promoted
def test_primary_returns_empty_while_its_standby_is_away(mode: str) -> None:
    """It neither leads nor is followed: its standby is waited for, whatever time that takes."""
    simulation = running(mode)
    data = simulation.log("db.1")
    simulation.event("break", "db.1")
    simulation.live(5, writing=False)
    simulation.events(("lose data", "db.0"), ("start by somebody else", "db.0"))
    for _ in range(20):
        simulation.live(1)
        assert simulation.server("db.0").role is Role.STANDBY
        assert data <= simulation.log("db.1")
    simulation.event("repair", "db.1")
    simulation.live(70)
    assert data <= simulation.log("db.1")
    assert simulation.server("db.0").role is Role.STANDBY
    if simulation.record.primary != "db.1":  # nobody knows what it missed: an operator decides
        assert "--to db.1 --force" in simulation.decision.reason
        simulation.force_failover("db.1")
    simulation.settle()
    assert simulation.record.primary == "db.1"
    assert data <= simulation.log("db.0")


@promoted
def test_only_instance_returns_empty(mode: str) -> None:
    """It does not lead as if nothing had happened."""
    simulation = running(mode)
    simulation.event("scale", 1)
    simulation.settle()
    simulation.world.acknowledged.clear()  # the only disk goes
    simulation.events(("lose data", "db.0"), ("start by somebody else", "db.0"))
    simulation.live(10)
    assert "without its data" in simulation.decision.reason
    assert not simulation.writes()
