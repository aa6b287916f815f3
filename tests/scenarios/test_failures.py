"""Failures of servers and of the manager itself, on real engines."""

from __future__ import annotations

import time

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.chaos.workload import LoadWriter
from tests.scenarios.conftest import ENGINES, SIZES
from tests.scenarios.foreseen import Foreseen
from tests.scenarios.harness import LOSSLESS

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def test_manager_killed_in_the_middle_of_scaling_up_and_the_next_one_finishes_it(
    sandbox: Sandbox, engine: str
) -> None:
    size = SIZES[engine]
    sandbox.command("create", "db", "--engine", engine)
    sandbox.fill("db", 60_000_000)
    sandbox.command("scale", f"db:instances={size}", "--no-wait")
    wait_for("the standby to be on record", 20, lambda: len(sandbox.members("db")) == 2)
    sandbox.kill_daemon()
    time.sleep(0.5)  # the engines go on meanwhile, as they would until somebody notices
    sandbox.start_daemon()
    sandbox.wait_for_state("db", "running", 120, size)


def test_manager_killed_in_the_middle_of_a_failover_and_the_next_one_goes_on(
    sandbox: Sandbox, engine: str
) -> None:
    size, writer = SIZES[engine], service_under_load(sandbox, engine)
    killed = time.monotonic()
    sandbox.container("db.0").kill()
    sandbox.kill_daemon()
    sandbox.start_daemon()
    accepted = writer.wait_for_write(after=killed, not_on="db.0", timeout_seconds=30)
    assert accepted is not None
    sandbox.wait_for_state("db", "running", 60, size)
    writer.stop()
    if engine in LOSSLESS:
        assert sandbox.lost("db", writer) == 0


def test_a_primary_that_hangs_is_replaced_and_taken_back(sandbox: Sandbox, engine: str) -> None:
    size, writer = SIZES[engine], service_under_load(sandbox, engine, pause_seconds=0.005)
    foreseen = Foreseen(sandbox, "--hang", "db.0")
    hung = time.monotonic()
    sandbox.container("db.0").pause()
    accepted = writer.wait_for_write(after=hung, not_on="db.0", timeout_seconds=40)
    assert accepted is not None
    if not sandbox.drivers[engine].capabilities.elects_itself:
        assert accepted.at - hung > 3, "a silence was taken for death before down_after had passed"
    sandbox.wait_for_state("db", "running", 90, size)
    foreseen.came_true()
    writer.stop()
    if engine in LOSSLESS:
        assert sandbox.lost("db", writer) == 0


def test_a_killed_standby_comes_back_and_writes_go_on(sandbox: Sandbox, engine: str) -> None:
    size = SIZES[engine]
    sandbox.command("create", "db", "--engine", engine, "--instances", str(size))
    view = sandbox.wait_for_state("db", "running", 120, size)
    writer = sandbox.start_writer("db")
    standby = next(i["name"] for i in view["instances"] if i["role"] == "standby")
    sandbox.container(standby).kill()
    noticed = f"start instance {standby}: its process has ended"
    wait_for(
        "the standby to be started again",
        20,
        lambda: any(entry["text"] == noticed for entry in sandbox.ask("history", "db")),
    )
    after = sandbox.wait_for_state("db", "running", 60, size)
    assert after["primary"] == view["primary"]
    assert after["last_failover"] is None
    writer.stop()
    assert sandbox.lost("db", writer) == 0


def service_under_load(sandbox: Sandbox, engine: str, pause_seconds: float = 0.001) -> LoadWriter:
    """The service `db` at its full size, with a client that writes to it already."""
    size = SIZES[engine]
    sandbox.command("create", "db", "--engine", engine, "--instances", str(size))
    sandbox.wait_for_state("db", "running", 120, size)
    writer = sandbox.start_writer("db", pause_seconds)
    wait_for("writes", 10, lambda: len(writer.acknowledged()) > 20)
    return writer
