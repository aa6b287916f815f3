"""The manager itself fails: killed, suspended, started late, without its store."""

from __future__ import annotations

import sqlite3
import time

import pytest

from hamanager import paths
from hamanager.chaos.sandbox import Stage
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario

EVERY = pytest.mark.parametrize("engine", ENGINES)
MYSQL = pytest.mark.parametrize("engine", ["mysql"])
long = pytest.mark.long


def first_start(stage: Stage, engine: str) -> None:
    with Scenario(stage, engine, "manager first started while the primary is dead") as run:
        old = run.primary
        stage.kill_daemon()
        run.fault(lambda: run.faults.kill(old))
        time.sleep(0.5)
        stage.start_daemon()
        accepted = run.wait_for_write(not_on=old)
        if engine == "mysql":
            failover = run.info()["last_failover"]
            assert failover["to"] == accepted.instance
            assert failover["lost"] == "nothing that was acknowledged"


def test_first_started_while_the_primary_is_dead(stage: Stage) -> None:
    """It has never seen it alive: the store's sync set is all it knows."""
    first_start(stage, "mysql")


@long
@pytest.mark.parametrize("engine", ["redis", "mongodb"])
def test_first_started_while_the_primary_is_dead_too(stage: Stage, engine: str) -> None:
    first_start(stage, engine)


@EVERY
@long
def test_suspended_while_the_primary_dies(stage: Stage, engine: str) -> None:
    with Scenario(stage, engine, "manager suspended 12 s while the primary dies") as run:
        old = run.primary
        stage.suspend_daemon()
        run.fault(lambda: run.faults.kill(old))
        time.sleep(12)
        stage.continue_daemon()
        run.wait_for_write()


@MYSQL
@long
def test_down_while_the_standby_dies(stage: Stage, engine: str) -> None:
    """Only the manager may let writes go on without the standby: they wait for it."""
    with Scenario(stage, engine, "manager down while the standby dies: writes wait") as run:
        stage.kill_daemon()
        run.fault(lambda: run.faults.kill(run.standby))
        time.sleep(1)
        assert run.writes_in(2) == 0
        stage.start_daemon()
        run.wait_for_write(from_now=True)


@EVERY
@long
def test_down_and_back_with_everything_well(stage: Stage, engine: str) -> None:
    with Scenario(stage, engine, "manager down 5 s: nobody notices") as run:
        run.fault(stage.kill_daemon)
        assert run.writes_in(5) > 100
        stage.start_daemon()
        run.expect_no_failover(3)


@EVERY
@long
def test_store_locked(stage: Stage, engine: str) -> None:
    with Scenario(stage, engine, "store locked 12 s, the primary dies meanwhile") as run:
        old = run.primary
        locker = sqlite3.connect(paths.database_path(stage.home), timeout=5)
        locker.execute("BEGIN EXCLUSIVE")
        run.fault(lambda: run.faults.kill(old))
        time.sleep(12)
        locker.rollback()
        locker.close()
        run.wait_for_write()


@EVERY
@long
def test_killed_in_the_middle_of_a_fail_over(stage: Stage, engine: str) -> None:
    with Scenario(stage, engine, "manager killed in the middle of a failover") as run:
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        stage.kill_daemon()
        stage.start_daemon()
        run.wait_for_write()
