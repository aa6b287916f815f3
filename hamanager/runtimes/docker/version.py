"""What version an image's server program is of: it is asked itself, in a container of a moment."""

from __future__ import annotations

import contextlib
import re
import threading

from docker import DockerClient
from docker.errors import APIError
from docker.types import LogConfig
from requests.exceptions import ConnectionError as NoAnswer
from requests.exceptions import Timeout

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.archive import SERVER_UID
from hamanager.runtimes.docker.containers import discard_container
from hamanager.runtimes.docker.names import Names

ANSWER_SECONDS = 15
MEMORY_BYTES = 512 << 20
ABSENT = 127
"""As a shell says it."""
SCRIPT = 'command -v "$0" >/dev/null || exit 127; exec "$0" --version'
SIDECAR = "version"


class ImageVersions:
    """Asks images. One at a time: the container has one name, so that one which a manager that died
    has left behind is found and removed."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._lock = threading.Lock()

    def ask(self, client: DockerClient, image: str, program: str) -> str:
        """The version of that program in that image."""
        name = self._names.sidecar(SIDECAR)
        with self._lock:
            discard_container(client, name)
            try:
                status, said = self._run(client, name, image, program)
            finally:
                with contextlib.suppress(APIError, Timeout):
                    discard_container(client, name)
        if status == ABSENT:
            raise RuntimeFailedError(f"the image has no {program}")
        found = re.search(r"\d+(\.\d+)+", said)
        if status != 0 or found is None:
            words = " ".join(said.split())[:200] or "nothing"
            raise RuntimeFailedError(f"its {program} does not tell its version, it says: {words}")
        return found[0]

    def _run(self, client: DockerClient, name: str, image: str, program: str) -> tuple[int, str]:
        api = client.api
        try:
            self._create(client, name, image, program)
            api.start(name)
        except APIError as error:
            if error.status_code != 400:  # then there is not even a shell
                raise
            return ABSENT, ""
        try:
            status = int(api.wait(name, timeout=ANSWER_SECONDS)["StatusCode"])
        except (Timeout, NoAnswer) as error:
            raise RuntimeFailedError(
                f"its {program} does not tell its version within {ANSWER_SECONDS} s"
            ) from error
        printed: bytes = api.logs(name)
        return status, printed.decode(errors="replace")

    def _create(self, client: DockerClient, name: str, image: str, program: str) -> None:
        client.api.create_container(
            image,
            ["/bin/sh", "-c", SCRIPT, program],
            name=name,
            entrypoint=[],
            user=f"{SERVER_UID}:{SERVER_UID}",
            healthcheck={"test": ["NONE"]},
            labels=self._names.helper_labels(SIDECAR),
            host_config=client.api.create_host_config(
                network_mode="none",
                read_only=True,
                restart_policy={"Name": "no", "MaximumRetryCount": 0},
                mem_limit=MEMORY_BYTES,
                memswap_limit=MEMORY_BYTES,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
            ),
        )
