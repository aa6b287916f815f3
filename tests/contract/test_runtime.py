"""The runtime contract, on a real Docker engine.

The servers are shell scripts in the Redis image: what counts here is their processes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import docker
import pytest

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, FileContent, LaunchSpec
from hamanager.contracts.runtime import Container, Place, RuntimeEvent
from hamanager.errors import AddressTakenError, RuntimeFailedError
from hamanager.images import resolve_image
from hamanager.runtimes.docker import DockerRuntime
from hamanager.runtimes.docker_names import Names
from hamanager.values.snapshot import Process

MB = 1 << 20
PLACE = Place("db", "db.0")
SLEEP = "exec sleep 1000"
LISTEN = "exec redis-server --port 6000 --bind 0.0.0.0 --protected-mode no --save ''"
CLEAN_END = "trap 'echo ended cleanly; exit 0' TERM; echo up; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = docker.from_env(timeout=30)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> str:
    return resolve_image(client, "redis", None)


@pytest.fixture
def manager_id() -> str:
    return f"test{uuid.uuid4().hex[:8]}"


@pytest.fixture
def runtime(manager_id: str) -> Iterator[DockerRuntime]:
    made = DockerRuntime(manager_id)
    yield made
    made.destroy_service("db")
    made.destroy_service("other")
    made.close()


@pytest.fixture
def container(runtime: DockerRuntime, image: str) -> Container:
    host, port = runtime.reserve_address(frozenset())
    return Container(image, host, port, LaunchSpec(SLEEP, 6000))


def with_script(container: Container, script: str) -> Container:
    return replace(container, spec=replace(container.spec, script=script))


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def inspect(client: docker.DockerClient, manager_id: str, place: Place = PLACE) -> dict:  # type: ignore[type-arg]
    found: dict = client.api.inspect_container(Names(manager_id).container(place))  # type: ignore[type-arg]
    return found


def run_inside(client: docker.DockerClient, manager_id: str, command: str) -> str:
    inside = client.containers.get(Names(manager_id).container(PLACE))
    output = inside.exec_run(["/bin/sh", "-c", command]).output
    assert isinstance(output, bytes)
    return output.decode()


# --- Life ----------------------------------------------------------------------------------------


def test_life_of_an_instance(runtime: DockerRuntime, container: Container) -> None:
    assert runtime.process(PLACE) is Process.MISSING
    assert runtime.exit_descriptor(PLACE) is None
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING
    runtime.start(PLACE, container)
    runtime.kill(PLACE)
    assert runtime.process(PLACE) is Process.EXITED
    runtime.start(PLACE, container)  # at once: the engine may not have seen the end yet
    assert runtime.process(PLACE) is Process.RUNNING
    runtime.kill(PLACE)
    runtime.kill(PLACE)
    runtime.remove(PLACE, discard_data=True)
    assert runtime.process(PLACE) is Process.MISSING


def test_everything_is_idempotent_on_nothing(runtime: DockerRuntime) -> None:
    runtime.kill(PLACE)
    runtime.request_stop(PLACE)
    runtime.remove(PLACE, discard_data=False)
    runtime.remove(PLACE, discard_data=True)
    runtime.destroy_service("db")
    assert runtime.memory_used(PLACE) is None
    with pytest.raises(RuntimeFailedError, match=r"db\.0 has no container"):
        runtime.logs(PLACE, 10)
    with pytest.raises(RuntimeFailedError, match=r"db\.0 has no container"):
        runtime.set_memory(PLACE, 100 * MB)


def test_how_the_container_is_made(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    container = replace(container, memory_bytes=64 * MB)
    runtime.start(PLACE, container)
    found = inspect(client, manager_id)
    assert found["Name"].endswith("-db-0")
    assert runtime.labels(PLACE).items() <= found["Config"]["Labels"].items()
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["StopTimeout"] == 30
    host_config = found["HostConfig"]
    assert host_config["CapDrop"] == ["ALL"]
    assert host_config["SecurityOpt"] == ["no-new-privileges"]
    assert host_config["RestartPolicy"]["Name"] == "no"
    assert host_config["Memory"] == host_config["MemorySwap"] == 64 * MB
    assert host_config["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "3"},
    }
    assert host_config["PortBindings"] == {
        "6000/tcp": [{"HostIp": container.host, "HostPort": str(container.port)}]
    }
    volume = client.volumes.get(runtime.volume_name(PLACE))
    assert volume.attrs["Labels"] == dict(runtime.labels(PLACE))
    (network,) = found["NetworkSettings"]["Networks"]
    labels = client.networks.get(network).attrs["Labels"]
    assert labels["hamanager.service"] == "db"
    assert labels["hamanager.instance"] == "*"


def test_files_are_written_before_every_start(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    def started_with(text: str) -> str:
        files = {"server.conf": FileContent(text)}
        runtime.start(PLACE, replace(container, spec=replace(container.spec, files=files)))
        return run_inside(
            client,
            manager_id,
            f"cat {FILES_DIRECTORY}/server.conf; stat -c '%u:%g %a' {FILES_DIRECTORY}"
            f" {FILES_DIRECTORY}/server.conf {DATA_DIRECTORY}; touch {DATA_DIRECTORY}/mine",
        )

    owners = "10001:10001 700\n10001:10001 400\n10001:10001 700\n"
    assert started_with("secret-1\n") == "secret-1\n" + owners
    made = inspect(client, manager_id)
    runtime.kill(PLACE)
    assert started_with("secret-2\n") == "secret-2\n" + owners
    assert inspect(client, manager_id)["Id"] == made["Id"], "a file's change needs no new one"
    assert "secret-" not in json.dumps(inspect(client, manager_id))


def test_a_change_makes_the_container_anew_and_keeps_the_data(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(PLACE, with_script(container, f"echo 1 > {DATA_DIRECTORY}/kept; {SLEEP}"))
    wait_until(lambda: run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept") == "1\n")
    first = inspect(client, manager_id)
    runtime.kill(PLACE)
    runtime.start(PLACE, container)
    second = inspect(client, manager_id)
    assert second["Id"] != first["Id"]
    assert run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept") == "1\n"

    runtime.kill(PLACE)
    runtime.remove(PLACE, discard_data=False)
    renewed = replace(PLACE, generation=2)
    runtime.start(renewed, container)
    assert "No such file" in run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept")
    assert inspect(client, manager_id)["Config"]["Labels"]["hamanager.generation"] == "2"
    volumes = client.volumes.list(filters={"label": f"hamanager.manager={manager_id}"})
    assert {v.name for v in volumes} == {runtime.volume_name(PLACE), runtime.volume_name(renewed)}
    runtime.remove(renewed, discard_data=True)
    client.volumes.get(runtime.volume_name(PLACE))


def test_anonymous_volumes_of_the_image_go_with_the_container(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    name = f"hamanager-{manager_id}:volumes"
    made = client.containers.create(container.image, "true")
    made.commit(f"hamanager-{manager_id}", "volumes", changes="VOLUME /somewhere")
    made.remove()
    try:
        runtime.start(PLACE, replace(container, image=name))
        mounts = inspect(client, manager_id)["Mounts"]
        (anonymous,) = [m["Name"] for m in mounts if m["Destination"] == "/somewhere"]
        runtime.remove(PLACE, discard_data=False)
        with pytest.raises(docker.errors.NotFound):
            client.volumes.get(anonymous)
        client.volumes.get(runtime.volume_name(PLACE))
    finally:
        client.images.remove(name, force=True)


def test_a_container_that_lost_its_network_starts_again(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(PLACE, container)
    runtime.kill(PLACE)
    wait_until(lambda: not inspect(client, manager_id)["State"]["Running"])
    client.networks.get(Names(manager_id).network("db")).remove()
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING


def test_destroying_a_service_leaves_the_others(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    other = Place("other", "other.0")
    runtime.start(PLACE, container)
    runtime.remove(PLACE, discard_data=False)
    runtime.start(replace(PLACE, generation=2), container)
    runtime.start(other, replace(container, port=runtime.reserve_address(frozenset())[1]))
    stranger = DockerRuntime(f"{manager_id}x")
    stranger.destroy_service("db")
    stranger.close()
    assert runtime.process(PLACE) is Process.RUNNING

    runtime.destroy_service("db")
    runtime.destroy_service("db")
    mine = {"label": [f"hamanager.manager={manager_id}"]}
    everything = [
        *(c["Names"][0] for c in client.api.containers(all=True, filters=mine)),
        *(v["Name"] for v in client.api.volumes(filters=mine)["Volumes"]),
        *(n["Name"] for n in client.api.networks(filters=mine)),
    ]
    assert len(everything) == 3
    assert all("-other" in name for name in everything)
    assert runtime.process(other) is Process.RUNNING


def test_a_strangers_container_is_left_alone(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    name = Names(manager_id).container(PLACE)
    stranger = client.containers.create(container.image, "sleep 1000", name=name)
    try:
        assert runtime.process(PLACE) is Process.MISSING
        with pytest.raises(RuntimeFailedError, match="not made by this manager"):
            runtime.start(PLACE, container)
        with pytest.raises(RuntimeFailedError, match="not made by this manager"):
            runtime.remove(PLACE, discard_data=True)
    finally:
        stranger.remove(v=True)


# --- Addresses -----------------------------------------------------------------------------------


def test_the_address_serves_the_host_and_other_containers(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(PLACE, with_script(container, LISTEN))
    ping = f"redis-cli -h {container.host} -p {container.port} ping"

    def answers() -> bool:
        try:
            with socket.create_connection((container.host, container.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100) == b"+PONG\r\n"
        except OSError:
            return False

    wait_until(answers)
    assert run_inside(client, manager_id, ping) == "PONG\n"
    second = Place("db", "db.1")
    other = replace(container, port=runtime.reserve_address(frozenset())[1])
    runtime.start(second, with_script(other, f"{ping}; {SLEEP}"))
    wait_until(lambda: "PONG" in runtime.logs(second, 5))


def test_a_reserved_port_is_nobodys(runtime: DockerRuntime, container: Container) -> None:
    runtime.start(PLACE, container)
    runtime.kill(PLACE)
    free = [container.port, *range(20_000, 29_999)][:3]
    allowed = frozenset(range(20_000, 30_000)) - frozenset(free)
    with socket.socket() as occupied:
        occupied.bind((container.host, free[1]))
        occupied.listen()
        host, port = runtime.reserve_address(allowed)
    assert host == container.host
    assert port == free[2]
    with pytest.raises(RuntimeFailedError, match="no port between"):
        runtime.reserve_address(frozenset(range(20_000, 30_000)))


def test_the_advertised_host_wins(manager_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMANAGER_ADVERTISE_HOST", "127.0.0.2")
    for argument, expected in ((None, "127.0.0.2"), ("127.0.0.3", "127.0.0.3")):
        runtime = DockerRuntime(manager_id, argument)
        assert runtime.reserve_address(frozenset())[0] == expected
        runtime.close()


@pytest.mark.parametrize("by", ["a listener", "a container"])
def test_a_taken_port_is_named_and_leaves_nothing_behind(
    runtime: DockerRuntime, container: Container, by: str
) -> None:
    second = Place("db", "db.1")
    with socket.socket() as occupied:
        if by == "a listener":
            occupied.bind((container.host, container.port))
            occupied.listen()
        else:
            runtime.start(second, container)
        with pytest.raises(AddressTakenError, match=f"{container.host}:{container.port}"):
            runtime.start(PLACE, container)
        assert runtime.process(PLACE) is Process.MISSING
        moved = replace(container, port=runtime.reserve_address(frozenset())[1])
        runtime.start(PLACE, moved)
        assert runtime.process(PLACE) is Process.RUNNING


# --- Ends of processes ---------------------------------------------------------------------------


@pytest.fixture(params=["handles", "engine"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With process handles, and as it is with a remote engine, which has none here."""
    if request.param == "engine":
        monkeypatch.setattr(os, "pidfd_open", lambda _: (_ for _ in ()).throw(OSError()))
    return str(request.param)


def test_a_crash_is_seen_and_survived(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
) -> None:
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING
    os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGKILL)
    wait_until(
        lambda: runtime.process(PLACE) is Process.EXITED, 0.5 if either_way == "handles" else 5
    )
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING


def test_somebody_else_restarts_it(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    either_way: str,
) -> None:
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING
    client.containers.get(Names(manager_id).container(PLACE)).restart(timeout=0)
    wait_until(lambda: runtime.process(PLACE) is Process.RUNNING, 2.5)
    runtime.kill(PLACE)
    assert runtime.process(PLACE) is Process.EXITED
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
    runtime.start(PLACE, container)
    if hang == "pause":
        client.containers.get(Names(manager_id).container(PLACE)).pause()
    else:
        os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGSTOP)
    assert runtime.process(PLACE) is Process.RUNNING
    runtime.kill(PLACE)
    assert runtime.process(PLACE) is Process.EXITED
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING


@pytest.mark.parametrize("paused", [False, True])
def test_a_requested_stop_is_clean(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    paused: bool,
) -> None:
    runtime.start(PLACE, with_script(container, CLEAN_END))
    wait_until(lambda: "up" in runtime.logs(PLACE, 5))
    if paused:
        client.containers.get(Names(manager_id).container(PLACE)).pause()
    runtime.request_stop(PLACE)
    wait_until(lambda: runtime.process(PLACE) is Process.EXITED)
    runtime.request_stop(PLACE)
    wait_until(lambda: "ended cleanly" in runtime.logs(PLACE, 5))
    assert runtime.logs(PLACE, 1) == "ended cleanly\n"


def test_the_exit_descriptor_tells_the_end(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(PLACE, container)
    descriptor = runtime.exit_descriptor(PLACE)
    if descriptor is None:
        pytest.skip("the engine's processes are not to be seen from here")
    try:
        assert not select.select([descriptor], [], [], 0)[0]
        os.kill(inspect(client, manager_id)["State"]["Pid"], signal.SIGKILL)
        assert select.select([descriptor], [], [], 1)[0]
        assert runtime.process(PLACE) is Process.EXITED
        assert runtime.exit_descriptor(PLACE) is None
        runtime.start(PLACE, container)
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
    runtime.start(PLACE, container)
    assert runtime.process(PLACE) is Process.RUNNING
    assert runtime.exit_descriptor(PLACE) is None


# --- Events --------------------------------------------------------------------------------------


def test_events_tell_the_life_and_end_when_told(
    runtime: DockerRuntime, container: Container, manager_id: str
) -> None:
    live: list[RuntimeEvent] = []
    stop = threading.Event()

    def follow() -> None:
        for event in runtime.events(stop.is_set):
            live.append(event)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not live:
            assert time.monotonic() < deadline, "no event ever came"
            runtime.start(PLACE, container)
            runtime.kill(PLACE)
        stranger = DockerRuntime(f"{manager_id}x")
        stranger.start(PLACE, replace(container, port=stranger.reserve_address(frozenset())[1]))
        stranger.destroy_service("db")
        stranger.close()
        wait_until(lambda: live[-1].what == "exited")
        live.clear()
        runtime.start(PLACE, container)
        runtime.kill(PLACE)
        wait_until(lambda: len(live) == 2)
        runtime.remove(PLACE, discard_data=True)
        wait_until(lambda: len(live) == 3)
        expected = [RuntimeEvent("db", "db.0", what) for what in ("started", "exited", "removed")]
        assert live == expected
    finally:
        stop.set()
        thread.join(1.0)
    assert not thread.is_alive()


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
    runtime.start(PLACE, replace(with_script(container, script), memory_bytes=400 * MB))
    wait_until(lambda: "written" in runtime.logs(PLACE, 5))
    used = runtime.memory_used(PLACE)
    assert used is not None
    assert 40 * MB - 2 * MB < used < 120 * MB

    for limit in (800 * MB, 300 * MB, None):
        runtime.set_memory(PLACE, limit)
        host_config = inspect(client, manager_id)["HostConfig"]
        expected = limit or client.info()["MemTotal"]
        assert host_config["Memory"] == host_config["MemorySwap"] == expected
    with pytest.raises(RuntimeFailedError, match=r"uses .* MB now"):
        runtime.set_memory(PLACE, 10 * MB)
    runtime.kill(PLACE)
    assert runtime.memory_used(PLACE) is None
    runtime.start(PLACE, replace(with_script(container, script), memory_bytes=200 * MB))
    assert inspect(client, manager_id)["HostConfig"]["Memory"] == 200 * MB


# --- An engine that fails ------------------------------------------------------------------------


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    runtime = DockerRuntime("nobody")
    assert runtime.process(PLACE) is Process.UNKNOWN
    assert runtime.memory_used(PLACE) is None
    assert runtime.exit_descriptor(PLACE) is None
    container = Container(image, "127.0.0.1", 20_000, LaunchSpec(SLEEP, 6000))
    for change in (
        lambda: runtime.start(PLACE, container),
        lambda: runtime.kill(PLACE),
        lambda: runtime.destroy_service("db"),
        lambda: runtime.reserve_address(frozenset()),
        lambda: runtime.resolve_image("redis", None),
    ):
        with pytest.raises(RuntimeFailedError) as failure:
            change()
        assert str(failure.value) == (
            "the Docker engine does not answer at unix:///nowhere/docker.sock;"
            " start it or set DOCKER_HOST"
        )
    runtime.close()


def test_an_engine_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    path = f"{tmp_path}/docker.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        runtime = DockerRuntime("nobody")
        began = time.monotonic()
        assert runtime.process(PLACE) is Process.UNKNOWN
        assert time.monotonic() - began < 2.5
        runtime.close()


def test_a_running_process_is_known_and_killed_while_the_engine_hangs(
    runtime: DockerRuntime, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.start(PLACE, container)
    descriptor = runtime.exit_descriptor(PLACE)
    if descriptor is None:
        pytest.skip("the engine's processes are not to be seen from here")
    os.close(descriptor)

    def hangs(*_: object) -> None:
        raise docker.errors.DockerException("no answer")

    with monkeypatch.context() as patched:
        patched.setattr("hamanager.runtimes.docker_engine.Engine.client", hangs)
        assert runtime.process(PLACE) is Process.RUNNING
        runtime.kill(PLACE)
        assert runtime.process(PLACE) is Process.EXITED
        time.sleep(1.1)  # past the time for which the handle alone is believed
        assert runtime.process(PLACE) is Process.EXITED


def test_an_image_that_is_not_there(runtime: DockerRuntime, container: Container) -> None:
    absent = replace(container, image="hamanager-nowhere/nothing:none")
    with pytest.raises(RuntimeFailedError, match="the image hamanager-nowhere/nothing:none"):
        runtime.start(PLACE, absent)
    with pytest.raises(RuntimeFailedError, match="'oracle' is none of the engines"):
        runtime.resolve_image("oracle", None)
