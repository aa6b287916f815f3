"""A standby fails, alone or just before the primary: what has to come of it, in every mode."""

from __future__ import annotations

import pytest

from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Role
from tests.simulation.modes import LOSSLESS, availability, in_all_modes, promoted, running, strict


@pytest.mark.parametrize("failure", ["break", "hang", "cut link", "cut off"])
@availability
def test_standby_fails(mode: str, failure: str) -> None:
    """Writes go on; the sync set is emptied before the primary ceases to wait."""
    simulation = running(mode)
    simulation.event(failure, "db.1")
    simulation.live(4, writing=False)
    assert simulation.writes()
    assert simulation.record.sync_set == ()
    assert simulation.record.term == 1
    for repair in ("repair", "wake", "mend link", "reach again"):
        simulation.event(repair, "db.1")
    simulation.assert_nothing_is_lost()


def test_sync_set_is_emptied_first() -> None:
    """A manager that dies between the two leaves writes waiting, and none to be lost."""
    simulation = running("lossless, availability")
    simulation.event("break", "db.1")
    waited = []
    for effect in range(5):
        simulation.event("pass and die", effect)
        waited.append((simulation.record.sync_set, simulation.server("db.0").required_acks))
        if waited[-1] == ((), 0):
            break
    assert waited[0] == (("db.1",), 1)
    assert ((), 1) in waited
    assert (("db.1",), 0) not in waited
    assert waited[-1] == ((), 0)


@pytest.mark.parametrize("failure", ["break", "hang", "cut link"])
@strict
def test_standby_fails_strict(mode: str, failure: str) -> None:
    """Writes wait, and go on when it is back."""
    simulation = running(mode)
    simulation.event(failure, "db.1")
    simulation.live(10)
    assert not simulation.writes()
    assert simulation.record.primary == "db.0"
    for repair in ("repair", "wake", "mend link"):
        simulation.event(repair, "db.1")
    simulation.assert_nothing_is_lost()


def test_member_fails() -> None:
    """The other two are a majority."""
    simulation = running("electing")
    simulation.event("break", "db.1")
    simulation.live(4)
    assert simulation.writes()
    simulation.event("repair", "db.1")
    simulation.assert_nothing_is_lost()


@promoted
def test_somebody_writes_to_the_standby(mode: str) -> None:
    """It is no candidate from then on; it is rebuilt, and its own writes are kept and named."""
    simulation = running(mode)
    alone = simulation.world.next_write
    simulation.event("write on standby", "db.1")
    simulation.event("pass")
    assert "db.1" not in simulation.record.sync_set
    simulation.assert_nothing_is_lost()
    (kept,) = simulation.record.retained
    assert (kept.instance, kept.writes) == ("db.1", str(alone))
    assert alone not in simulation.log("db.0") | simulation.log("db.1")


@pytest.mark.parametrize("mode", ["lossless, availability", "asynchronous, availability"])
@pytest.mark.parametrize("returns", [True, False])
def test_standby_dies_just_before_the_primary(mode: str, returns: bool) -> None:
    """The stale standby is not promoted: the reason says what `--force` would lose. When the
    primary comes back everything is there; when it never does an operator decides."""
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.live(4, writing=False)
    alone = simulation.world.next_write
    assert simulation.writes()
    simulation.event("pass")
    simulation.events(("break", "db.0"), ("repair", "db.1"))
    for _ in range(20 if returns else 6):
        simulation.live(1)
        assert simulation.server("db.1").role is Role.STANDBY
    assert simulation.decision.rule == "no-safe-candidate"
    assert "db.1 may lack at least 1 writes" in simulation.told()
    assert "`hamanager failover db --to db.1 --force`" in simulation.told()
    if returns:
        simulation.event("repair", "db.0")
        simulation.assert_nothing_is_lost()
        assert simulation.record.primary == "db.0"
        return
    simulation.force_failover("db.1")
    simulation.live(1)
    failover = simulation.record.last_failover
    assert failover is not None
    assert (failover.to_instance, failover.forced) == ("db.1", True)
    assert "at least 1 writes" in failover.lost
    simulation.settle()
    (kept,) = simulation.record.retained
    assert (kept.writes, kept.unacknowledged) == (str(alone), False)


@strict
def test_standby_dies_just_before_the_primary_strict(mode: str) -> None:
    """Nothing was acknowledged meanwhile. Where the standby is known to have all of it, it leads;
    elsewhere nobody knows, and an operator decides."""
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.live(4)
    simulation.events(("break", "db.0"), ("repair", "db.1"))
    simulation.live(70)
    if mode in LOSSLESS:
        assert simulation.record.primary == "db.1"
        assert simulation.world.acknowledged <= simulation.log("db.1")
    else:
        assert simulation.decision.rule == "no-safe-candidate"
    simulation.assert_nothing_is_lost()


# --- Orders in an emergency --------------------------------------------------------------------


def test_two_of_three_members_lost() -> None:
    """Nothing can be written, and the reason says so; nothing is forced but by an operator."""
    simulation = running("electing")
    simulation.events(("break", "db.0"), ("break", "db.1"))
    for _ in range(20):
        simulation.live(1)
        assert not simulation.writes()
        assert simulation.record.primary == "db.0"
    assert simulation.decision.rule in ("majority-lost", "start")
    assert "the majority is lost: 1 of 3 members is up" in simulation.told()
    assert "`hamanager failover db --force` lets db.2 lead" in simulation.told()
    simulation.force_failover("db.2")
    simulation.live(5)
    assert simulation.record.primary == "db.2"
    assert simulation.writes()
    simulation.settle()
    assert simulation.server("db.0").expelled is False


def test_a_majority_that_is_merely_cut_off() -> None:
    """Two of three go on without the manager, the primary among them. An operator who forces the
    third gets no second primary: the two are fenced first."""
    simulation = running("electing")
    simulation.events(("cut off", "db.0"), ("cut off", "db.1"))
    simulation.live(5)
    simulation.force_failover("db.2")
    simulation.live(3)
    assert simulation.record.primary == "db.2"
    assert simulation.writes()
    simulation.settle()
    failover = simulation.record.last_failover
    assert failover is not None
    assert (failover.forced, failover.lost) == (True, "whatever only db.0 and db.1 had")


@pytest.mark.parametrize("out", [("runtime out", frozenset({"kill"})), ("runtime down", True)])
def test_a_majority_that_cannot_be_fenced(out: tuple[str, object]) -> None:
    """Then nobody is forced: the order is refused, and the reason says what would be right."""
    simulation = running("electing")
    simulation.events(("cut off", "db.0"), ("cut off", "db.1"), out)
    simulation.live(5)
    term = simulation.record.term
    simulation.force_failover("db.2")
    simulation.live(3)
    result = simulation.record.order_result
    assert result is not None
    assert not result.ok
    assert "db.0 neither answers nor can be killed" in result.text
    assert "repeat `hamanager failover db --to db.2 --force`" in result.text
    assert (simulation.record.primary, simulation.record.term) == ("db.0", term)
    assert simulation.record.promoting is None
    assert simulation.writes(), "the two go on"
    simulation.settle()


@in_all_modes
def test_forced_order_is_refused_while_the_primary_works(mode: str) -> None:
    simulation = running(mode)
    simulation.order(OrderKind.FAILOVER, "db.1")
    simulation.event("pass")
    result = simulation.record.order_result
    assert result is not None
    assert (result.ok, simulation.record.primary) == (False, "db.0")
    assert "`hamanager switchover`" in result.text
    assert simulation.writes()


@availability
def test_until_the_standby_is_back_the_next_look_is_not_left_to_the_clock(mode: str) -> None:
    simulation = running(mode)
    simulation.live(1)
    assert simulation.unfinished_for() is None
    simulation.event("cut link", "db.1")
    simulation.live(4)
    told = simulation.unfinished_for()
    assert told is not None
    simulation.live(2)
    assert simulation.unfinished_for() == told + 2
    simulation.event("mend link", "db.1")
    simulation.live(12)
    assert simulation.unfinished_for() is None
