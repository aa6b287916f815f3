"""The manager itself fails: killed, suspended, started late, without its store."""

from __future__ import annotations

import sqlite3
import time

import pytest

from hamanager import paths
from hamanager.chaos.sandbox import Sandbox
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario

EVERY = pytest.mark.parametrize("engine", ENGINES)
MYSQL = pytest.mark.parametrize("engine", ["mysql"])
long = pytest.mark.long


@EVERY
@long
def test_manager_first_started_while_the_primary_is_dead_fails_over(
    sandbox: Sandbox, engine: str
) -> None:
    """It has never seen it alive: the store's sync set is all it knows."""
    with Scenario(sandbox, engine, "manager first started while the primary is dead") as run:
        old = run.primary
        sandbox.kill_daemon()
        run.fault(lambda: run.faults.kill(old))
        time.sleep(0.5)
        sandbox.start_daemon()
        accepted = run.wait_for_write(not_on=old)
        if engine == "mysql":
            failover = run.info()["last_failover"]
            assert failover["to"] == accepted.instance
            assert failover["lost"] == "nothing that was acknowledged"


@EVERY
@long
def test_manager_suspended_while_the_primary_dies_does_nothing_stale(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "manager suspended 12 s while the primary dies") as run:
        old = run.primary
        sandbox.suspend_daemon()
        run.fault(lambda: run.faults.kill(old))
        time.sleep(12)
        sandbox.continue_daemon()
        run.wait_for_write()


@MYSQL
@long
def test_manager_down_while_the_standby_dies_does_not_promote_it_later(
    sandbox: Sandbox, engine: str
) -> None:
    """Only the manager may let writes go on without the standby: they wait for it."""
    with Scenario(sandbox, engine, "manager down while the standby dies: writes wait") as run:
        sandbox.kill_daemon()
        run.fault(lambda: run.faults.kill(run.standby))
        time.sleep(1)
        assert run.writes_in(2) == 0
        sandbox.start_daemon()
        run.wait_for_write(from_now=True)


@EVERY
@long
def test_manager_down_and_back_changes_nothing_that_is_well(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "manager down 5 s: nobody notices") as run:
        run.fault(sandbox.kill_daemon)
        assert run.writes_in(5) > 100
        sandbox.start_daemon()
        run.expect_no_failover(3)


@EVERY
@long
def test_store_that_is_locked_delays_and_breaks_nothing(sandbox: Sandbox, engine: str) -> None:
    with Scenario(sandbox, engine, "store locked 12 s, the primary dies meanwhile") as run:
        old = run.primary
        locker = sqlite3.connect(paths.database_path(sandbox.home), timeout=5)
        locker.execute("BEGIN EXCLUSIVE")
        run.fault(lambda: run.faults.kill(old))
        time.sleep(12)
        locker.rollback()
        locker.close()
        run.wait_for_write()


@EVERY
@long
def test_manager_killed_in_the_middle_of_a_failover_and_the_next_one_finishes_it(
    sandbox: Sandbox, engine: str
) -> None:
    with Scenario(sandbox, engine, "manager killed in the middle of a failover") as run:
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        sandbox.kill_daemon()
        sandbox.start_daemon()
        run.wait_for_write()
