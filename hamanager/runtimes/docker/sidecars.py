"""Containers of the manager's own, such as the proxy: on the host's network, always restarted."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from docker import DockerClient
from docker.errors import NotFound
from docker.types import LogConfig

from hamanager.contracts.runtime import Sidecar
from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.archive import SERVER_UID
from hamanager.runtimes.docker.containers import discard_container
from hamanager.runtimes.docker.names import LAUNCH, Names


def start(client: DockerClient, names: Names, sidecar: Sidecar) -> None:
    """Have the helper's container run; one that was made for something else is made anew."""
    name = names.sidecar(sidecar.name)
    uid = _user(sidecar)
    wanted = hashlib.sha256(
        json.dumps(
            [
                sidecar.image,
                sidecar.script,
                *map(str, sidecar.reads),
                *map(str, sidecar.writes),
                uid,
            ]
        ).encode()
    ).hexdigest()[:16]
    found = _inspect(client, names, name)
    if found is not None and found["Config"]["Labels"].get(LAUNCH) != wanted:
        discard_container(client, name)
        found = None
    if found is None:
        _create(client, names, sidecar, uid, wanted)
    client.api.start(name)


def remove(client: DockerClient, names: Names, name: str) -> None:
    """Remove the helper's container, running or not."""
    if _inspect(client, names, names.sidecar(name)) is not None:
        discard_container(client, names.sidecar(name))


def _create(client: DockerClient, names: Names, sidecar: Sidecar, uid: int, launch: str) -> None:
    api = client.api
    host_config = api.create_host_config(
        network_mode="host",
        binds={
            str(sidecar.reads[0]): {"bind": sidecar.reads[1], "mode": "ro"},
            str(sidecar.writes[0]): {"bind": sidecar.writes[1], "mode": "rw"},
        },
        restart_policy={"Name": "always", "MaximumRetryCount": 0},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
    )
    api.create_container(
        sidecar.image,
        ["/bin/sh", "-c", sidecar.script],
        name=names.sidecar(sidecar.name),
        entrypoint=[],
        user=f"{uid}:{uid}",
        host_config=host_config,
        healthcheck={"test": ["NONE"]},
        stop_signal="SIGTERM",
        labels={**names.helper_labels(sidecar.name), LAUNCH: launch},
    )


def _user(sidecar: Sidecar) -> int:
    """The user to run as, to whom the directory for writing is given: an unprivileged one when the
    manager is root, and else the manager's own."""
    uid = os.geteuid()
    if uid != 0:
        return uid
    path = sidecar.writes[0]
    try:
        # Through a descriptor, so that no link that was planted there is followed.
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(directory, SERVER_UID, SERVER_UID)
        finally:
            os.close(directory)
    except OSError as error:
        raise RuntimeFailedError(
            f"{path} cannot be given to {sidecar.name} ({error.strerror}); nothing was started"
        ) from error
    return SERVER_UID


def _inspect(client: DockerClient, names: Names, name: str) -> dict[str, Any] | None:
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
