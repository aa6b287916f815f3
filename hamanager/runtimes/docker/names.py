"""What things are called on the Docker engine, and the labels by which they are found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.model.instance import index_of

MANAGER = "hamanager.manager"
"""Its value is the installation's id: that of the first manager, which was the only one once."""
SERVICE = "hamanager.service"
INSTANCE = "hamanager.instance"
GENERATION = "hamanager.generation"
ADDRESS = "hamanager.address"
ADMIN_PORT = "hamanager.admin-port"
LAUNCH = "hamanager.launch"
HOLDS_STOP = "hamanager.holds-stop"
"""Its process 1 holds SIGTERM back (`LaunchSpec.holds_stop`)."""
SIDECAR = "hamanager.helper"

LAYOUT = "2"
"""Grows when containers are made in another way: existing ones are then made anew."""


class Names:
    """The names of one installation's containers, volumes and networks.

    Several installations share an engine: nothing is touched that lacks this one's label. The
    managers of one installation find each other's.
    """

    def __init__(self, installation_id: str) -> None:
        self._installation_id = installation_id

    def container(self, ref: InstanceRef) -> str:
        """`hamanager-INSTALLATION-db-0`."""
        return f"{self.network()}-{ref.service}-{index_of(ref.instance)}"

    def volume(self, ref: InstanceRef) -> str:
        """`hamanager-INSTALLATION-db-0-g1`."""
        return f"{self.container(ref)}-g{ref.generation}"

    def sidecar(self, name: str) -> str:
        """`hamanager-INSTALLATION.haproxy`; no service's container is called so."""
        return f"hamanager-{self._installation_id}.{name}"

    def helper_labels(self, name: str) -> dict[str, str]:
        """Of a process of the manager's own."""
        return {MANAGER: self._installation_id, SIDECAR: name}

    def network(self) -> str:
        """`hamanager-INSTALLATION`, of all containers."""
        return f"hamanager-{self._installation_id}"

    def labels(self, ref: InstanceRef) -> dict[str, str]:
        """Of a container and of its volume."""
        return {
            MANAGER: self._installation_id,
            SERVICE: ref.service,
            INSTANCE: ref.instance,
            GENERATION: str(ref.generation),
        }

    def network_labels(self) -> dict[str, str]:
        """Of the network, which belongs to no service."""
        return {MANAGER: self._installation_id}

    def filters(self, service: str | None = None) -> dict[str, Any]:
        """Select this installation's things, or those of one of its services."""
        labels = [f"{MANAGER}={self._installation_id}"]
        if service is not None:
            labels.append(f"{SERVICE}={service}")
        return {"label": labels}

    def owns(self, labels: Mapping[str, str] | None) -> bool:
        """Whether something with these labels was made by a manager of this installation."""
        return (labels or {}).get(MANAGER) == self._installation_id


def launch_hash(ref: InstanceRef, container: Container) -> str:
    """Changes with whatever only a new container can take over; no secret goes into it."""
    parts = [
        LAYOUT,
        container.image,
        container.host,
        container.port,
        container.admin_port,
        container.launch.port,
        container.launch.admin_port,
        container.launch.stop_signal,
        container.launch.script,
        ref.generation,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
