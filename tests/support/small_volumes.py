"""Data volumes that can be filled or frozen without the rest of the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

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


def why_not_frozen() -> str:
    """Why no filesystem can be frozen here; '' if one can."""
    if os.geteuid() != 0:
        return "a filesystem is mounted and frozen as root"
    return "" if Path("/dev/loop-control").exists() else "this machine has no loop devices"


@contextlib.contextmanager
def own_filesystem(sandbox: Sandbox, service: str, directory: Path) -> Iterator[Path]:
    """The data volume of a new service's first instance as a filesystem in a file; its path."""
    image, mounted = directory / "data.img", directory / "data"
    with image.open("wb") as file:
        file.truncate(1 << 30)
    mounted.mkdir()
    _run("mkfs.ext4", "-q", str(image))
    _run("mount", "-o", "loop", str(image), str(mounted))
    try:
        names = Names(sandbox.manager_id)
        ref = InstanceRef(service, f"{service}.0", 1)
        sandbox.docker.volumes.create(
            names.volume(ref),
            driver_opts={"type": "none", "o": "bind", "device": str(mounted)},
            labels=names.labels(ref),
        )
        yield mounted
    finally:
        _run("umount", "--lazy", str(mounted))


@contextlib.contextmanager
def frozen(path: Path) -> Iterator[None]:
    """Nobody's write to that filesystem returns."""
    _run("fsfreeze", "--freeze", str(path))
    try:
        yield
    finally:
        _run("fsfreeze", "--unfreeze", str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30, capture_output=True)
