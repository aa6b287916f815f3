"""Every form in which a host with a primary can be lost, on every engine at once.

All primaries are on that host. Unless it says otherwise another manager leads, so that the loss of
the host is all that there is.
"""

from __future__ import annotations

import time

import pytest

from hamanager.chaos.services import wait_for
from tests.scenarios.hosts.harness import EveryEngine, HostFailure, Standing

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HELD_SECONDS = 10.0
AWAY_SECONDS = 90.0
REPLACED_SECONDS = 120.0


def test_machine_with_the_active_manager_the_primary_and_the_leader_of_etcd_crashes(
    standing: Standing,
) -> None:
    """... and is back later."""
    lost = standing.fleet.host("h1")
    with EveryEngine(standing, "host of everything crashes", primary_on="h1") as every:
        standing.fleet.etcd.lead(lost)
        every.fault(lost.crash)
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.is_led_elsewhere(lost))
        every.each(lambda run: run.tells_of(lost))
        lost.start()


@pytest.mark.parametrize("form", ["crash", "power_off", "shut_down"])
def test_host_of_the_primary_goes_down(standing: Standing, form: str) -> None:
    words = {"crash": "crashes", "power_off": "loses its power", "shut_down": "is shut down"}
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, f"host of the primary {words[form]}") as every:
        every.fault(getattr(lost, form))
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.tells_of(lost))
        lost.start()


def test_host_of_the_primary_is_cut_off_from_all(standing: Standing) -> None:
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, "host of the primary is cut off") as every:
        every.fault(lost.cut_off)
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.tells_of(lost))
        time.sleep(HELD_SECONDS)
        lost.heal()


def test_host_of_the_primary_is_cut_off_from_the_managers_only(standing: Standing) -> None:
    """It still replicates: nothing is done, clients notice nothing, and `info` says why."""
    fleet = standing.fleet
    lost, leader = fleet.host("h2"), fleet.host("h1")
    with EveryEngine(standing, "... from the managers only", terms=(0,)) as every:

        def ignored() -> None:
            for host in fleet.hosts:
                if host is not lost:
                    host.ignore(lost)

        def says_why(run: HostFailure) -> None:
            view = fleet.ask("info", run.service, on=leader)
            assert view is not None
            assert "still replicates from it" in view["message"]
            assert view["state"] == "degraded"

        every.fault(ignored)
        every.each(lambda run: run.goes_on(HELD_SECONDS))
        every.each(says_why)


def test_host_of_the_primary_hangs(standing: Standing) -> None:
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, "host of the primary hangs") as every:
        every.fault(lost.hang)
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.tells_of(lost))
        time.sleep(HELD_SECONDS)
        lost.wake()


def test_host_of_the_primary_loses_packets(standing: Standing) -> None:
    """Whether it is replaced is open; nothing is lost, and its role does not flap."""
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, "host of the primary loses packets", terms=(0, 1)) as every:
        every.fault(lambda: lost.slow(0.15))
        time.sleep(HELD_SECONDS)
        lost.heal()


def test_docker_engine_dies_and_the_servers_live(standing: Standing) -> None:
    """Clients notice nothing until it is back, which ends them, as Docker is set by default."""
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, "engine of the primary's host dies") as every:
        every.fault(lost.kill_engine)
        every.each(lambda run: run.goes_on(HELD_SECONDS))
        lost.start_engine()
        every.each(HostFailure.goes_on_elsewhere)


def test_host_is_back_after_minutes_with_old_data(standing: Standing) -> None:
    lost = standing.fleet.host("h2")
    with EveryEngine(standing, "host is back with old data") as every:
        every.fault(lost.power_off)
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.tells_of(lost))
        time.sleep(AWAY_SECONDS)
        lost.start()


@pytest.mark.parametrize("form", ["crash", "cut_off"])
def test_host_of_a_standby_is_lost(standing: Standing, form: str) -> None:
    words = {"crash": "crashes", "cut_off": "is cut off"}
    lost = standing.fleet.host("h2")
    name = f"host of a standby {words[form]}"
    with EveryEngine(standing, name, primary_on="h1", terms=(0,)) as every:
        every.fault(getattr(lost, form))
        every.each(HostFailure.wait_for_write)
        every.each(lambda run: run.goes_on(HELD_SECONDS))
        every.each(lambda run: run.tells_of(lost))


def test_redis_that_may_lose_writes_waits_for_its_host(standing: Standing) -> None:
    """By default a silent host's primary could still take writes: nobody is promoted."""
    fleet, lost = standing.fleet, standing.fleet.host("h2")
    name = standing.names["redis"]
    try:
        with EveryEngine(standing, "host crashes, default mode", engines=("redis",)) as every:
            fleet.command("set", name, "--durability", "availability")
            wait_for("the mode", 20, lambda: not fleet.record(name).refuses_alone)
            every.fault(lost.crash)
            every.each(lambda run: run.expect_no_failover(HELD_SECONDS))
            message = fleet.ask("info", name)["message"]
            assert f"failover {name} --to" in message, message
            lost.start()
    finally:
        fleet.command("set", name, "--durability", "strict")
        wait_for("the mode", 20, lambda: fleet.record(name).refuses_alone)


def test_host_is_back_after_its_instance_was_made_anew_elsewhere(standing: Standing) -> None:
    """What it still has is ended, and retained."""
    fleet, lost = standing.fleet, standing.fleet.host("h2")
    name = standing.names["mysql"]
    with EveryEngine(standing, "... and was replaced meanwhile", engines=("mysql",)) as every:
        every.fault(lost.power_off)
        every.each(HostFailure.goes_on_elsewhere)
        [run] = every.runs
        run.may_retain = 1
        fleet.command("replace", run.old)
        fleet.wait_for_state(name, "running", REPLACED_SECONDS, run.size)
        lost.start()
        wait_for(
            "what was left to be ended",
            REPLACED_SECONDS,
            lambda: not fleet.record(name).left_behind,
        )
