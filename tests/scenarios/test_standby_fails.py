"""The standby fails: writes go on (or wait, in strict mode), and no stale one is promoted."""

from __future__ import annotations

import time

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager_drivers.mongodb.connections import Connections as MongoDBConnections
from hamanager_drivers.mysql.connections import Connections
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario
from tests.support.volumes import truncate_newest

EVERY = pytest.mark.parametrize("engine", ENGINES)
MYSQL = pytest.mark.parametrize("engine", ["mysql"])
long = pytest.mark.long


@EVERY
@long
def test_standby_killed_leaves_the_sync_set_and_returns(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "standby killed: writes go on") as run:
        run.fault(lambda: run.faults.kill(run.standby))
        assert run.writes_in(3) > 10
        run.expect_no_failover(2)


@MYSQL
@long
def test_standby_killed_in_strict_mode_lets_writes_wait_for_it(
    sandbox: Sandbox, engine: str
) -> None:
    options = ("--durability", "strict")
    with Scenario(sandbox, engine, "strict: standby killed: writes wait", options=options) as run:
        standby = run.standby
        sandbox.command("pause", "db")
        run.fault(lambda: run.faults.kill(standby))
        time.sleep(0.5)
        assert run.writes_in(2) == 0
        sandbox.command("resume", "db")
        run.wait_for_write(seconds=60)


@EVERY
@long
def test_standby_that_hangs_leaves_the_sync_set_and_writes_go_on(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "standby hangs 8 s") as run:
        standby = run.standby
        run.fault(lambda: run.faults.hang(standby))
        time.sleep(8)
        assert run.writes_in(1) > 0
        run.faults.wake(standby)


@EVERY
@long
def test_standby_cut_off_leaves_the_sync_set_and_writes_go_on(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "standby cut off 8 s") as run:
        standby = run.standby
        run.fault(lambda: run.faults.cut_off(standby))
        time.sleep(8)
        assert run.writes_in(1) > 0
        run.faults.reconnect(standby)


@MYSQL
@long
def test_standby_applies_what_it_has_received_before_it_is_promoted(
    sandbox: Sandbox, engine: str
) -> None:
    """What it has received and not applied is applied before it leads."""
    with Scenario(sandbox, engine, "standby lags, then the primary is killed") as run:
        old = run.primary
        on_server(sandbox, run.standby, "STOP REPLICA SQL_THREAD")
        time.sleep(0.8)
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write()


@MYSQL
@long
def test_standby_whose_applier_is_broken_by_a_conflict_is_rebuilt(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "standby's applier broken by a conflict") as run:
        run.fault(lambda: None)
        on_server(
            sandbox,
            run.standby,
            "SET GLOBAL super_read_only = OFF",
            "SET SESSION sql_log_bin = 0",
            "CREATE TABLE hamanager.conflict (n INT PRIMARY KEY)",
            "SET GLOBAL super_read_only = ON",
        )
        on_server(sandbox, run.primary, "CREATE TABLE hamanager.conflict (n INT PRIMARY KEY)")
        run.wait_for_history("rebuild", 60)


@MYSQL
@long
def test_standby_written_to_is_rebuilt_and_its_volume_retained(
    sandbox: Sandbox, engine: str
) -> None:
    """Somebody with the manager's rights writes to the standby."""
    with Scenario(sandbox, engine, "somebody writes to the standby") as run:
        standby = run.standby
        run.fault(lambda: None)
        on_server(
            sandbox,
            standby,
            "SET GLOBAL super_read_only = OFF",
            "CREATE TABLE hamanager.errant (n INT PRIMARY KEY)",
            "SET GLOBAL super_read_only = ON",
        )
        run.wait_for_history("it alone has")
        assert run.primary != standby
        run.wait_whole()
        [kept] = run.info()["kept"]
        assert (kept["instance"], kept["unacknowledged"]) == (standby, False)
        assert kept["writes"]


@MYSQL
@long
def test_standby_with_a_torn_relay_log_receives_it_again(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "standby's relay log torn") as run:
        standby = run.standby
        sandbox.command("pause", "db")
        on_server(sandbox, standby, "STOP REPLICA SQL_THREAD")
        time.sleep(0.5)
        run.fault(lambda: run.faults.kill(standby))
        truncate_newest(sandbox, standby, "mysql/relay.[0-9]*", 700)
        sandbox.command("resume", "db")
        run.wait_whole()
        run.wait_for_write()


@EVERY
@long
def test_standby_killed_during_its_first_copy_is_copied_anew(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "new standby killed while it is seeded", instances=1) as run:
        sandbox.fill("db", 200_000_000)
        size = {"mysql": 2, "redis": 2, "mongodb": 3}[engine]
        sandbox.command("scale", f"db:instances={size}", "--no-wait")
        wait_for_copy(run)
        run.fault(lambda: run.faults.kill("db.1"))
        run.size = size
        run.wait_whole(180)


@pytest.mark.parametrize("engine", ["mongodb"])
def test_member_that_is_killed_again_and_again_leaves_no_more_to_undo_each_time(
    sandbox: Sandbox, engine: str
) -> None:
    """Each time that it is back it makes a checkpoint, which holds what was there at its death; by
    itself it makes one a minute, and a minute it does not live."""
    with Scenario(sandbox, engine, "killed three times within a minute") as run:
        killed = run.primary
        for _ in range(3):
            time.sleep(2)
            held_at = int(time.time()) - 1
            run.fault(lambda: run.faults.kill(killed))
            run.wait_whole()
            wait_for("a checkpoint", 5, lambda at=held_at: checkpoint_at(run, killed) >= at)  # type: ignore[misc]


def checkpoint_at(run: Scenario, instance: str) -> int:
    """When what a member's last checkpoint holds was written, in seconds."""
    member = next(m for m in run.sandbox.members("db") if m.name == instance)
    command = {"replSetGetStatus": 1}
    told = MongoDBConnections().command(run.sandbox.context("db"), member, command)
    return int(told["lastStableRecoveryTimestamp"].time)


@pytest.mark.parametrize("engine", ["mysql", "redis"])
@long
def test_primary_killed_during_the_first_copy_resumes_and_the_copy_begins_anew(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "donor killed while seeding", instances=1) as run:
        sandbox.fill("db", 200_000_000)
        sandbox.command("scale", "db:instances=2", "--no-wait")
        wait_for_copy(run)
        run.fault(lambda: run.faults.kill("db.0"))
        run.size = 2
        run.wait_whole(180)


@MYSQL
def test_standby_that_died_just_before_the_primary_is_not_promoted(
    sandbox: Sandbox, engine: str
) -> None:
    """The double failure: the standby is stale by 200 ms of acknowledged writes. It is not
    promoted, `info` says why and what it would cost, and with the primary all comes back."""
    with Scenario(sandbox, engine, "standby dies 200 ms before the primary") as run:
        old, standby = run.primary, run.standby
        run.faults.kill(standby)
        time.sleep(0.2)
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_history("no standby")
        run.wait_for_write()
        assert run.primary == old


def wait_for_copy(run: Scenario) -> None:
    """Until a copy has begun and is under way for a moment."""
    words = "begin to copy" if run.engine == "mysql" else "a standby of"
    wait_for(
        "the copy",
        60,
        lambda: any(words in e.text for e in run.sandbox.store.history("db")),
    )
    time.sleep(0.3)


def on_server(sandbox: Sandbox, instance: str, *statements: str) -> None:
    """Run statements with the manager's rights."""
    target = next(t for t in sandbox.members("db") if t.name == instance)
    connections = Connections()
    with connections.session(sandbox.context("db"), target) as session:
        for statement in statements:
            session.run(statement)
    connections.forget(target)
