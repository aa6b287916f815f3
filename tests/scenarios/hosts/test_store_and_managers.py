"""Store members and managers hang or are cut off: the right manager acts, once."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from hamanager.chaos.services import wait_for
from tests.scenarios.hosts.harness import HostScenario
from tests.testbed.etcd import UNIT as ETCD
from tests.testbed.fleet import MANAGER, Fleet

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ENGINE = "mysql"


def kill_primary(run: HostScenario) -> str:
    """SIGKILL to its server, whatever is wrong with anything else."""
    fleet = run.fleet
    name = fleet.primary(run.service).name
    with closing(fleet.host_of(run.service, name).client()) as client:
        [container] = client.containers.list(filters={"label": f"hamanager.instance={name}"})
        container.kill()
    return name


def test_leader_of_etcd_hangs_and_the_primary_dies(fleet: Fleet) -> None:
    with HostScenario(fleet, ENGINE, "etcd's leader hangs, primary dies", leader="h1") as run:
        run.move_primary("h2")
        fleet.etcd.lead(fleet.host("h3"))
        before = fleet.record(run.service).term
        hung = fleet.host("h3").units[ETCD].process
        hung.suspend()
        try:
            run.fault(lambda: None)
            old = kill_primary(run)
            run.wait_for_write(not_on=old)
            assert fleet.record(run.service).term == before + 1
        finally:
            hung.resume()


def test_active_manager_hangs_and_the_primary_dies(fleet: Fleet) -> None:
    """Another one takes over; the first one wakes up and does nothing."""
    with HostScenario(fleet, ENGINE, "manager hangs, primary dies", leader="h1") as run:
        run.move_primary("h2")
        before = fleet.record(run.service).term
        hung = fleet.host("h1").units[MANAGER].process
        hung.suspend()
        try:
            run.fault(lambda: None)
            old = kill_primary(run)
            run.wait_for_write(not_on=old)
            assert fleet.record(run.service).term == before + 1
            leader = fleet.leader_of(run.service)
            assert leader is not None
            assert leader.name != "h1"
        finally:
            hung.resume()
        time.sleep(5)
        assert fleet.record(run.service).term == before + 1


def test_manager_is_cut_off_from_the_store_and_the_primary_dies(fleet: Fleet) -> None:
    """It sees the death as well as anybody, and does nothing."""
    with HostScenario(fleet, ENGINE, "manager without store, primary dies", leader="h1") as run:
        run.move_primary("h2")
        before = fleet.record(run.service).term
        cut = fleet.host("h1")
        run.fault(cut.cut_off_from_store)
        old = kill_primary(run)
        run.wait_for_write(not_on=old)
        leader = fleet.leader_of(run.service)
        assert leader is not None
        assert leader is not cut
        assert fleet.record(run.service).term == before + 1
        cut.heal()
        wait_for("it to have a session again", 30, lambda: all_alive(fleet))
        assert fleet.record(run.service).term == before + 1


def test_store_is_away_and_clients_notice_nothing(fleet: Fleet) -> None:
    """Two of three members hang: nothing is promoted, and the services go on."""
    with HostScenario(fleet, ENGINE, "store away 20 s", leader="h1") as run:
        hung = [fleet.host(name).units[ETCD].process for name in ("h2", "h3")]
        run.fault(lambda: None)
        for process in hung:
            process.suspend()
        try:
            time.sleep(20)
            assert run.writes_in(1.0) > 0
        finally:
            for process in hung:
                process.resume()


def all_alive(fleet: Fleet) -> bool:
    rows = fleet.managers() or []
    return bool(rows) and all(row["alive"] for row in rows)
