"""What version an image's server program is of: it is asked itself, in a container of a moment."""

from __future__ import annotations

import re

from docker import DockerClient

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.momentary import ABSENT, Momentary
from hamanager.runtimes.docker.names import Names

ANSWER_SECONDS = 15
SCRIPT = 'command -v "$0" >/dev/null || exit 127; exec "$0" --version'
SIDECAR = "version"


class ImageVersions:
    """Asks images."""

    def __init__(self, names: Names) -> None:
        self._momentary = Momentary(names, SIDECAR)

    def ask(self, client: DockerClient, image: str, program: str) -> str:
        """The version of that program in that image."""
        late = f"its {program} does not tell its version"
        status, said = self._momentary.run(client, image, [SCRIPT, program], late, ANSWER_SECONDS)
        if status == ABSENT:
            raise RuntimeFailedError(f"the image has no {program}")
        found = re.search(r"\d+(\.\d+)+", said)
        if status != 0 or found is None:
            words = " ".join(said.split())[:200] or "nothing"
            raise RuntimeFailedError(f"its {program} does not tell its version, it says: {words}")
        return found[0]
