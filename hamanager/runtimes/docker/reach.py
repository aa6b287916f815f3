"""Whether what an engine publishes at an address is reached: tried, with containers of a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from docker import DockerClient
from docker.errors import APIError, ImageNotFound
from docker.types import LogConfig
from requests.exceptions import ConnectionError as NoAnswer
from requests.exceptions import Timeout

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.archive import SERVER_UID
from hamanager.runtimes.docker.containers import discard_container
from hamanager.runtimes.docker.engine import explanation, says
from hamanager.runtimes.docker.names import Names

INSIDE_PORT = 7000
CONNECT_SECONDS = 15
MEMORY_BYTES = 256 << 20
LISTENER, CALLER = "listener", "caller"

_LISTEN = r"""
if command -v perl >/dev/null; then exec perl -MIO::Socket::INET -e '
  $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 9, ReuseAddr => 1) or exit 1;
  while ($c = $s->accept) { print $c "$ARGV[0]\n"; close $c }' "$0"
elif command -v python3 >/dev/null; then exec python3 -c '
import socket, sys
s = socket.create_server(("", 7000))
while True:
    c, _ = s.accept(); c.sendall(sys.argv[1].encode() + b"\n"); c.close()' "$0"
elif command -v nc >/dev/null; then while :; do echo "$0" | nc -l -p 7000; done
fi
exit 127
"""
_CALL = r"""
if command -v perl >/dev/null; then exec perl -MIO::Socket::INET -e '
  $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 3) or exit 1;
  $SIG{ALRM} = sub { exit 1 }; alarm 5; print scalar <$s>' "$0" "$1"
elif command -v python3 >/dev/null; then exec python3 -c '
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).makefile().readline())' "$0" "$1"
elif command -v nc >/dev/null; then exec nc -w 3 "$0" "$1" </dev/null
fi
exit 127
"""


class Reach:
    """What one engine can do to find out."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def listen(
        self, client: DockerClient, images: Sequence[str], address: str, port: int, word: str
    ) -> None:
        """Answer whoever comes to that address and port with that word, until `end`.

        Raises:
            RuntimeFailedError: the address is not this machine's, or no image can do it.
        """
        name = self._names.sidecar(LISTENER)
        for image in self._present(client, images):
            discard_container(client, name)
            try:
                self._create(client, name, image, [_LISTEN, word], (address, port))
                client.api.start(name)
            except APIError as error:
                if says(error, "cannot assign requested address", "assign requested"):
                    raise RuntimeFailedError(
                        f"{address} is not an address of that machine ({explanation(error)})"
                    ) from error
                if error.status_code == 400:
                    continue  # not even a shell
                raise
            with contextlib.suppress(Timeout, NoAnswer):
                client.api.wait(name, timeout=1)
                continue  # it has ended: the image has no such program
            return
        raise RuntimeFailedError(_no_image(images))

    def call(self, client: DockerClient, images: Sequence[str], address: str, port: int) -> str:
        """What answers at that address and port, as containers of this engine see it; '' nothing.

        Raises:
            RuntimeFailedError: no image can find out.
        """
        name = self._names.sidecar(CALLER)
        for image in self._present(client, images):
            discard_container(client, name)
            try:
                self._create(client, name, image, [_CALL, address, str(port)], None)
                client.api.start(name)
                status = int(client.api.wait(name, timeout=CONNECT_SECONDS)["StatusCode"])
            except (Timeout, NoAnswer):
                discard_container(client, name)
                return ""
            except APIError as error:
                if error.status_code == 400:
                    continue
                raise
            printed: bytes = client.api.logs(name, stderr=False)
            discard_container(client, name)
            if status != 127:
                return printed.decode(errors="replace").strip()
        raise RuntimeFailedError(_no_image(images))

    def end(self, client: DockerClient) -> None:
        """Nothing is left of it."""
        for name in (LISTENER, CALLER):
            discard_container(client, self._names.sidecar(name))

    @staticmethod
    def _present(client: DockerClient, images: Sequence[str]) -> list[str]:
        found = []
        for image in images:
            with contextlib.suppress(ImageNotFound):
                client.images.get(image)
                found.append(image)
        return found

    def _create(
        self,
        client: DockerClient,
        name: str,
        image: str,
        words: Sequence[str],
        published: tuple[str, int] | None,
    ) -> None:
        client.api.create_container(
            image,
            ["/bin/sh", "-c", *words],
            name=name,
            entrypoint=[],
            user=f"{SERVER_UID}:{SERVER_UID}",
            ports=[INSIDE_PORT] if published else None,
            healthcheck={"test": ["NONE"]},
            labels=self._names.helper_labels(LISTENER),
            host_config=client.api.create_host_config(
                port_bindings={INSIDE_PORT: published} if published else None,
                restart_policy={"Name": "no", "MaximumRetryCount": 0},
                mem_limit=MEMORY_BYTES,
                memswap_limit=MEMORY_BYTES,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
            ),
        )


def _no_image(images: Sequence[str]) -> str:
    return (
        "none of its images can try out whether its address is reached: pull or load one of"
        f" {', '.join(images)}"
    )
