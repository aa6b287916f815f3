"""The main job on real engines: create, scale, kill the primary, recover, scale down, destroy."""

from __future__ import annotations

import threading
import time

import pytest

from hamanager.act.context import needed
from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.scenarios.conftest import ENGINES, SIZES
from tests.scenarios.foreseen import Foreseen
from tests.scenarios.harness import LOSSLESS

# Valkey stands for the drivers of other packages: for the manager it is like any engine.
pytestmark = pytest.mark.parametrize(
    "engine", [*ENGINES, pytest.param("valkey", marks=pytest.mark.long)]
)

RECOVERY_SECONDS = 60
FAILOVER_SECONDS = 2


def test_scaled_to_a_standby_then_the_primary_is_killed_and_nothing_acknowledged_is_lost(
    sandbox: Sandbox, engine: str
) -> None:
    size = SIZES[engine]
    sandbox.command("create", "db", "--engine", engine)
    assert sandbox.wait_for_state("db", "running", 60, 1)["primary"] == "db.0"
    sandbox.fill("db", 250_000_000)

    with ProgressWatch(sandbox) as watch:
        told = sandbox.command("scale", f"db:instances={size}")
    assert "%" in told, told
    assert watch.seen, "a second terminal saw no progress"
    sandbox.wait_for_state("db", "running", 5, size)

    writer = sandbox.start_writer("db")
    wait_for("writes", 5, lambda: len(writer.acknowledged()) > 100)
    foreseen = Foreseen(sandbox, "--kill", "db.0")
    killed = time.monotonic()
    sandbox.container("db.0").kill()
    accepted = writer.wait_for_write(after=killed, not_on="db.0", timeout_seconds=30)
    assert accepted is not None
    assert accepted.at - killed < FAILOVER_SECONDS

    view = sandbox.wait_for_state("db", "running", RECOVERY_SECONDS, size)
    assert time.monotonic() - killed < RECOVERY_SECONDS
    assert view["primary"] == accepted.instance
    foreseen.came_true()
    assert view["last_failover"]["from"] == "db.0"
    assert view["last_failover"]["to"] == accepted.instance
    assert {i["name"]: i["role"] for i in view["instances"]}["db.0"] == "standby"
    writer.stop()
    lost = sandbox.lost("db", writer)
    if engine in LOSSLESS:
        assert lost == 0
    else:
        # Asynchronous: what the standby had not received in the last moment may be gone.
        assert lost < len(writer.acknowledged()) / 10
    everything_is_everywhere(sandbox)
    steps = [entry["playbook"] for entry in sandbox.ask("history", "db") if entry["kind"] == "step"]
    assert "fail over" in steps or "adopt" in steps

    sandbox.command("scale", "db:instances=1")
    view = sandbox.wait_for_state("db", "running", 30, 1)
    assert view["primary"] == accepted.instance
    after = sandbox.start_writer("db")
    wait_for("writes after scaling down", 10, lambda: len(after.acknowledged()) > 10)
    after.stop()

    sandbox.command("destroy", "db", "--yes")
    assert sandbox.ask("info") == []
    mine: dict[str, str | list[str] | bool] = {
        "label": ["hamanager.service=db", f"hamanager.manager={sandbox.manager_id}"]
    }
    assert sandbox.docker.containers.list(all=True, filters=mine) == []
    assert sandbox.docker.volumes.list(filters=mine) == []
    assert sandbox.docker.networks.list(filters=mine) == []


def test_a_planned_restart_is_not_a_failure(sandbox: Sandbox, engine: str) -> None:
    size = SIZES[engine]
    sandbox.command("create", "db", "--engine", engine, "--instances", str(size))
    sandbox.wait_for_state("db", "running", 120, size)
    before = sandbox.container("db.0").attrs["State"]["StartedAt"]
    sandbox.command("restart", "db.0")
    view = sandbox.wait_for_state("db", "running", RECOVERY_SECONDS, size)
    assert sandbox.container("db.0").attrs["State"]["StartedAt"] != before
    assert view["last_failover"] is None
    if not sandbox.drivers[engine].capabilities.elects_itself:
        assert view["primary"] == "db.0"

    standby = next(i["name"] for i in view["instances"] if i["role"] == "standby")
    sandbox.command("restart", standby)
    after = sandbox.wait_for_state("db", "running", RECOVERY_SECONDS, size)
    assert after["primary"] == view["primary"]


class ProgressWatch(threading.Thread):
    """Polls `info` as a second terminal would, and remembers the progress it saw."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(daemon=True)
        self.sandbox = sandbox
        self.seen: list[object] = []
        self._stopping = threading.Event()

    def __enter__(self) -> ProgressWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(10)

    def run(self) -> None:
        while not self._stopping.is_set():
            view = self.sandbox.ask("info", "db")
            for instance in view["instances"] if view else []:
                if instance["sync"]:
                    self.seen.append(instance["sync"])


def everything_is_everywhere(sandbox: Sandbox) -> None:
    """Every instance holds the same numbers as the primary."""
    driver, service = sandbox.driver("db"), sandbox.context("db")

    def held() -> list[set[int]]:
        sets = []
        for target in sandbox.members("db"):
            reader = needed(driver.workload).open_writer(service, target, timeout_seconds=10)
            sets.append(reader.numbers())
            reader.close()
        return sets

    wait_for("the same data everywhere", 20, lambda: all(s == held()[0] for s in held()))
