"""The runtime contract on a real Docker engine: containers, their data, their addresses."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import docker
import pytest

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, FileContent
from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.errors import AddressTakenError, RuntimeFailedError
from hamanager.model.snapshot import Process
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.runtimes import (
    LISTEN,
    MB,
    REF,
    SLEEP,
    inspect,
    run_inside,
    told,
    wait_until,
    with_script,
)

# --- Life ----------------------------------------------------------------------------------------


def test_life_of_an_instance(runtime: DockerRuntime, container: Container) -> None:
    assert runtime.process(REF) is Process.MISSING
    assert runtime.exit_descriptor(REF) is None
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING
    runtime.start(REF, container)
    runtime.kill(REF)
    assert runtime.process(REF) is Process.EXITED
    runtime.start(REF, container)  # at once: the engine may not have seen the end yet
    assert runtime.process(REF) is Process.RUNNING
    runtime.kill(REF)
    runtime.kill(REF)
    runtime.remove(REF, discard_data=True)
    assert runtime.process(REF) is Process.MISSING


def test_everything_is_idempotent_on_nothing(runtime: DockerRuntime) -> None:
    runtime.kill(REF)
    runtime.request_stop(REF)
    runtime.remove(REF, discard_data=False)
    runtime.remove(REF, discard_data=True)
    runtime.destroy_service("db")
    assert runtime.memory_used(REF) is None
    assert list(runtime.logs(REF, 10)) == []
    with pytest.raises(RuntimeFailedError, match=r"db\.0 has no container"):
        runtime.set_memory(REF, 100 * MB)


def test_how_the_container_is_made(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    container = replace(container, memory_bytes=64 * MB)
    runtime.start(REF, container)
    found = inspect(client, manager_id)
    assert found["Name"].endswith("-db-0")
    assert runtime.labels(REF).items() <= found["Config"]["Labels"].items()
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
    volume = client.volumes.get(runtime.volume_name(REF))
    assert volume.attrs["Labels"] == dict(runtime.labels(REF))
    (network,) = found["NetworkSettings"]["Networks"]
    labels = client.networks.get(network).attrs["Labels"]
    assert labels == {"hamanager.manager": manager_id}


def test_files_are_written_before_every_start(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    def started_with(text: str) -> str:
        files = {"server.conf": FileContent(text)}
        runtime.start(REF, replace(container, launch=replace(container.launch, files=files)))
        return run_inside(
            client,
            manager_id,
            f"cat {FILES_DIRECTORY}/server.conf; stat -c '%u:%g %a' {FILES_DIRECTORY}"
            f" {FILES_DIRECTORY}/server.conf {DATA_DIRECTORY}; touch {DATA_DIRECTORY}/mine",
        )

    owners = "10001:10001 700\n10001:10001 400\n10001:10001 700\n"
    assert started_with("secret-1\n") == "secret-1\n" + owners
    made = inspect(client, manager_id)
    runtime.kill(REF)
    assert started_with("secret-2\n") == "secret-2\n" + owners
    assert inspect(client, manager_id)["Id"] == made["Id"], "a file's change needs no new one"
    assert "secret-" not in json.dumps(inspect(client, manager_id))


def test_a_change_makes_the_container_anew_and_keeps_the_data(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(REF, with_script(container, f"echo 1 > {DATA_DIRECTORY}/kept; {SLEEP}"))
    wait_until(lambda: run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept") == "1\n")
    first = inspect(client, manager_id)
    runtime.kill(REF)
    runtime.start(REF, container)
    second = inspect(client, manager_id)
    assert second["Id"] != first["Id"]
    assert run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept") == "1\n"

    runtime.kill(REF)
    runtime.remove(REF, discard_data=False)
    renewed = replace(REF, generation=2)
    runtime.start(renewed, container)
    assert "No such file" in run_inside(client, manager_id, f"cat {DATA_DIRECTORY}/kept")
    assert inspect(client, manager_id)["Config"]["Labels"]["hamanager.generation"] == "2"
    volumes = client.volumes.list(filters={"label": f"hamanager.manager={manager_id}"})
    assert {v.name for v in volumes} == {runtime.volume_name(REF), runtime.volume_name(renewed)}
    runtime.remove(renewed, discard_data=True)
    client.volumes.get(runtime.volume_name(REF))


def test_anonymous_volumes_of_the_image_go_with_the_container(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    name = f"hamanager-{manager_id}:volumes"
    made = client.containers.create(container.image, "true")
    made.commit(f"hamanager-{manager_id}", "volumes", changes="VOLUME /somewhere")
    made.remove()
    try:
        runtime.start(REF, replace(container, image=name))
        mounts = inspect(client, manager_id)["Mounts"]
        (anonymous,) = [m["Name"] for m in mounts if m["Destination"] == "/somewhere"]
        runtime.remove(REF, discard_data=False)
        with pytest.raises(docker.errors.NotFound):
            client.volumes.get(anonymous)
        client.volumes.get(runtime.volume_name(REF))
    finally:
        client.images.remove(name, force=True)


def test_a_container_that_lost_its_network_starts_again(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(REF, container)
    runtime.kill(REF)
    wait_until(lambda: not inspect(client, manager_id)["State"]["Running"])
    client.networks.get(Names(manager_id).network()).remove()
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING


def test_destroying_a_service_leaves_the_others(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    other = InstanceRef("other", "other.0")
    runtime.start(REF, container)
    runtime.remove(REF, discard_data=False)
    runtime.start(replace(REF, generation=2), container)
    runtime.start(other, replace(container, port=runtime.reserve_address(frozenset())[1]))
    stranger = DockerRuntime(f"{manager_id}x")
    stranger.destroy_service("db")
    stranger.close()
    assert runtime.process(REF) is Process.RUNNING

    runtime.destroy_service("db")
    runtime.destroy_service("db")
    mine = {"label": [f"hamanager.manager={manager_id}"]}
    everything = [
        *(c["Names"][0] for c in client.api.containers(all=True, filters=mine)),
        *(v["Name"] for v in client.api.volumes(filters=mine)["Volumes"]),
        *(n["Name"] for n in client.api.networks(filters=mine)),
    ]
    assert len(everything) == 3
    assert all("-other" in name for name in everything[:2])
    assert runtime.process(other) is Process.RUNNING


def test_a_strangers_container_is_left_alone(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    name = Names(manager_id).container(REF)
    stranger = client.containers.create(container.image, "sleep 1000", name=name)
    try:
        assert runtime.process(REF) is Process.MISSING
        with pytest.raises(RuntimeFailedError, match="not made by this manager"):
            runtime.start(REF, container)
        with pytest.raises(RuntimeFailedError, match="not made by this manager"):
            runtime.remove(REF, discard_data=True)
    finally:
        stranger.remove(v=True)


def test_what_data_set_aside_take_on_disk(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    write = f"dd if=/dev/zero of={DATA_DIRECTORY}/data bs=1024 count=3000; {SLEEP}"
    runtime.start(REF, with_script(container, write))
    count = f"wc -c < {DATA_DIRECTORY}/data"
    wait_until(lambda: run_inside(client, manager_id, count).strip() == "3072000")
    runtime.kill(REF)
    runtime.remove(REF, discard_data=False)
    assert 3_000 * 1024 <= runtime.volume_bytes(REF, container.image) < 4_000 * 1024
    other = replace(REF, generation=9)
    with pytest.raises(RuntimeFailedError, match="there is no volume"):
        runtime.volume_bytes(other, container.image)
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get(runtime.volume_name(other))
    mine = Names(manager_id).filters()
    assert client.containers.list(all=True, filters=mine) == [], "nothing of the counting is left"
    runtime.remove(REF, discard_data=True)


# --- Addresses -----------------------------------------------------------------------------------


def test_the_address_serves_the_host_and_other_containers(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    runtime.start(REF, with_script(container, LISTEN))
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
    second = InstanceRef("db", "db.1")
    other = replace(container, port=runtime.reserve_address(frozenset())[1])
    runtime.start(second, with_script(other, f"{ping}; {SLEEP}"))
    wait_until(lambda: "PONG" in told(runtime.logs(second, 5)))


def test_a_reserved_port_is_nobodys(runtime: DockerRuntime, container: Container) -> None:
    runtime.start(REF, container)
    runtime.kill(REF)
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
    second = InstanceRef("db", "db.1")
    with socket.socket() as occupied:
        if by == "a listener":
            occupied.bind((container.host, container.port))
            occupied.listen()
        else:
            runtime.start(second, container)
        with pytest.raises(AddressTakenError, match=f"{container.host}:{container.port}"):
            runtime.start(REF, container)
        assert runtime.process(REF) is Process.MISSING
        moved = replace(container, port=runtime.reserve_address(frozenset())[1])
        runtime.start(REF, moved)
        assert runtime.process(REF) is Process.RUNNING
