"""Data volumes that can be filled: small filesystems of their own, in memory."""

from __future__ import annotations

from hamanager.contracts.runtime import Place
from hamanager.images import resolve_image
from hamanager.runtimes.docker_names import Names
from hamanager.stage import Stage

MB = 1024**2


def make_small_volumes(stage: Stage, service: str, instances: int, size_bytes: int) -> None:
    """Make the data volumes of a service that does not exist yet.

    A holder keeps them mounted: what lies in memory is gone when its last container stops. It
    carries the service's labels, so `destroy` removes it and the volumes with the rest.
    """
    names = Names(stage.manager_id)
    image = resolve_image(stage.docker, "redis", None)
    mounted = {}
    for number in range(instances):
        place = Place(service, f"{service}.{number}", number + 1)
        stage.docker.volumes.create(
            names.volume(place),
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={size_bytes}"},
            labels=names.labels(place),
        )
        mounted[names.volume(place)] = {"bind": f"/held/{number}", "mode": "rw"}
    labels = names.network_labels(service)
    stage.docker.containers.run(
        image,
        ["/bin/sh", "-c", "while :; do sleep 60; done"],
        name=f"{names.network(service)}-holder",
        entrypoint=[],
        volumes=mounted,
        labels=labels,
        detach=True,
    )
