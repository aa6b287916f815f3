"""Data volumes so small that they can be filled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from docker.errors import APIError

from hamanager.chaos.sandbox import Sandbox
from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.contracts.runtime import InstanceRef
from hamanager.runtimes.docker.names import Names
from tests.support.images import image_of


def small_volumes(sandbox: Sandbox, service: str, instances: int, size: str) -> Callable[[], None]:
    """Made beforehand, under the names that the instances of a new service will look for. They are
    in memory, so a container keeps each mounted while its server is down, until the function that
    is returned is called."""
    names = Names(sandbox.manager_id)
    image = image_of(sandbox.docker, "redis")
    holders = []
    for index in range(instances):
        ref = InstanceRef(service, f"{service}.{index}", index + 1)
        volume = names.volume(ref)
        sandbox.docker.volumes.create(
            volume,
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={size}"},
            labels=names.labels(ref),
        )
        holders.append(
            sandbox.docker.containers.run(
                image,
                ["/bin/sh", "-c", "exec sleep 3600"],
                entrypoint=[],
                volumes={volume: {"bind": DATA_DIRECTORY, "mode": "rw"}},
                labels={"hamanager.manager": sandbox.manager_id},
                detach=True,
            )
        )

    def let_go() -> None:
        for holder in holders:
            with contextlib.suppress(APIError):
                holder.remove(force=True)

    return let_go
