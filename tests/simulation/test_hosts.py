"""Hosts instead of instances fail: everything on one at once, or only the manager's sight of it."""

from __future__ import annotations

import pytest

from hamanager.model.decision import Action
from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Role
from tests.simulation.modes import (
    LOSSLESS,
    a_standby,
    availability,
    host_of,
    in_all_modes,
    lossless,
    on_hosts,
    primary_host,
)

SILENCES = ("host crashes", "host is cut off", "host hangs")


@lossless
@pytest.mark.parametrize("what", SILENCES)
def test_primarys_host_is_silent_and_it_is_passed_over(mode: str, what: str) -> None:
    simulation = on_hosts(mode)
    host, before = primary_host(simulation), simulation.record.primary
    simulation.event(what, host)
    simulation.live(8)
    assert simulation.record.primary != before
    assert simulation.writes()
    simulation.event("host is back", host)
    simulation.assert_nothing_is_lost()


@lossless
@pytest.mark.parametrize("what", [*SILENCES, "host is out of sight"])
def test_writes_go_on_when_a_standbys_host_is_silent(mode: str, what: str) -> None:
    """It cannot be told to acknowledge nothing, so the primary admits it no more."""
    simulation = on_hosts(mode)
    simulation.event(what, host_of(simulation, a_standby(simulation)))
    simulation.live(8)
    assert simulation.writes()
    simulation.assert_nothing_is_lost()


def goes_away_and_acknowledges(mode: str = LOSSLESS[0]) -> None:
    """A standby that only the manager does not see acknowledges nothing that the others lack."""
    simulation = on_hosts(mode)
    unseen = a_standby(simulation)
    member = next(n for n in simulation.record.sync_set if n != unseen)
    simulation.event("host is out of sight", host_of(simulation, unseen))
    simulation.live(8)
    simulation.event("cut link", member)
    for first in range(3):
        simulation.event("write", first)
    simulation.event("host crashes", primary_host(simulation))
    simulation.event("mend link", member)
    simulation.live(10)
    simulation.settle()


def test_one_that_only_the_manager_does_not_see_acknowledges_nothing() -> None:
    goes_away_and_acknowledges()


@in_all_modes
@pytest.mark.parametrize("what", [*SILENCES, "host is out of sight"])
def test_a_standby_is_made_anew_elsewhere_and_what_comes_back_is_ended(
    mode: str, what: str
) -> None:
    made_anew_elsewhere(mode, what)


def made_anew_elsewhere(mode: str, what: str = "host is out of sight") -> None:
    simulation = on_hosts(mode)
    simulation.spec(replace_after_seconds=20.0)
    standby = a_standby(simulation)
    host = host_of(simulation, standby)
    simulation.event(what, host)
    simulation.live(12)
    assert host_of(simulation, standby) == host, "not yet"
    simulation.live(30)
    assert host_of(simulation, standby) != host
    assert [left.placed_on for left in simulation.record.left_behind] == [host]
    assert simulation.writes()
    for first in range(3):
        simulation.event("write", first)
    simulation.event("host is back", host)
    simulation.live(5)
    assert not simulation.record.left_behind
    assert simulation.world.on(host) == []
    assert [volume.placed_on for volume in simulation.record.retained] == [host]
    simulation.settle()


@lossless
def test_a_host_that_is_back_with_a_former_primary(mode: str) -> None:
    simulation = on_hosts(mode)
    simulation.spec(replace_after_seconds=20.0)
    former = simulation.record.primary
    host = primary_host(simulation)
    simulation.event("host is cut off", host)
    simulation.event("write", 0)
    simulation.live(40)
    assert host_of(simulation, former) != host
    simulation.event("host is back", host)
    simulation.live(5)
    assert simulation.world.on(host) == []
    simulation.assert_nothing_is_lost()


@in_all_modes
def test_without_a_free_host_nothing_is_made_anew(mode: str) -> None:
    simulation = on_hosts(mode, hosts=3)
    simulation.spec(replace_after_seconds=5.0)
    standby = a_standby(simulation)
    host = host_of(simulation, standby)
    simulation.event("host crashes", host)
    simulation.live(20)
    assert host_of(simulation, standby) == host
    simulation.event("host is back", host)
    simulation.settle()


@in_all_modes
def test_one_whose_server_answers_is_not_lost(mode: str) -> None:
    one_whose_server_answers(mode)


def one_whose_server_answers(mode: str) -> None:
    simulation = on_hosts(mode)
    simulation.spec(replace_after_seconds=5.0)
    standby = a_standby(simulation)
    host = host_of(simulation, standby)
    simulation.event("host's engine dies", host)
    simulation.live(20)
    assert host_of(simulation, standby) == host
    assert simulation.writes()


@in_all_modes
def test_an_operator_has_one_made_anew_at_once(mode: str) -> None:
    simulation = on_hosts(mode)
    standby = a_standby(simulation)
    host = host_of(simulation, standby)
    simulation.event("order", (OrderKind.REPLACE, standby))
    simulation.live(3)
    result = simulation.record.order_result
    assert result is not None
    assert not result.ok
    assert "is not lost" in result.text
    simulation.event("host crashes", host)
    simulation.live(5)
    simulation.event("order", (OrderKind.REPLACE, standby))
    simulation.live(10)
    assert host_of(simulation, standby) != host
    result = simulation.record.order_result
    assert result is not None
    assert result.ok
    simulation.event("host is back", host)
    simulation.settle()


@in_all_modes
@pytest.mark.parametrize("which", ["primary", "standby"])
def test_a_host_is_drained(mode: str, which: str) -> None:
    a_host_is_drained(mode, which)


def a_host_is_drained(mode: str, which: str) -> None:
    """Never are fewer in step than wanted."""
    simulation = on_hosts(mode)
    record = simulation.record
    name = record.primary if which == "primary" else a_standby(simulation)
    host = host_of(simulation, name)
    before = len(record.sync_set)
    simulation.event("drain host", host)
    for _ in range(40):
        simulation.live(1)
        if which == "standby":
            assert len(simulation.record.sync_set) >= before
        if not simulation.world.on(host):
            break
    assert simulation.world.on(host) == []
    assert [i for i in simulation.record.instances if i.placed_on == host] == []
    simulation.settle()
    if mode in LOSSLESS:
        assert simulation.world.acknowledged <= simulation.log(simulation.record.primary or "")


@availability
def test_one_instance_alone_moves_without_loss(mode: str) -> None:
    simulation = on_hosts(mode, hosts=2, instances=1)
    host = primary_host(simulation)
    simulation.event("drain host", host)
    simulation.live(40)
    assert primary_host(simulation) != host
    assert simulation.world.on(host) == []
    simulation.settle()
    assert simulation.world.acknowledged <= simulation.log(simulation.record.primary or "")


@in_all_modes
def test_instances_are_spread_when_an_operator_asks_for_it(mode: str) -> None:
    simulation = on_hosts(mode, hosts=2)
    simulation.world.hosts = ("h1", "h2", "h3")
    simulation.live(5)
    assert len({i.placed_on for i in simulation.record.instances}) == 2, "unasked nothing moves"
    simulation.event("order", (OrderKind.REBALANCE, ""))
    simulation.live(60)
    assert len({i.placed_on for i in simulation.record.instances}) == 3
    assert simulation.record.order_result is not None
    assert simulation.record.order_result.ok
    simulation.settle()


@in_all_modes
def test_everything_on_a_host_crashes_while_another_one_is_silent(mode: str) -> None:
    simulation = on_hosts(mode)
    first, second = (i.placed_on for i in simulation.record.instances[:2])
    simulation.event("host hangs", first)
    simulation.live(6)
    simulation.event("host crashes", second)
    simulation.live(10)
    simulation.event("host is back", second)
    simulation.live(10)
    simulation.event("host is back", first)
    simulation.settle()
    assert simulation.decision.action is Action.NOTHING
    assert all(server.role is not Role.PRIMARY for server in simulation.world.on("h9"))
