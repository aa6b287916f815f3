"""The one network of an installation's containers on an engine; see docs/decisions/0027.

Servers reach each other by the ports that are published on the host, never directly: so the network
lets no container of it speak to another one, whosever service it belongs to.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.engine import says
from hamanager.runtimes.docker.names import SERVICE, Names

VARIABLE = "HAMANAGER_NETWORK"
"""Names a network of the operator's, which is used as it is and never removed."""
BETWEEN_CONTAINERS = "com.docker.network.bridge.enable_icc"
BRIDGE_NAME = "com.docker.network.bridge.name"
MOST_PORTS = 1023
"""Of a Linux bridge (BR_MAX_PORTS): so many containers, however many addresses there are."""
INTERFACES = Path("/sys/class/net")


class Network:
    """Made when the first container needs it, removed with the last one. Thread-safe."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._lock = threading.RLock()
        """Between the network's being there and a container's that counts for it."""
        self._works = False
        """Servers are known to reach each other's published ports."""

    @property
    def name(self) -> str:
        """Of the operator's network, or of the installation's own."""
        return os.environ.get(VARIABLE) or self._names.network()

    def attach(self, client: DockerClient, create: Callable[[str], None]) -> None:
        """Have the network, then make a container that joins it when it starts."""
        with self._lock:
            self._ensure(client, between_containers=False)
            create(self.name)

    def start(self, client: DockerClient, name: str, again: Callable[[], None]) -> None:
        """Start a container. The very first one shows whether the engine has its userland proxy,
        without which a published port of a container leads to none in the same network that keeps
        its containers apart: then the network is made anew, and `again` makes the container."""
        if self._works or os.environ.get(VARIABLE):
            client.api.start(name)
            return
        with self._lock:
            client.api.start(name)
            if not self._lacks_proxy(client):
                return
            client.api.remove_container(name, v=True, force=True)
            client.api.remove_network(self.name)
            self._ensure(client, between_containers=True)
            again()
            client.api.start(name)

    def remove_unused(self, client: DockerClient) -> None:
        """Remove the installation's network, unless a container (also one that does not run) is
        there to need it."""
        with self._lock:
            filters = self._names.filters()
            made = client.api.containers(all=True, filters=filters)
            if any(SERVICE in container["Labels"] for container in made):
                return
            try:
                found = client.api.inspect_network(self._names.network())
                if self._names.owns(found["Labels"]):
                    client.api.remove_network(found["Id"])
                    self._works = False
            except NotFound:
                return
            except APIError as error:
                # Another manager's container has just joined it.
                if not says(error, "active endpoints"):
                    raise

    def full(self, client: DockerClient, error: APIError) -> RuntimeFailedError | None:
        """What is wrong when that error means that no more containers have room in it."""
        if says(error, "exchange full"):
            return RuntimeFailedError(
                f"the Docker network {self.name} is full: a bridge carries {MOST_PORTS} containers;"
                " put services on another host",
                permanent=True,
            )
        if not says(error, "no available ipv4 addresses", "no available ip addresses"):
            return None
        found = client.api.inspect_network(self.name)
        ranges = ", ".join(c["Subnet"] for c in found["IPAM"]["Config"] or [] if "Subnet" in c)
        return RuntimeFailedError(
            f"the Docker network {self.name} ({ranges}) has no address left: destroy services, or"
            f" make a larger network and name it in {VARIABLE}",
            permanent=True,
        )

    def _ensure(self, client: DockerClient, *, between_containers: bool) -> None:
        name = self.name
        try:
            found: Mapping[str, Any] = client.api.inspect_network(name)
        except NotFound:
            if os.environ.get(VARIABLE):
                raise RuntimeFailedError(
                    f"there is no Docker network {name}, which {VARIABLE} names: make it, or unset"
                    " the variable",
                    permanent=True,
                ) from None
            found = self._made(client, between_containers=between_containers)
        if not os.environ.get(VARIABLE) and not self._names.owns(found["Labels"]):
            raise RuntimeFailedError(
                f"the network {name} was not made by this manager; rename or remove it",
                permanent=True,
            )

    def _made(self, client: DockerClient, *, between_containers: bool) -> Mapping[str, Any]:
        name = self._names.network()
        try:
            # An engine allows two networks of one name unless it is asked to check.
            client.api.create_network(
                name,
                driver="bridge",
                check_duplicate=True,
                labels=self._names.network_labels(),
                options={BETWEEN_CONTAINERS: str(between_containers).lower()},
            )
        except APIError as error:
            if says(error, "address pool"):
                raise RuntimeFailedError(
                    f"the Docker engine has no range of addresses left for the network {name}:"
                    " remove networks that nobody uses, or name one of yours in"
                    f" {VARIABLE}",
                    permanent=True,
                ) from error
            if not says(error, "already exists"):
                raise
        found: Mapping[str, Any] = client.api.inspect_network(name)
        return found

    def _lacks_proxy(self, client: DockerClient) -> bool:
        """As this machine's kernel shows it: without the proxy the bridge sends packets back to
        where they came from. Of another machine's engine nothing is to be seen here."""
        try:
            found = client.api.inspect_network(self.name)
        except NotFound:
            return False  # the container has a network of its service's, as they had once
        options = found["Options"] or {}
        self._works = True
        if options.get(BETWEEN_CONTAINERS) != "false":
            return False
        bridge = INTERFACES / options.get(BRIDGE_NAME, f"br-{found['Id'][:12]}")
        try:
            modes = [path.read_text().strip() for path in bridge.glob("brif/*/hairpin_mode")]
        except OSError:
            return False
        return "1" in modes
