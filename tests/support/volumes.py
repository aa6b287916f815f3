"""What happens to data volumes in the scenarios."""

from __future__ import annotations

from docker.models.containers import Container

from hamanager.images import resolve_image
from hamanager.stage import Stage


def volume_of(container: Container) -> str:
    """The name of the data volume of an instance."""
    [name] = [m["Name"] for m in container.attrs["Mounts"] if m["Type"] == "volume"]
    return str(name)


def empty_volume(stage: Stage, instance: str) -> None:
    """Delete everything on the disk of an instance that does not run."""
    image = resolve_image(stage.docker, "redis", None)
    stage.docker.containers.run(
        image,
        ["/bin/sh", "-c", "rm -rf /data/* /data/.[!.]*"],
        entrypoint=[],
        user="0",
        volumes={volume_of(stage.container(instance)): {"bind": "/data", "mode": "rw"}},
        remove=True,
    )


def truncate_newest(stage: Stage, instance: str, pattern: str, cut_bytes: int) -> str:
    """Tear the newest file of that pattern below the data directory, of an instance that does not
    run: its last bytes had not reached the disk."""
    image = resolve_image(stage.docker, "redis", None)
    script = (
        f"cd /data && f=$(ls {pattern} | sort | tail -1) && size=$(stat -c %s $f)"
        f" && truncate -s $((size > {cut_bytes} ? size - {cut_bytes} : 4)) $f && echo $f $size"
    )
    printed: bytes = stage.docker.containers.run(
        image,
        ["/bin/sh", "-c", script],
        entrypoint=[],
        user="0",
        volumes={volume_of(stage.container(instance)): {"bind": "/data", "mode": "rw"}},
        remove=True,
    )
    return printed.decode().strip()
