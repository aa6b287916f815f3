"""The one address, with plain clients in a reconnect loop that know nothing of hamanager."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from benchmarks.address import SIZES, one_round
from hamanager.chaos.sandbox import Stage, wait_for
from tests.support.clients import FAILURES, PLAIN, PlainWriter

ROUNDS = 2
PROXY_BACK_SECONDS = 8.0


@pytest.fixture(scope="module", params=sorted(SIZES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stage(engine: str) -> Iterator[Stage]:
    with Stage() as made:
        made.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
        yield made


def address(stage: Stage) -> str:
    return stage.command("url", "db").strip()


@contextlib.contextmanager
def writing(stage: Stage, engine: str) -> Iterator[PlainWriter]:
    """A client that writes throughout; in the end nothing it was told is missing."""
    stage.wait_for_state("db", "running", 60)
    writer = PlainWriter(engine, address(stage))
    # Numbers go on from where the last writer ended.
    held = PLAIN[engine](address(stage))
    held.prepare()
    writer.begin_after(max(held.numbers(), default=0))
    held.close()
    writer.start()
    try:
        wait_for("the first writes", 20, lambda: len(writer.accepted) > 100)
        yield writer
        moment = time.monotonic()
        wait_for("writes to go on", 20, lambda: writer.accepted[-1].at > moment)
    finally:
        writer.stop()
    stage.wait_for_state("db", "running", 60)
    assert writer.lost() == 0


def test_the_primary_is_killed(stage: Stage, engine: str) -> None:
    before = address(stage)
    with writing(stage, engine) as writer:
        for _ in range(ROUNDS):
            one_round(stage, writer, "kill")
            time.sleep(0.5)
        assert not writer.turned_away
    assert address(stage) == before


def test_planned_away_nobody_is_turned_away(stage: Stage, engine: str) -> None:
    with writing(stage, engine) as writer:
        for _ in range(ROUNDS):
            one_round(stage, writer, "switchover")
            time.sleep(0.5)
        assert not writer.turned_away


def test_the_daemon_is_killed_and_comes_back(stage: Stage, engine: str) -> None:
    with writing(stage, engine) as writer:
        stage.kill_daemon()
        time.sleep(1.0)
        stage.start_daemon()
        time.sleep(1.0)
        assert writer.cut == 0, "no connection ends because of the manager"
        assert not writer.turned_away


def test_the_proxy_crashes(stage: Stage, engine: str) -> None:
    if engine == "mongodb":
        pytest.skip("its clients know all members: there is no proxy between")
    with writing(stage, engine) as writer:
        [proxy] = stage.docker.containers.list(
            filters={"label": [f"hamanager.manager={stage.manager_id}", "hamanager.helper=haproxy"]}
        )
        proxy.reload()
        os.kill(int(proxy.attrs["State"]["Pid"]), signal.SIGKILL)
        began = time.monotonic()
        wait_for("writes to go on", 20, lambda: writer.accepted[-1].at > began)
        assert writer.accepted[-1].at - began < PROXY_BACK_SECONDS


def test_a_primary_restarted_by_somebody_else_is_never_led_to_unasked(
    stage: Stage, engine: str
) -> None:
    """While the daemon is away: the old primary is back at its own address, and refuses writes."""
    if engine == "mongodb":
        pytest.skip("the set elects by itself while the manager is away")
    stage.wait_for_state("db", "running", 60)
    url = address(stage)
    stage.kill_daemon()
    try:
        container = stage.container(stage.record("db").primary or "")
        container.kill()
        container.start()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with pytest.raises(FAILURES):
                write_once(engine, url)
            time.sleep(0.2)
    finally:
        stage.start_daemon()
    stage.wait_for_state("db", "running", 60)
    write_once(engine, url)


def write_once(engine: str, url: str) -> None:
    client = PLAIN[engine](url)
    try:
        client.prepare()
        client.write(-int(time.time() * 1000))
    finally:
        client.close()
