"""Failures while something else goes on, and the orders of people."""

from __future__ import annotations

import threading
import time

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager_drivers.mysql.connections import Session, connect, hang_up
from hamanager_drivers.naming import APPLICATION
from tests.scenarios.asking import why_of_wait
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario
from tests.scenarios.test_standby_fails import on_server
from tests.support.told import untold
from tests.support.volumes import break_data, mend_data

EVERY = pytest.mark.parametrize("engine", ENGINES)
MYSQL = pytest.mark.parametrize("engine", ["mysql"])
long = pytest.mark.long


@EVERY
@long
def test_switchover_under_load_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "switchover under load, there and back") as run:
        for _ in range(2):
            old = run.primary
            run.fault(lambda: None)
            sandbox.command("switchover", "db")
            assert run.primary != old
            run.wait_whole()
        assert run.info()["last_failover"] is None


@MYSQL
@long
def test_switchover_ends_a_long_transaction_or_is_refused(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "switchover with a long transaction") as run:
        password = sandbox.context("db").secrets["password"]
        client = connect(sandbox.primary("db"), APPLICATION, password, 30)
        Session(client).run("BEGIN", "INSERT INTO db.hamanager_workload VALUES (-1)")
        time.sleep(2)
        refused = sandbox.run("switchover", "db", "--patience", "1", "--no-kill")
        assert refused.returncode == 1
        assert "transactions on db.0 run for up to" in refused.stderr
        assert run.primary == "db.0"
        run.fault(lambda: None)
        sandbox.command("switchover", "db", "--patience", "1")
        assert run.primary == "db.1"
        hang_up(client)


@MYSQL
@long
def test_switchover_with_a_standby_that_lags_is_undone(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "switchover with a standby that lags: undone") as run:
        run.fault(lambda: None)
        password = sandbox.context("db").secrets["password"]
        blocker = connect(
            next(t for t in sandbox.members("db") if t.name == "db.1"), APPLICATION, password, 30
        )
        Session(blocker).run("LOCK TABLES db.hamanager_workload READ")
        done = sandbox.run("switchover", "db")
        assert done.returncode == 1, done
        hang_up(blocker)
        assert run.primary == "db.0"
        run.wait_for_write(from_now=True)


@EVERY
@long
def test_switchover_without_a_standby_is_refused(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "switchover without a standby: refused", instances=1) as run:
        run.fault(lambda: None)
        done = sandbox.run("switchover", "db")
        assert done.returncode == 1
        assert "no standby could take over; nothing was changed" in done.stderr


@EVERY
@long
def test_primary_killed_during_a_switchover_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "primary killed during a switchover") as run:
        old = run.primary
        asking = threading.Thread(target=lambda: sandbox.run("switchover", "db"))
        asking.start()
        wait_for(
            "the switchover",
            20,
            lambda: any("switchover" in e.text for e in sandbox.store.history("db")),
        )
        run.fault(lambda: run.faults.kill(old))
        asking.join(60)
        run.wait_for_write()


@EVERY
@long
def test_manager_killed_during_a_switchover_and_the_next_one_finishes_or_undoes_it(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "manager killed during a switchover") as run:
        asking = threading.Thread(target=lambda: sandbox.run("switchover", "db", "--timeout", "20"))
        asking.start()
        wait_for(
            "the switchover",
            20,
            lambda: (
                sandbox.record("db").switching_to is not None
                or sandbox.record("db").last_switchover is not None
            ),
        )
        run.fault(sandbox.kill_daemon)
        sandbox.start_daemon()
        asking.join(60)
        run.wait_whole()
        run.wait_for_write(from_now=True)


@EVERY
@long
def test_primary_killed_while_scaling_down_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    size = {"mysql": 3, "redis": 3, "mongodb": 3}[engine]
    with Scenario(sandbox, engine, "primary killed while scaling down", instances=size) as run:
        old = run.primary
        sandbox.command("scale", "db:instances=1", "--no-wait")
        run.fault(lambda: run.faults.kill(old))
        run.size = 1
        run.wait_for_write(from_now=True, seconds=90)


@EVERY
@long
def test_five_failures_in_a_row_lose_nothing(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "flapping: five primaries killed in a row") as run:
        for _ in range(5):
            old = run.primary
            run.fault(lambda name=old: run.faults.kill(name))  # type: ignore[misc]
            run.wait_for_write(from_now=True, seconds=60)
            run.wait_whole()


@EVERY
@long
def test_a_failure_during_the_recovery_of_another_loses_nothing(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "new primary killed as soon as it leads") as run:
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        second = run.wait_for_write(not_on=old).instance
        run.fault(lambda: run.faults.kill(second))
        run.wait_for_write(from_now=True, seconds=90)


@MYSQL
@long
def test_primary_silent_twice_within_the_failover_period_needs_proof_of_death(
    sandbox: Sandbox, engine: str
) -> None:
    """Silence is enough for one failover; soon after it the next one takes proof."""
    with Scenario(sandbox, engine, "second silent failure soon after: waits") as run:
        old = run.primary
        run.faults.hang(old)
        run.fault(lambda: None)
        second = run.wait_for_write(not_on=old).instance
        run.wait_whole()
        run.fault(lambda: run.faults.hang(second))
        run.wait_for_history("another one needs proof of death")
        assert run.primary == second
        run.faults.wake(second)
        run.wait_for_write(from_now=True)


@MYSQL
@long
def test_without_a_safe_candidate_only_an_operator_promotes(sandbox: Sandbox, engine: str) -> None:
    """No standby is in step and the primary cannot come back: `info` says what it would cost,
    and the order promotes the stale standby."""
    with Scenario(sandbox, engine, "stale standby promoted by force", lossless=False) as run:
        old, standby = run.primary, run.standby
        run.faults.cut_link(standby, *run.ports(old))
        wait_for("the set to be empty", 20, lambda: not sandbox.record("db").sync_set)
        run.writes_in(1)
        sandbox.command("pause", "db")
        run.fault(lambda: run.faults.kill(old))
        break_data(sandbox, old)
        sandbox.command("resume", "db")
        words = f"--to {standby} --force"
        wait_for("it to be told", 40, lambda: words in run.info()["message"])
        view = run.info()
        assert view["last_resorts"][0]["instance"] == standby
        assert "transactions" in view["last_resorts"][0]["may_lack"]
        refuses = "it refuses connections and every standby lost its link; no standby is known"
        told = why_of_wait(sandbox, refuses)
        assert not untold("No standby is in step when it dies", told, old, standby), told
        assert sandbox.run("failover", "db", "--to", standby).returncode == 1
        run.faults.heal()
        sandbox.command("failover", "db", "--to", standby, "--force")
        run.wait_for_write(from_now=True)
        failover = run.info()["last_failover"]
        assert failover["forced"]
        assert "transactions" in failover["lost"]


@pytest.mark.parametrize("engine", ["mongodb"])
def test_members_without_a_majority_are_promoted_by_an_operator_only(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "two of three members lost, then by force") as run:
        lost = [t.name for t in sandbox.members("db")][:2]
        sandbox.command("pause", "db")
        run.fault(lambda: run.faults.kill(lost[0]))
        run.faults.kill(lost[1])
        for name in lost:
            break_data(sandbox, name)
        sandbox.command("resume", "db")
        wait_for("it to be told", 60, lambda: "the majority is lost" in run.info()["message"])
        assert run.writes_in(2) == 0
        told = why_of_wait(sandbox, "the majority is lost")
        last = sandbox.members("db")[2].name
        assert not untold("Two of three members are lost", told, lost[0], last, lost[1]), told
        sandbox.command("failover", "db", "--force", "--timeout", "60")
        run.wait_for_write(from_now=True)
        for name in lost:
            mend_data(sandbox, name)


@pytest.mark.parametrize("engine", ["redis"])
@long
def test_full_resync_under_load_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "full resync of 200 MB under load", pause_seconds=0.0) as run:
        sandbox.fill("db", 200_000_000)
        run.fault(lambda: run.faults.kill(run.standby))
        run.wait_whole()


@MYSQL
@long
def test_durability_changed_to_strict_and_back_is_in_force_at_once(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "durability changed to strict and back") as run:
        run.fault(lambda: None)
        sandbox.command("set", "db", "--durability", "strict")
        on_server(sandbox, run.standby, "STOP REPLICA IO_THREAD")
        sandbox.command("set", "db", "--durability", "availability")
        run.wait_for_write(from_now=True)
