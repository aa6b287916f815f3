"""A primary whose host does not answer, where replication is asynchronous: nobody can end it, and
it is passed over only when it takes no writes any more.
"""

from __future__ import annotations

import pytest

from tests.simulation.modes import (
    MODES,
    a_standby,
    asynchronous,
    host_of,
    on_hosts,
    primary_host,
)


@asynchronous
@pytest.mark.parametrize("what", ["host is cut off", "host is out of sight", "host's engine dies"])
def test_asynchronous_primary_that_nobody_can_end(mode: str, what: str) -> None:
    nobody_can_end_it(mode, what)


def nobody_can_end_it(mode: str, what: str) -> None:
    """It is passed over only when it refuses writes for certain: that is, when it had been told to
    and every standby has left it for long enough."""
    simulation = on_hosts(mode)
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event(what, host)
    for _ in range(4):
        simulation.event("pass", 0)
        simulation.event("time", 1.0)
    assert simulation.record.primary == before, "it may still take writes"
    simulation.live(20)
    refuses = mode.endswith("strict") and what == "host is cut off"
    assert (simulation.record.primary != before) is refuses
    simulation.event("host is back", host)
    simulation.settle()


def they_leave_it_late() -> None:
    """The standbys lose the primary long after the manager did: it counts on them for a while after
    they were told to leave it."""
    simulation = on_hosts("asynchronous, strict")
    before = simulation.record.primary
    simulation.event("host is out of sight", primary_host(simulation))
    simulation.live(10)
    for instance in simulation.record.instances:
        if instance.name != before:
            simulation.event("cut link", instance.name)
    for _ in range(4):
        simulation.event("pass", 0)
        simulation.event("time", 1.0)
    assert simulation.record.primary == before
    simulation.live(10)
    assert simulation.record.primary != before
    simulation.settle()


def test_standbys_that_leave_a_primary_late() -> None:
    they_leave_it_late()


def they_are_heard_of_and_hear_nothing() -> None:
    """A network that fails in one direction: the primary counts on standbys to which nothing comes,
    until they are told to leave it, and for some seconds more."""
    simulation = on_hosts("asynchronous, strict")
    before = simulation.record.primary
    simulation.event("host is out of sight", primary_host(simulation))
    standbys = [i.name for i in simulation.record.instances if i.name != before]
    for name in standbys:
        simulation.event("stall link", name)
    for _ in range(6):
        simulation.event("pass", 0)
        simulation.event("time", 1.0)
    assert not any(simulation.server(name).source for name in standbys), "they were told"
    assert simulation.record.primary == before, "it may still take writes"
    simulation.live(5)
    assert simulation.record.primary != before, "long before they would have left by themselves"
    simulation.settle()


def test_standbys_that_a_primary_hears_are_told_to_leave_it() -> None:
    they_are_heard_of_and_hear_nothing()


def one_is_out_of_sight_before_it_is_told() -> None:
    """One standby has left; the other one keeps the primary writing, and nobody sees it."""
    simulation = on_hosts("asynchronous, strict")
    before = simulation.record.primary
    standbys = [i.name for i in simulation.record.instances if i.name != before]
    simulation.event("host is out of sight", primary_host(simulation))
    for name in standbys:
        simulation.event("stall link", name)
    while all(simulation.server(name).source for name in standbys):
        simulation.event("time", 0.5)
        simulation.event("pass", 0)
    [other] = [name for name in standbys if simulation.server(name).source]
    simulation.event("host is out of sight", host_of(simulation, other))
    simulation.event("mend link", other)
    simulation.live(20)
    assert simulation.record.primary == before
    simulation.settle()


def test_one_that_nobody_sees_was_perhaps_not_told() -> None:
    one_is_out_of_sight_before_it_is_told()


def it_is_back_when_they_have_left() -> None:
    """The primary comes back in the middle: its standbys are led back to it."""
    simulation = on_hosts("asynchronous, strict")
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event("host is cut off", host)
    for _ in range(6):
        simulation.event("pass", 0)
        simulation.event("time", 1.0)
    assert all(simulation.server(i.name).source is None for i in simulation.record.instances)
    simulation.event("host is back", host)
    simulation.live(3)
    assert simulation.record.primary == before
    assert simulation.writes()
    simulation.settle()


def test_a_primary_that_is_back_has_its_standbys_again() -> None:
    it_is_back_when_they_have_left()


@pytest.mark.parametrize("seconds", range(3, 10))
def test_a_primary_that_is_back_at_any_moment_is_the_only_one(seconds: int) -> None:
    simulation = on_hosts("asynchronous, strict")
    host = primary_host(simulation)
    simulation.event("host is out of sight", host)
    for instance in simulation.record.instances:
        if instance.name != simulation.record.primary:
            simulation.event("stall link", instance.name)
    simulation.live(seconds)
    for instance in simulation.record.instances:
        simulation.event("mend link", instance.name)
    simulation.live(5)
    simulation.event("host is back", host)
    simulation.settle()


def test_the_next_manager_counts_anew() -> None:
    """It did not see for how long they have left it."""
    simulation = on_hosts("asynchronous, strict")
    before = simulation.record.primary
    simulation.event("host is cut off", primary_host(simulation))
    for _ in range(6):
        simulation.event("pass", 0)
        simulation.event("time", 1.0)
    simulation.event("manager dies", 0)
    simulation.live(8)
    assert simulation.record.primary == before
    simulation.live(8)
    assert simulation.record.primary != before
    simulation.settle()


def another_standby_is_with_it() -> None:
    """Of two standbys one is out of sight together with the primary, which goes on with it."""
    simulation = on_hosts("asynchronous, strict")
    hosts = [primary_host(simulation), host_of(simulation, a_standby(simulation))]
    seen = next(i.name for i in simulation.record.instances if i.placed_on not in hosts)
    before = simulation.record.primary
    for host in hosts:
        simulation.event("host is out of sight", host)
    simulation.event("cut link", seen)
    followed = simulation.server(seen).source
    simulation.live(20)
    assert simulation.record.primary == before
    assert simulation.server(seen).source == followed, "it need not leave it for nothing"
    simulation.settle()


def test_a_standby_that_is_out_of_sight_with_its_primary_keeps_it_writing() -> None:
    another_standby_is_with_it()


def left_behind_keeps_it_writing() -> None:
    """What was left of a standby on a silent host replicates on; the primary counts on it."""
    simulation = on_hosts("asynchronous, strict", hosts=4, instances=2)
    standby = a_standby(simulation)
    simulation.spec(replace_after_seconds=5.0)
    simulation.event("host is out of sight", host_of(simulation, standby))
    simulation.live(15)
    assert simulation.record.left_behind
    before = simulation.record.primary
    simulation.event("host is out of sight", primary_host(simulation))
    simulation.event("cut link", standby)
    simulation.live(20)
    assert simulation.record.primary == before
    simulation.settle()


def test_what_was_left_behind_may_keep_a_primary_writing() -> None:
    left_behind_keeps_it_writing()


def told_otherwise_meanwhile() -> None:
    """What the primary was told counts, not what is wanted of it since."""
    simulation = on_hosts("asynchronous, availability")
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event("host is cut off", host)
    simulation.event("durability", MODES["asynchronous, strict"][1])
    simulation.live(20)
    assert simulation.record.primary == before
    simulation.event("host is back", host)
    simulation.settle()


def test_a_promise_counts_only_if_the_primary_was_told() -> None:
    told_otherwise_meanwhile()


def told_to_go_on_alone() -> None:
    """It was told to refuse writes, and then not to any more."""
    simulation = on_hosts("asynchronous, strict")
    assert simulation.record.refuses_alone
    simulation.event("durability", MODES["asynchronous, availability"][1])
    simulation.live(3)
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event("host is cut off", host)
    simulation.event("durability", MODES["asynchronous, strict"][1])
    simulation.live(20)
    assert simulation.record.primary == before
    simulation.event("host is back", host)
    simulation.settle()


def test_a_promise_that_was_taken_back_counts_no_more() -> None:
    told_to_go_on_alone()


@asynchronous
def test_an_operator_does_without_the_host(mode: str) -> None:
    simulation = on_hosts(mode)
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event("host crashes", host)
    simulation.live(4)
    simulation.force_failover(a_standby(simulation))
    simulation.live(4)
    assert simulation.record.primary != before
    assert simulation.writes()
    simulation.event("host is back", host)
    simulation.settle()
