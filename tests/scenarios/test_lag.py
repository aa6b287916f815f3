"""Replication lag as `info` tells it, when standbys are held up and when replication is broken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.scenarios.conftest import SIZES

HELD_UP_SECONDS = 5.0


@pytest.fixture(scope="module", params=["mysql", "redis", "mongodb"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(engine: str) -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
        yield made


def standby(sandbox: Sandbox) -> str:
    return next(t.name for t in sandbox.members("db") if t != sandbox.primary("db"))


def seen(sandbox: Sandbox, name: str) -> dict[str, Any]:
    view = sandbox.ask("info", "db")
    return next(i for i in view["instances"] if i["name"] == name)


def in_step(sandbox: Sandbox, name: str) -> bool:
    lag = seen(sandbox, name)["lag_seconds"]
    return lag is not None and lag < 0.5


def well(sandbox: Sandbox, name: str) -> bool:
    history = seen(sandbox, name)["lag_history"]
    return bool(history) and history[-1] is not None and in_step(sandbox, name)


def test_applier_held_up_shows_as_lag_in_seconds(sandbox: Sandbox, engine: str) -> None:
    """The link is up and everything is received: only what is applied tells."""
    if engine != "mysql":
        pytest.skip("these engines apply as they receive: see the frozen standby")
    from hamanager_drivers.mysql.connections import Connections

    name = standby(sandbox)
    target = next(t for t in sandbox.members("db") if t.name == name)
    writer = sandbox.start_writer("db")
    try:
        wait_for("a step of the history that is well", 30, lambda: well(sandbox, name))
        with Connections().session(sandbox.context("db"), target) as session:
            session.run("FLUSH TABLES WITH READ LOCK")
            held_since = time.monotonic()
            time.sleep(HELD_UP_SECONDS)
            lag = seen(sandbox, name)["lag_seconds"]
            held = time.monotonic() - held_since
            session.run("UNLOCK TABLES")
        assert lag is not None
        assert HELD_UP_SECONDS - 2 < lag <= held + 1
        wait_for("it to catch up", 30, lambda: in_step(sandbox, name))
    finally:
        writer.stop()
    assert max(v for v in seen(sandbox, name)["lag_history"] if v is not None) >= lag - 1


def test_a_frozen_standby_is_broken_and_not_at_0_s(sandbox: Sandbox) -> None:
    name = standby(sandbox)
    wait_for("the standby to be in step", 20, lambda: in_step(sandbox, name))
    frozen_at = time.time()
    sandbox.container(name).pause()
    try:

        def broken() -> bool:
            return seen(sandbox, name)["replication_broken_since"] is not None

        wait_for("replication to be called broken", 10, broken)
        time.sleep(1)
        instance = seen(sandbox, name)
        assert instance["lag_seconds"] is None
        assert abs(instance["replication_broken_since"] - frozen_at) < 3
        assert "broken since" in sandbox.command("info", "db")
    finally:
        sandbox.container(name).unpause()
    wait_for("it to replicate again", 40, lambda: in_step(sandbox, name))
    assert seen(sandbox, name)["replication_broken_since"] is None


def test_idle_is_not_behind(sandbox: Sandbox) -> None:
    time.sleep(3)
    assert in_step(sandbox, standby(sandbox))
