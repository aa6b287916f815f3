"""The one address, with plain clients in a reconnect loop that know nothing of hamanager."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from benchmarks.address import SIZES, one_round
from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.clients import FAILURES, PLAIN, PlainWriter

ROUNDS = 2
PROXY_BACK_SECONDS = 8.0


@pytest.fixture(scope="module", params=sorted(SIZES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(engine: str) -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
        yield made


def address(sandbox: Sandbox) -> str:
    return sandbox.command("url", "db").strip()


@contextlib.contextmanager
def writing(sandbox: Sandbox, engine: str) -> Iterator[PlainWriter]:
    """A client that writes throughout; in the end nothing it was told is missing."""
    sandbox.wait_for_state("db", "running", 60)
    writer = PlainWriter(engine, address(sandbox))
    # Numbers go on from where the last writer ended.
    held = PLAIN[engine](address(sandbox))
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
    sandbox.wait_for_state("db", "running", 60)
    assert writer.lost() == 0


def test_primary_killed_and_no_client_of_the_address_is_turned_away(
    sandbox: Sandbox, engine: str
) -> None:
    before = address(sandbox)
    with writing(sandbox, engine) as writer:
        for _ in range(ROUNDS):
            one_round(sandbox, writer, "kill")
            time.sleep(0.5)
        assert not writer.turned_away
    assert address(sandbox) == before


def test_switchover_and_no_client_of_the_address_is_turned_away(
    sandbox: Sandbox, engine: str
) -> None:
    with writing(sandbox, engine) as writer:
        for _ in range(ROUNDS):
            one_round(sandbox, writer, "switchover")
            time.sleep(0.5)
        assert not writer.turned_away


def test_manager_killed_and_the_address_goes_on(sandbox: Sandbox, engine: str) -> None:
    with writing(sandbox, engine) as writer:
        sandbox.kill_daemon()
        time.sleep(1.0)
        sandbox.start_daemon()
        time.sleep(1.0)
        assert writer.cut == 0, "no connection ends because of the manager"
        assert not writer.turned_away


def test_proxy_killed_and_the_address_is_back_by_itself(sandbox: Sandbox, engine: str) -> None:
    if engine == "mongodb":
        pytest.skip("its clients know all members: there is no proxy between")
    with writing(sandbox, engine) as writer:
        [proxy] = sandbox.docker.containers.list(
            filters={
                "label": [f"hamanager.manager={sandbox.manager_id}", "hamanager.helper=haproxy"]
            }
        )
        proxy.reload()
        os.kill(int(proxy.attrs["State"]["Pid"]), signal.SIGKILL)
        began = time.monotonic()
        wait_for("writes to go on", 20, lambda: writer.accepted[-1].at > began)
        assert writer.accepted[-1].at - began < PROXY_BACK_SECONDS


def test_a_primary_restarted_by_somebody_else_is_never_led_to_unasked(
    sandbox: Sandbox, engine: str
) -> None:
    """While the daemon is away: the old primary is back at its own address, and refuses writes."""
    if engine == "mongodb":
        pytest.skip("the set elects by itself while the manager is away")
    sandbox.wait_for_state("db", "running", 60)
    url = address(sandbox)
    sandbox.kill_daemon()
    try:
        container = sandbox.container(sandbox.record("db").primary or "")
        container.kill()
        container.start()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with pytest.raises(FAILURES):
                write_once(engine, url)
            time.sleep(0.2)
    finally:
        sandbox.start_daemon()
    sandbox.wait_for_state("db", "running", 60)
    write_once(engine, url)


def write_once(engine: str, url: str) -> None:
    client = PLAIN[engine](url)
    try:
        client.prepare()
        client.write(-int(time.time() * 1000))
    finally:
        client.close()
