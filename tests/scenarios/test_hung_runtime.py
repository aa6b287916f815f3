"""The Docker engine hangs, in some calls or in all: what is healthy stays as it is, what dies is
replaced. The manager's engine is a proxy before the real one, which belongs to others, too."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.scenarios.harness import Scenario
from tests.support.docker_proxy import DockerProxy

EXECS = r"/exec"
HUNG_SECONDS = 25.0
"""Longer than the 20 s that the manager gives the engine for such a call."""


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Sandbox, DockerProxy]]:
    sandbox = Sandbox()
    with DockerProxy(sandbox.home / "docker.sock") as proxy:
        sandbox.environment["DOCKER_HOST"] = proxy.url
        with sandbox:
            yield sandbox, proxy
            proxy.release()
            print(f"--- daemon log\n{sandbox.daemon_log()[-20_000:]}")


def stays_whole(run: Scenario, seconds: float) -> None:
    """Every look finds all members alive and the same primary."""
    primary, deadline = run.primary, time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = run.info()
        states = {instance["name"]: instance["state"] for instance in seen["instances"]}
        assert "down" not in states.values(), states
        assert (run.primary, seen["state"]) == (primary, "running")
        time.sleep(0.2)


def test_docker_exec_hangs_and_the_members_count_as_alive(
    proxied: tuple[Sandbox, DockerProxy],
) -> None:
    sandbox, proxy = proxied
    with Scenario(sandbox, "mongodb", "docker exec hangs 25 s") as run:
        run.fault(lambda: proxy.hold(EXECS))
        wait_for("a call that hangs", 30, lambda: bool(proxy.held_back))
        stays_whole(run, HUNG_SECONDS)
        assert run.writes_in(1.0) > 0
        proxy.release()
        stays_whole(run, 3.0)
        assert run.info()["last_failover"] is None


@pytest.mark.parametrize("engine", ["mongodb", pytest.param("redis", marks=pytest.mark.long)])
def test_docker_hangs_and_a_dead_primary_is_replaced(
    proxied: tuple[Sandbox, DockerProxy], engine: str
) -> None:
    sandbox, proxy = proxied
    with Scenario(sandbox, engine, "engine hangs, then the primary is killed") as run:
        old = run.primary
        proxy.hold()
        stays_whole(run, 8.0)
        assert run.info()["last_failover"] is None
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        proxy.release()
