"""A stop by somebody else on real servers: held back, told, and passed on."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest

from hamanager.act.context import needed
from hamanager.contracts.driver import HELD_SECONDS, Driver
from hamanager.contracts.runtime import ASKED_TO_END, Container, RuntimeEvent
from hamanager.discovery import load_drivers
from hamanager.model.snapshot import Process, Role
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.runtime import DockerRuntime
from hamanager_testing.servers import Server, servers
from tests.support.runtimes import REF, told, wait_until

HELD = "trap 'echo held' TERM; trap 'echo ended; exit 0' INT; echo up; while :; do sleep 0.05; done"
END_SECONDS = 30


@pytest.fixture(params=["redis", "mongodb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server[Driver]]:
    driver = load_drivers()[request.param]
    with servers(driver, 1) as [alone]:
        alone.wait()
        needed(driver.replication).initialize(alone.service, alone.target)
        alone.wait(lambda status: status.role is Role.PRIMARY)
        yield alone


def test_a_server_works_on_while_its_stop_is_held_back(server: Server[Driver]) -> None:
    writer = needed(server.driver.workload).open_writer(server.service, server.target)
    writer.prepare()
    began = time.monotonic()
    server.container.kill(signal="SIGTERM")
    writer.write(1)
    writer.close()
    code = server.container.wait(timeout=END_SECONDS)["StatusCode"]
    assert time.monotonic() - began >= HELD_SECONDS
    assert code == 0, "it did not shut itself down"


def test_a_crash_ends_the_container(server: Server[Driver]) -> None:
    """Also while its stop is held back."""
    server.container.kill(signal="SIGTERM")
    listed = server.container.top(ps_args="-o pid,comm")["Processes"]
    [pid] = [int(pid) for pid, name in listed if name in ("redis-server", "mongod")]
    os.kill(pid, signal.SIGKILL)
    assert server.container.wait(timeout=END_SECONDS)["StatusCode"] == 128 + signal.SIGKILL


def test_the_managers_own_stop_is_neither_held_back_nor_taken_for_somebody_elses(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    events: queue.SimpleQueue[RuntimeEvent] = queue.SimpleQueue()
    stop = threading.Event()

    def follow() -> None:
        for event in runtime.events(stop.is_set):
            events.put(event)

    def next_one(what: str) -> list[str]:
        seen: list[str] = []
        while what not in seen:
            seen.append(events.get(timeout=END_SECONDS).what)
        return seen

    thread = threading.Thread(target=follow)
    thread.start()
    launch = replace(container.launch, script=HELD, holds_stop=True)
    try:
        wait_until(lambda: _is_followed(runtime, container, events))
        runtime.start(REF, replace(container, launch=launch))
        wait_until(lambda: "up" in told(runtime.logs(REF, 5)))
        client.containers.get(Names(manager_id).container(REF)).kill(signal="SIGTERM")
        next_one(ASKED_TO_END)
        wait_until(lambda: "held" in told(runtime.logs(REF, 5)))
        assert runtime.process(REF) is Process.RUNNING
        runtime.request_stop(REF)
        assert ASKED_TO_END not in next_one("exited")
        assert told(runtime.logs(REF, 1)) == "ended"
    finally:
        stop.set()
        thread.join(2.0)


def _is_followed(
    runtime: DockerRuntime, container: Container, events: queue.SimpleQueue[RuntimeEvent]
) -> bool:
    """Whether an event arrives; then all of them are waited for and forgotten."""
    runtime.start(REF, container)
    runtime.kill(REF)
    runtime.remove(REF, discard_data=False)
    try:
        while events.get(timeout=1).what != "removed":
            continue
    except queue.Empty:
        return False
    return True
