"""Every form in which a host with a primary can be lost, on every engine."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.hosts.conftest import ENGINES
from tests.scenarios.hosts.harness import HostScenario
from tests.testbed.fleet import Fleet

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
engines = pytest.mark.parametrize("engine", ENGINES)

HELD_SECONDS = 12.0
AWAY_SECONDS = 90.0


@engines
def test_machine_with_the_active_manager_the_primary_and_the_leader_of_etcd_crashes(
    fleet: Fleet, engine: str
) -> None:
    """... and is back later."""
    with HostScenario(fleet, engine, "host of everything crashes", leader="h1") as run:
        run.move_primary("h1")
        lost = fleet.host("h1")
        fleet.etcd.lead(lost)
        leader = fleet.leader_of(run.service)
        assert leader is not None
        assert leader.name == "h1"
        old = fleet.primary(run.service).name
        run.fault(lost.crash)
        accepted = run.wait_for_write(not_on=old)
        print(f"{engine}: a write {accepted.at - run.faulted_at:.2f} s after the crash")
        lost.start()


@engines
@pytest.mark.parametrize("form", ["crash", "power_off", "shut_down"])
def test_host_of_the_primary_goes_down(fleet: Fleet, engine: str, form: str) -> None:
    words = {"crash": "crashes", "power_off": "loses its power", "shut_down": "is shut down"}
    with HostScenario(fleet, engine, f"host of the primary {words[form]}", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        old = fleet.primary(run.service).name
        run.fault(getattr(lost, form))
        run.wait_for_write(not_on=old)
        lost.start()


@engines
def test_host_of_the_primary_is_cut_off_from_all(fleet: Fleet, engine: str) -> None:
    with HostScenario(fleet, engine, "host of the primary is cut off", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        old = fleet.primary(run.service).name
        run.fault(lost.cut_off)
        run.wait_for_write(not_on=old)
        time.sleep(HELD_SECONDS)
        lost.heal()


@engines
def test_host_of_the_primary_is_cut_off_from_the_managers_only(fleet: Fleet, engine: str) -> None:
    """It still replicates: nothing is done, and clients notice nothing."""
    with HostScenario(fleet, engine, "... from the managers only", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")

        def ignored() -> None:
            for host in fleet.hosts:
                if host is not lost:
                    host.ignore(lost)

        run.fault(ignored)
        run.expect_no_failover(HELD_SECONDS)
        assert run.writes_in(1.0) > 0
        for host in fleet.hosts:
            host.heal()


@engines
def test_host_of_the_primary_hangs(fleet: Fleet, engine: str) -> None:
    with HostScenario(fleet, engine, "host of the primary hangs", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        old = fleet.primary(run.service).name
        run.fault(lost.hang)
        run.wait_for_write(not_on=old)
        time.sleep(HELD_SECONDS)
        lost.wake()


@engines
def test_host_of_the_primary_loses_packets(fleet: Fleet, engine: str) -> None:
    """Whether it is replaced is open; nothing is lost."""
    with HostScenario(fleet, engine, "host of the primary loses packets", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        run.fault(lambda: lost.slow(0.15))
        time.sleep(HELD_SECONDS)
        lost.heal()


@engines
def test_docker_engine_dies_and_the_servers_live(fleet: Fleet, engine: str) -> None:
    """Clients notice nothing until it is back, which ends them, as Docker is set by default."""
    with HostScenario(fleet, engine, "engine of the primary's host dies", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        run.fault(lost.kill_engine)
        run.expect_no_failover(HELD_SECONDS)
        assert run.writes_in(1.0) > 0
        lost.start_engine()


@engines
def test_host_is_back_after_minutes_with_old_data(fleet: Fleet, engine: str) -> None:
    with HostScenario(fleet, engine, "host is back with old data", leader="h1") as run:
        run.move_primary("h2")
        lost = fleet.host("h2")
        old = fleet.primary(run.service).name
        run.fault(lost.power_off)
        run.wait_for_write(not_on=old)
        time.sleep(AWAY_SECONDS)
        lost.start()


@engines
def test_host_of_a_standby_crashes(fleet: Fleet, engine: str) -> None:
    with HostScenario(fleet, engine, "host of a standby crashes", leader="h1") as run:
        run.move_primary("h1")
        lost = run.standby_host()
        run.fault(lost.crash)
        run.wait_for_write()
        run.expect_no_failover(5.0)
        lost.start()


def test_redis_that_may_lose_writes_waits_for_its_host(fleet: Fleet) -> None:
    """By default a silent host's primary could still take writes: nobody is promoted."""
    with HostScenario(fleet, "redis", "host crashes, default mode", safe=False) as run:
        lost = run.primary_host()
        run.fault(lost.crash)
        run.expect_no_failover(HELD_SECONDS)
        lost.start()
