"""The runtime contract on a real Docker engine: the one network of all services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest

from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.errors import RuntimeFailedError
from hamanager.model.snapshot import Process
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.networks import VARIABLE
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.runtimes import LISTEN, REF, inspect, run_inside, wait_until, with_script

OTHER = InstanceRef("other", "other.0")


@pytest.fixture
def elsewhere(runtime: DockerRuntime, container: Container) -> Container:
    """At an address of its own."""
    return replace(container, port=runtime.reserve_address(frozenset({container.port}))[1])


@pytest.fixture
def own_network(client: docker.DockerClient, manager_id: str) -> Iterator[str]:
    """An operator's, with room for one container."""
    pool = docker.types.IPAMPool(subnet="10.254.254.0/30", gateway="10.254.254.1")
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    made = client.networks.create(f"{manager_id}-own", driver="bridge", ipam=ipam)
    yield str(made.name)
    made.remove()


def test_servers_reach_each_other_by_their_published_ports_only(
    runtime: DockerRuntime,
    container: Container,
    elsewhere: Container,
    client: docker.DockerClient,
    manager_id: str,
) -> None:
    def asks(host: str, port: int) -> str:
        return run_inside(client, manager_id, f"timeout 2 redis-cli -h {host} -p {port} ping")

    runtime.start(REF, container)
    runtime.start(OTHER, with_script(elsewhere, LISTEN))
    wait_until(lambda: "PONG" in asks(elsewhere.host, elsewhere.port))
    found = inspect(client, manager_id, OTHER)["NetworkSettings"]["Networks"]
    mine = inspect(client, manager_id)["NetworkSettings"]["Networks"]
    assert list(found) == list(mine) == [Names(manager_id).network()]
    (network,) = found.values()
    assert "PONG" not in asks(network["IPAddress"], 6000)


def test_the_network_goes_with_the_last_container(
    runtime: DockerRuntime,
    container: Container,
    elsewhere: Container,
    client: docker.DockerClient,
    manager_id: str,
) -> None:
    def there() -> bool:
        return bool(client.networks.list(names=[Names(manager_id).network()]))

    runtime.start(REF, container)
    runtime.start(OTHER, elsewhere)
    runtime.kill(OTHER)
    runtime.destroy_service("db")
    assert there(), "a container that does not run needs it to start"
    runtime.destroy_service("other")
    assert not there()
    runtime.start(REF, container)
    assert runtime.process(REF) is Process.RUNNING


def test_a_service_in_a_network_of_its_own_goes_on_and_takes_it_along(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    labels = {**runtime.labels(REF), "hamanager.instance": "*", "hamanager.generation": "*"}
    name = f"hamanager-{manager_id}-db"
    client.networks.create(name, driver="bridge", check_duplicate=True, labels=labels)
    made = client.containers.create(
        container.image,
        "sleep 1000",
        name=Names(manager_id).container(REF),
        labels=dict(runtime.labels(REF)),
        network=name,
    )
    made.start()
    runtime.start(REF, container)
    assert inspect(client, manager_id)["Id"] == made.id
    assert runtime.process(REF) is Process.RUNNING
    runtime.destroy_service("db")
    assert client.networks.list(names=[name]) == []


def test_a_full_network_is_told(
    runtime: DockerRuntime,
    container: Container,
    elsewhere: Container,
    own_network: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, own_network)
    runtime.start(REF, container)
    told = rf"{own_network} \(10\.254\.254\.0/30\) has no address left.*{VARIABLE}"
    with pytest.raises(RuntimeFailedError, match=told):
        runtime.start(OTHER, elsewhere)
    assert runtime.process(OTHER) is Process.MISSING
    runtime.destroy_service("db")
    runtime.start(OTHER, elsewhere)
    runtime.destroy_service("other")


def test_a_network_that_is_not_there_is_told(
    runtime: DockerRuntime, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "nowhere")
    with pytest.raises(RuntimeFailedError, match=rf"no Docker network nowhere.*{VARIABLE}"):
        runtime.start(REF, container)


def test_a_strangers_network_is_left_alone(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    stranger = client.networks.create(Names(manager_id).network(), driver="bridge")
    try:
        with pytest.raises(RuntimeFailedError, match="not made by this manager"):
            runtime.start(REF, container)
        runtime.destroy_service("db")
    finally:
        stranger.remove()
