"""The images that `make images` has made sure of."""

from __future__ import annotations

import docker

from hamanager.discovery import load_drivers
from hamanager.endpoints.haproxy.endpoint import IMAGE, SIDECAR
from hamanager.runtimes.docker.images import resolve_image


def image_of(client: docker.DockerClient, engine: str) -> str:
    """What that engine's servers, or the proxy, run from."""
    default = IMAGE if engine == SIDECAR else load_drivers()[engine].traits.image
    return resolve_image(client, engine, default)
