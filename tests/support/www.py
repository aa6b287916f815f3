"""A tiny HTTP image, made in a second from the proxy's: it answers with its host name, and to
`/slow` after two seconds."""

from __future__ import annotations

import io
import tarfile

import docker

from hamanager.endpoints.haproxy.endpoint import SIDECAR
from tests.support.images import image_of

PORT = 8080
SLOW_SECONDS = 2
_CONFIGURATION = f"""\
defaults
    mode http
    timeout client 10s
    timeout connect 1s
    timeout server 10s
    timeout tarpit {SLOW_SECONDS}s
frontend www
    bind :{PORT}
    http-request tarpit deny_status 200 if {{ path /slow }}
    http-request return status 200 content-type text/plain lf-string "%[env(HOSTNAME)]\\n"
"""


def make_image(client: docker.DockerClient) -> str:
    """The image's name; whoever makes it removes it."""
    name = "hamanager-test-www"
    base = image_of(client, SIDECAR)
    container = client.containers.create(base, "true", entrypoint=[])
    try:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            data = _CONFIGURATION.encode()
            entry = tarfile.TarInfo("www.cfg")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
        container.put_archive("/", buffer.getvalue())
        container.commit(
            repository=name,
            tag="1",
            changes=['CMD ["haproxy", "-db", "-f", "/www.cfg"]', "ENTRYPOINT []"],
        )
    finally:
        container.remove()
    return f"{name}:1"
