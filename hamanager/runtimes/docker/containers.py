"""Making and discarding containers and volumes: single, repeatable steps.

All of them raise what the docker package raises; `docker.py` puts that into sentences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.types import LogConfig

from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.address import bind_address
from hamanager.runtimes.docker.archive import SERVER_UID, launch_archive
from hamanager.runtimes.docker.engine import says
from hamanager.runtimes.docker.names import (
    ADDRESS,
    ADMIN_PORT,
    HOLDS_STOP,
    LAUNCH,
    Names,
    launch_hash,
)

DISCARD_SECONDS = 10
"""How long something may be in use by what is being removed at the same time."""
RETRY_SECONDS = 0.1


def inspect(client: DockerClient, names: Names, ref: InstanceRef) -> dict[str, Any] | None:
    """The engine's description of an instance's container, or None.

    Raises:
        RuntimeFailedError: a container of that name was made by somebody else.
    """
    name = names.container(ref)
    try:
        found: dict[str, Any] = client.api.inspect_container(name)
    except NotFound:
        return None
    if not names.owns(found["Config"]["Labels"]):
        raise RuntimeFailedError(
            f"the container {name} was not made by this manager; rename or remove it",
            permanent=True,
        )
    return found


def create(
    client: DockerClient, names: Names, ref: InstanceRef, container: Container, network: str
) -> None:
    """Make the container, not started yet, and the volume that it needs."""
    launch = container.launch
    if not launch.own_command:
        _ensure_volume(client, names, ref)
    api = client.api
    host_config = api.create_host_config(
        network_mode=network,
        port_bindings=_published(container),
        binds={}
        if launch.own_command
        else {names.volume(ref): {"bind": DATA_DIRECTORY, "mode": "rw"}},
        # Only the loop starts servers: one that came back by itself might take writes.
        restart_policy={"Name": "no", "MaximumRetryCount": 0},
        mem_limit=container.memory_bytes,
        # The same number: no swap on top, which would turn a limit into a stall.
        memswap_limit=container.memory_bytes,
        # Images of others often begin as root and change their user, for which they need rights;
        # none needs to forge packets in the network that it shares with databases.
        cap_drop=["NET_RAW"] if launch.own_command else ["ALL"],
        security_opt=["no-new-privileges"],
        log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
    )
    api.create_container(
        container.image,
        None if launch.own_command else ["/bin/sh", "-c", launch.script],
        name=names.container(ref),
        entrypoint=None if launch.own_command else [],
        user=None if launch.own_command else f"{SERVER_UID}:{SERVER_UID}",
        ports=list(_published(container)),
        host_config=host_config,
        healthcheck={"test": ["NONE"]},
        stop_signal=launch.stop_signal,
        stop_timeout=math.ceil(launch.stop_seconds),
        labels={
            **names.labels(ref),
            ADDRESS: f"{container.host}:{container.port}",
            **({ADMIN_PORT: str(container.admin_port)} if container.admin_port else {}),
            **({HOLDS_STOP: "yes"} if launch.holds_stop else {}),
            LAUNCH: launch_hash(ref, container),
        },
    )


def _published(container: Container) -> dict[int | str, tuple[str, int]]:
    """The ports inside, with the address of each on the host."""
    host, launch = bind_address(container.host), container.launch
    published: dict[int | str, tuple[str, int]] = {launch.port: (host, container.port)}
    if launch.admin_port is not None and container.admin_port is not None:
        published[launch.admin_port] = (host, container.admin_port)
    return published


def write_files(client: DockerClient, name: str, container: Container) -> None:
    """Put the spec's files into a container that does not run, and make its volume the server
    user's: an archive written over a mounted directory sets that directory's owner."""
    if not container.launch.own_command:
        client.api.put_archive(name, "/", launch_archive(container.launch))


def limit_memory(client: DockerClient, name: str, memory_bytes: int | None) -> None:
    """Change the limit; None makes it as large as the machine, as an engine takes a limit away
    only by making the container anew. Both numbers in one call: in two, one of them would be
    refused for crossing the other."""
    wanted = memory_bytes or int(client.info()["MemTotal"])
    client.api.update_container(name, mem_limit=wanted, memswap_limit=wanted)


def resume(client: DockerClient, name: str) -> None:
    """Resume a paused container. After a signal the engine (all versions tried) does so by itself,
    at the same time: then its refusal means that there is nothing left to do."""
    try:
        client.api.unpause(name)
    except APIError:
        if client.api.inspect_container(name)["State"]["Paused"]:
            raise


def discard_container(client: DockerClient, name: str) -> None:
    """Remove a container, running or not, with the volumes that its image declares; named
    volumes stay."""
    try:
        client.api.remove_container(name, v=True, force=True)
        return
    except NotFound:
        return
    except APIError as error:
        if not says(error, "already in progress"):
            raise
    try:
        client.api.wait(name, timeout=DISCARD_SECONDS, condition="removed")
    except NotFound:
        return


def discard_volume(client: DockerClient, names: Names, volume: str) -> None:
    """Remove one of this manager's volumes with what it holds."""
    try:
        labels = client.api.inspect_volume(volume)["Labels"]
    except NotFound:
        return
    if not names.owns(labels):
        raise RuntimeFailedError(
            f"the volume {volume} was not made by this manager; it was kept", permanent=True
        )
    _while_in_use(partial(client.api.remove_volume, volume))


def discard_service(client: DockerClient, names: Names, service: str) -> list[str]:
    """Remove everything that carries the service's labels; returns the containers' names."""
    filters = names.filters(service)
    found = client.api.containers(all=True, filters=filters)
    for container in found:
        discard_container(client, container["Id"])
    for volume in client.api.volumes(filters=filters)["Volumes"] or []:
        discard_volume(client, names, volume["Name"])
    # Of its own, as services had it once.
    for network in client.api.networks(filters=filters):
        _while_in_use(partial(client.api.remove_network, network["Id"]))
    return [container["Names"][0].lstrip("/") for container in found if container["Names"]]


def is_address_taken(error: APIError) -> bool:
    """Whether a start failed for its port: the first words are the operating system's, the
    second the engine's own list's."""
    return says(error, "address already in use", "port is already allocated")


def _ensure_volume(client: DockerClient, names: Names, ref: InstanceRef) -> None:
    name = names.volume(ref)
    # Returns the existing one, whatever its labels, where there is one.
    made = client.api.create_volume(name, labels=names.labels(ref))
    if not names.owns(made["Labels"]):
        raise RuntimeFailedError(
            f"the volume {name} was not made by this manager; rename or remove it",
            permanent=True,
        )


def _while_in_use(remove: Callable[[], object]) -> None:
    """Remove something that a container being removed may still hold for a moment."""
    deadline = time.monotonic() + DISCARD_SECONDS
    while True:
        try:
            remove()
            return
        except NotFound:
            return
        except APIError as error:
            in_use = says(error, "in use", "active endpoints", "already in progress")
            if not in_use or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)
