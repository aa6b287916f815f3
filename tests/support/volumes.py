"""What happens to data volumes in the scenarios."""

from __future__ import annotations

from docker.models.containers import Container

from hamanager.chaos.sandbox import Sandbox
from tests.support.images import image_of


def volume_of(container: Container) -> str:
    """The name of the data volume of an instance."""
    [name] = [m["Name"] for m in container.attrs["Mounts"] if m["Type"] == "volume"]
    return str(name)


def on_volume(sandbox: Sandbox, instance: str, script: str) -> str:
    """Run a script in the data directory of an instance that does not run; what it printed."""
    image = image_of(sandbox.docker, "redis")
    printed: bytes = sandbox.docker.containers.run(
        image,
        ["/bin/sh", "-ec", f"cd /data; {script}"],
        entrypoint=[],
        user="0",
        volumes={volume_of(sandbox.container(instance)): {"bind": "/data", "mode": "rw"}},
        remove=True,
    )
    return printed.decode().strip()


def empty_volume(sandbox: Sandbox, instance: str) -> None:
    """Everything on its disk is gone."""
    on_volume(sandbox, instance, "rm -rf ./* ./.[!.]*")


def break_data(sandbox: Sandbox, instance: str) -> None:
    """Its server cannot start any more, until `mend_data`."""
    on_volume(
        sandbox,
        instance,
        "for d in mysql mongodb; do [ -d $d ] || continue; mv $d $d.aside; touch $d; done",
    )


def mend_data(sandbox: Sandbox, instance: str) -> None:
    """As it was before `break_data`."""
    on_volume(
        sandbox,
        instance,
        "for d in mysql mongodb; do [ -d $d.aside ] || continue; rm $d; mv $d.aside $d; done",
    )


def truncate_newest(sandbox: Sandbox, instance: str, pattern: str, cut_bytes: int) -> str:
    """Tear the newest file of that pattern: its last bytes had not reached the disk."""
    return on_volume(
        sandbox,
        instance,
        f"f=$(ls {pattern} | sort | tail -1); size=$(stat -c %s $f);"
        f" truncate -s $((size > {cut_bytes} ? size - {cut_bytes} : 4)) $f; echo $f $size",
    )
