"""The runtime contract on a real Docker engine: processes, their ends, their memory."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import replace

import docker
import pytest

from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.contracts.runtime import Container
from hamanager.errors import RuntimeFailedError
from hamanager.model.snapshot import Process
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.runtimes import CLEAN_END, MB, REF, inspect, told, wait_until, with_script

# --- Ends of processes ---------------------------------------------------------------------------


def test_a_crash_is_seen_and_survived(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
) -> None:
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING
    os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGKILL)
    wait_until(
        lambda: runtime.process(REF) is Process.EXITED, 0.5 if either_way == "handles" else 5
    )
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING


def test_somebody_else_restarts_it(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
) -> None:
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING
    client.containers.get(Names(manager_id).container(REF)).restart(timeout=0)
    wait_until(lambda: runtime.process(REF) is Process.RUNNING, 2.5)
    runtime.kill(REF)
    assert runtime.process(REF) is Process.EXITED
    wait_until(lambda: not inspect(client, manager_id)["State"]["Running"])


@pytest.mark.parametrize("hang", ["pause", "SIGSTOP"])
def test_killing_one_that_hangs(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
    hang: str,
) -> None:
    runtime.start(REF, container)
    if hang == "pause":
        client.containers.get(Names(manager_id).container(REF)).pause()
    else:
        os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGSTOP)
    assert runtime.process(REF) is Process.RUNNING
    runtime.kill(REF)
    assert runtime.process(REF) is Process.EXITED
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING


@pytest.mark.parametrize("paused", [False, True])
def test_a_requested_stop_is_clean(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    paused: bool,
) -> None:
    runtime.start(REF, with_script(container, CLEAN_END))
    wait_until(lambda: "up" in told(runtime.logs(REF, 5)))
    if paused:
        client.containers.get(Names(manager_id).container(REF)).pause()
    runtime.request_stop(REF)
    wait_until(lambda: runtime.process(REF) is Process.EXITED)
    runtime.request_stop(REF)
    wait_until(lambda: "ended cleanly" in told(runtime.logs(REF, 5)))
    last = runtime.logs(REF, 1)
    assert told(last) == "ended cleanly"
    assert list(runtime.logs(REF, 5, after=last[-1].at)) == []


def test_the_exit_descriptor_tells_the_end(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(REF, container)
    descriptor = runtime.exit_descriptor(REF)
    if descriptor is None:
        pytest.skip("the engine's processes are not to be seen from here")
    try:
        assert not select.select([descriptor], [], [], 0)[0]
        os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGKILL)
        assert select.select([descriptor], [], [], 1)[0]
        assert runtime.process(REF) is Process.EXITED
        assert runtime.exit_descriptor(REF) is None
        runtime.start(REF, container)
        assert select.select([descriptor], [], [], 0)[0], "it is about the old process"
    finally:
        os.close(descriptor)


def test_a_number_that_names_another_process_is_not_believed(
    runtime: DockerRuntime, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote engine's process numbers mean other processes here."""
    real = os.pidfd_open
    monkeypatch.setattr("os.pidfd_open", lambda _: real(os.getpid()))
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: "0::/somewhere/else")
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING
    assert runtime.exit_descriptor(REF) is None


# --- Memory --------------------------------------------------------------------------------------


def test_memory_is_limited_and_measured(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
) -> None:
    # 40 MB of process memory (a line that does not end), and 20 MB of page cache.
    script = (
        f"head -c 20000000 /dev/zero > {DATA_DIRECTORY}/cached;"
        " (head -c 40000000 /dev/zero; echo written >&2; sleep 1000) | tail -n 1"
    )
    runtime.start(REF, replace(with_script(container, script), memory_bytes=400 * MB))
    wait_until(lambda: "written" in told(runtime.logs(REF, 5)))
    used = runtime.memory_used(REF)
    assert used is not None
    assert 40 * MB - 2 * MB < used < 120 * MB

    for limit in (800 * MB, 300 * MB, None):
        runtime.set_memory(REF, limit)
        host_config = inspect(client, manager_id)["HostConfig"]
        expected = limit or client.info()["MemTotal"]
        assert host_config["Memory"] == host_config["MemorySwap"] == expected
    with pytest.raises(RuntimeFailedError, match=r"uses .* MB now"):
        runtime.set_memory(REF, 10 * MB)
    runtime.kill(REF)
    assert runtime.memory_used(REF) is None
    runtime.start(REF, replace(with_script(container, script), memory_bytes=200 * MB))
    assert inspect(client, manager_id)["HostConfig"]["Memory"] == 200 * MB
