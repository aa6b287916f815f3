"""A container of a moment: a shell in an image, with no network and no rights, says something."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from docker import DockerClient
from docker.errors import APIError
from docker.types import LogConfig
from requests.exceptions import ConnectionError as NoAnswer
from requests.exceptions import Timeout

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.archive import SERVER_UID
from hamanager.runtimes.docker.containers import discard_container
from hamanager.runtimes.docker.names import Names

MEMORY_BYTES = 512 << 20
ABSENT = 127
"""As a shell says it."""
LOWEST = 2
"""Of the processor's time, where others want it, too."""


class Momentary:
    """Runs one at a time. The container has the name of what it is for, so that one which a manager
    that died has left behind is found and removed."""

    def __init__(self, names: Names, sidecar: str) -> None:
        self._names = names
        self._sidecar = sidecar
        self._lock = threading.Lock()

    def run(
        self,
        client: DockerClient,
        image: str,
        command: Sequence[str],
        late: str,
        seconds: int,
        volume: tuple[str, str] | None = None,
    ) -> tuple[int, str]:
        """What the shell ended with, and what it said; `volume` with its place, to be read.

        Raises:
            RuntimeFailedError: it did not end within so many seconds: `late`.
        """
        about = f"-{volume[0]}" if volume else ""
        name = self._names.sidecar(f"{self._sidecar}{about}")
        with self._lock:
            discard_container(client, name)
            try:
                return self._run(client, name, image, command, late, seconds, volume)
            finally:
                with contextlib.suppress(APIError, Timeout):
                    discard_container(client, name)

    def _run(
        self,
        client: DockerClient,
        name: str,
        image: str,
        command: Sequence[str],
        late: str,
        seconds: int,
        volume: tuple[str, str] | None,
    ) -> tuple[int, str]:
        api = client.api
        try:
            self._create(client, name, image, command, volume)
            api.start(name)
        except APIError as error:
            if error.status_code != 400:  # then there is not even a shell
                raise
            return ABSENT, ""
        try:
            status = int(api.wait(name, timeout=seconds)["StatusCode"])
        except (Timeout, NoAnswer) as error:
            raise RuntimeFailedError(f"{late} within {seconds} s") from error
        printed: bytes = api.logs(name)
        return status, printed.decode(errors="replace")

    def _create(
        self,
        client: DockerClient,
        name: str,
        image: str,
        command: Sequence[str],
        volume: tuple[str, str] | None,
    ) -> None:
        client.api.create_container(
            image,
            ["/bin/sh", "-c", *command],
            name=name,
            entrypoint=[],
            user=f"{SERVER_UID}:{SERVER_UID}",
            healthcheck={"test": ["NONE"]},
            labels=self._names.helper_labels(self._sidecar),
            host_config=client.api.create_host_config(
                network_mode="none",
                read_only=True,
                binds={volume[0]: {"bind": volume[1], "mode": "ro"}} if volume else {},
                restart_policy={"Name": "no", "MaximumRetryCount": 0},
                mem_limit=MEMORY_BYTES,
                memswap_limit=MEMORY_BYTES,
                cpu_shares=LOWEST,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
            ),
        )
