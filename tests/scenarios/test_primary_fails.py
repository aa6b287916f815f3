"""The primary fails, in every way that containers can."""

from __future__ import annotations

import time

import pymongo
import pytest

from hamanager.act.context import needed
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.errors import ServerError
from hamanager_drivers.mysql.connections import Connections
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import SIZES, Scenario
from tests.support.small_volumes import small_volumes
from tests.support.volumes import empty_volume

EVERY = pytest.mark.parametrize("engine", ENGINES)
PROMOTED = pytest.mark.parametrize("engine", ["mysql", "redis"])
MYSQL = pytest.mark.parametrize("engine", ["mysql"])
long = pytest.mark.long


@EVERY
@long
def test_primary_killed_at_full_speed_loses_no_acknowledged_write(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary killed, at full speed", pause_seconds=0.0) as run:
        old = run.primary
        time.sleep(1)
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old, seconds=10)


@MYSQL
def test_primary_killed_with_a_sync_set_of_two_and_the_other_member_follows(
    sandbox: Sandbox, engine: str
) -> None:
    """Nobody shows the other member the new primary but the manager."""
    with Scenario(sandbox, engine, "primary of three killed, sync set of two", instances=3) as run:
        wait_for("both to be members", 30, lambda: len(sandbox.record("db").sync_set) == 2)
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)


def stopped(sandbox: Sandbox, engine: str) -> None:
    held = engine in ("redis", "mongodb")
    lossless = True if held else None
    with Scenario(sandbox, engine, "primary stopped by others", lossless=lossless) as run:
        old = run.primary
        run.fault(lambda: run.faults.stop(old))
        run.wait_for_write(not_on=old)
        run.wait_whole()
        if held:
            assert run.history_says(f"somebody else asked {old} to end")
            assert run.info()["last_failover"] is None, "it was a failover"


@pytest.mark.parametrize("engine", ["redis", "mongodb"])
def test_primary_stopped_by_somebody_else_is_replaced_before_it_ends(
    sandbox: Sandbox, engine: str
) -> None:
    """`docker stop` under load: its place is taken before it ends."""
    stopped(sandbox, engine)


@MYSQL
@long
def test_primary_stopped_by_somebody_else_without_a_hand_over_is_as_good_as_killed(
    sandbox: Sandbox, engine: str
) -> None:
    """As good as killed."""
    stopped(sandbox, engine)


@EVERY
@long
def test_primary_that_hangs_is_killed_first_and_returns_read_only(
    sandbox: Sandbox, engine: str
) -> None:
    """Its process is stopped: it is fenced before anybody takes its place; of members that elect it
    is ended afterwards, and does not have to wake up to be taken back."""
    with Scenario(sandbox, engine, "primary hangs 10 s, then wakes") as run:
        old = run.primary
        run.fault(lambda: run.faults.hang(old))
        accepted = run.wait_for_write(not_on=old)
        if engine != "mongodb":
            assert accepted.at - run.faulted_at > 3, "silence was taken for death"
        time.sleep(max(0.0, run.faulted_at + 10 - time.monotonic()))
        if engine != "mongodb":
            run.faults.wake(old)
        assert run.primary == accepted.instance
        if engine == "mysql":
            run.wait_whole()
            assert refuses_writes(sandbox, old)


def refuses_writes(sandbox: Sandbox, instance: str) -> bool:
    target = next(t for t in sandbox.members("db") if t.name == instance)
    connections = Connections()
    with connections.session(sandbox.context("db"), target) as session:
        refuses = bool(session.row("SELECT @@super_read_only AS ro")["ro"])
    connections.forget(target)
    return refuses


@EVERY
@long
def test_primary_that_hangs_for_a_moment_is_not_replaced(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "primary hangs 1.5 s: no failover") as run:
        old = run.primary
        run.fault(lambda: run.faults.hang(old))
        time.sleep(1.5)
        run.faults.wake(old)
        run.expect_no_failover(5)
        run.wait_for_write()


@EVERY
@long
def test_primary_cut_off_from_everyone_is_replaced_and_takes_no_write(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary cut off from everyone 10 s") as run:
        old = run.primary
        run.fault(lambda: run.faults.cut_off(old))
        run.wait_for_write(not_on=old)
        time.sleep(max(0.0, run.faulted_at + 10 - time.monotonic()))
        run.faults.reconnect(old)


@EVERY
@long
def test_primary_cut_off_from_the_manager_only_is_not_replaced(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary cut off from the manager only") as run:
        run.writer_cut_off = True  # it runs where the manager runs
        run.fault(lambda: run.faults.cut_manager(*run.ports(run.primary)))
        wait_for(
            "the manager to say that it is the one cut off",
            15,
            lambda: "does not answer the manager" in run.info()["message"],
        )
        run.expect_no_failover(10)
        run.faults.heal()
        run.wait_for_write(from_now=True)


@PROMOTED
@long
def test_primary_cut_off_from_its_standby_only_is_not_replaced(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary cut off from the standby only") as run:
        standby = run.standby
        run.fault(lambda: run.faults.cut_link(standby, *run.ports(run.primary)))
        run.expect_no_failover(10)
        assert run.writes_in(1) > 0
        if engine == "mysql":
            assert "next failure may lose" in run.info()["durability"]["note"]
        run.faults.heal()


@MYSQL
@long
def test_strict_writes_wait_while_the_standby_is_away(sandbox: Sandbox, engine: str) -> None:
    options = ("--durability", "strict")
    with Scenario(
        sandbox, engine, "strict: cut off from the standby, waits", options=options
    ) as run:
        standby = run.standby
        run.fault(lambda: run.faults.cut_link(standby, *run.ports(run.primary)))
        time.sleep(3)
        assert run.writes_in(6) == 0
        run.faults.heal()
        run.wait_for_write(from_now=True)


@PROMOTED
def test_primary_restarted_by_somebody_else_takes_no_write_before_it_is_compared(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary crashed and restarted by somebody else") as run:
        old = run.primary
        run.fault(lambda: run.faults.restart(old))
        run.wait_for_write()


@MYSQL
@long
def test_primary_out_of_connections_is_not_replaced(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "primary out of connections: alive") as run:
        driver, context = sandbox.driver("db"), sandbox.context("db")
        held = []
        run.fault(lambda: None)
        try:
            for _ in range(400):
                held.append(needed(driver.workload).open_writer(context, sandbox.primary("db"), 2))
        except ServerError:
            pass
        run.expect_no_failover(8)
        for client in held:
            client.close()
        run.wait_for_write()


@EVERY
@long
def test_primary_that_is_very_slow_is_not_replaced(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "primary slow: 5 % of a CPU for 10 s") as run:
        run.fault(lambda: run.faults.slow(run.primary))
        time.sleep(10)
        run.faults.heal()
        run.wait_for_write(from_now=True)


@MYSQL
def test_former_primary_with_writes_of_its_own_is_rebuilt_and_its_volume_retained(
    sandbox: Sandbox, engine: str
) -> None:
    """A write that waits for its standby when the primary dies was never acknowledged."""
    with Scenario(sandbox, engine, "primary returns with errant writes") as run:
        old, standby = run.primary, run.standby
        run.faults.cut_link(standby, *run.ports(old))
        before = len(run.writer.acknowledged())
        time.sleep(0.7)  # less than a lost link needs to be noticed: the writes wait now
        assert len(run.writer.acknowledged()) - before < 200
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        run.faults.heal()
        run.wait_whole()
        [kept] = run.info()["kept"]
        assert kept["instance"] == old
        assert kept["unacknowledged"]
        assert ":" in kept["writes"], "a GTID set"
        assert run.history_says(kept["writes"])


@PROMOTED
@long
def test_primary_that_returns_empty_neither_leads_nor_is_followed(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "primary killed and returns empty") as run:
        old = run.primary
        record = sandbox.record("db").instance(old)
        assert record is not None
        sandbox.kill_daemon()
        run.fault(lambda: run.faults.kill(old))
        empty_volume(sandbox, old)
        sandbox.container(old).start()
        sandbox.start_daemon()
        run.wait_for_write(not_on=old)


@pytest.mark.parametrize("engine", ["mongodb"])
@long
def test_primary_without_a_majority_takes_writes_that_are_rolled_back_and_retained(
    sandbox: Sandbox, engine: str
) -> None:
    """What was acknowledged by it alone is undone, and the files that hold it are named."""
    with Scenario(sandbox, engine, "primary cut off from its set, w=1 writes undone") as run:
        old = run.primary
        others = [t for t in sandbox.members("db") if t.name != old]
        target = sandbox.primary("db")
        password = sandbox.context("db").secrets["password"]
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            target.host,
            target.port,
            directConnection=True,
            username="app",
            authSource="db",
            password=password,
            timeoutMS=2000,
        )
        run.fault(lambda: run.faults.cut_link(old, others[0].port))
        run.faults.cut_link(old, others[1].port)
        for other in others:
            run.faults.cut_link(other.name, target.port)
        alone = client["db"]["alone"].with_options(write_concern=pymongo.WriteConcern(w=1))
        alone.insert_one({"_id": 1})
        client.close()
        run.wait_for_write(not_on=old)
        run.faults.heal()
        run.wait_whole()
        wait_for("the undone writes to be named", 40, lambda: bool(warnings(run)))
        assert old in warnings(run)[0]
        assert run.history_says("writes that no majority had were undone")


def warnings(run: Scenario) -> list[str]:
    return [w for i in run.info()["instances"] for w in i["warnings"]]


@EVERY
@long
def test_primary_whose_disk_is_full_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    """Whatever the engine does about it, wait, refuse or end itself: nothing is lost."""
    let_go = small_volumes(sandbox, "db", SIZES[engine], "900m")
    with Scenario(sandbox, engine, "primary's disk full for 8 s", before_destroy=let_go) as run:
        old = run.primary
        run.fault(lambda: run.faults.fill_disk(old))
        time.sleep(8)
        run.faults.free_disk(old)
        run.wait_for_write(from_now=True, seconds=90)
