"""Store members and managers hang or are cut off while the primaries die: the right manager acts,
once.
"""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from hamanager.chaos.sandbox import Filters
from hamanager.chaos.services import wait_for
from tests.scenarios.hosts.harness import EveryEngine, HostFailure, Standing, all_alive
from tests.testbed.etcd import UNIT as ETCD
from tests.testbed.fleet import MANAGER

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
STAY_SECONDS = 5.0
AWAY_SECONDS = 20.0


def kill_primary(run: HostFailure) -> None:
    """SIGKILL to its server, whatever is wrong with anything else."""
    with closing(run.fleet.host_of(run.service, run.old).client()) as client:
        label: Filters = {"label": f"hamanager.instance={run.old}"}
        [container] = client.containers.list(filters=label)
        container.kill()


def test_leader_of_etcd_hangs_and_the_primary_dies(standing: Standing) -> None:
    fleet = standing.fleet
    with EveryEngine(standing, "etcd's leader hangs, primary dies") as every:
        fleet.etcd.lead(fleet.host("h3"))
        hung = fleet.host("h3").units[ETCD].process
        every.fault(hung.suspend)
        try:
            every.each(kill_primary)
            every.each(HostFailure.goes_on_elsewhere)
        finally:
            hung.resume()


def test_active_manager_hangs_and_the_primary_dies(standing: Standing) -> None:
    """Another one takes over; the first one wakes up and does nothing."""
    active = standing.fleet.host("h1")
    with EveryEngine(standing, "manager hangs, primary dies") as every:
        hung = active.units[MANAGER].process
        every.fault(hung.suspend)
        try:
            every.each(kill_primary)
            every.each(HostFailure.goes_on_elsewhere)
            every.each(lambda run: run.is_led_elsewhere(active))
        finally:
            hung.resume()
        time.sleep(STAY_SECONDS)


def test_manager_is_cut_off_from_the_store_and_the_primary_dies(standing: Standing) -> None:
    """It sees the death as well as anybody, and does nothing."""
    fleet, cut = standing.fleet, standing.fleet.host("h1")
    with EveryEngine(standing, "manager without store, primary dies") as every:
        every.fault(cut.cut_off_from_store)
        every.each(kill_primary)
        every.each(HostFailure.goes_on_elsewhere)
        every.each(lambda run: run.is_led_elsewhere(cut))
        cut.heal()
        wait_for("it to have a session again", 30, lambda: all_alive(fleet))
        time.sleep(STAY_SECONDS)


def test_store_is_away_and_clients_notice_nothing(standing: Standing) -> None:
    """Two of three members hang: nothing is promoted, and the services go on."""
    fleet = standing.fleet
    with EveryEngine(standing, "store away 20 s", terms=(0,)) as every:
        hung = [fleet.host(name).units[ETCD].process for name in ("h2", "h3")]

        def suspend() -> None:
            for process in hung:
                process.suspend()

        every.fault(suspend)
        try:
            time.sleep(AWAY_SECONDS)
            every.each(writes_go_on)
        finally:
            for process in hung:
                process.resume()


def writes_go_on(run: HostFailure) -> None:
    assert run.writes_in(1.0) > 0
