"""How much a volume takes on disk: `du` counts it, in a container of a moment that may only read.

The engine's own word (`/system/df`) counts everything that it has, the data of running databases
too, and older ones cannot be asked for volumes alone.
"""

from __future__ import annotations

from docker import DockerClient
from docker.errors import NotFound

from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.containers import DISCARD_SECONDS
from hamanager.runtimes.docker.momentary import Momentary
from hamanager.runtimes.docker.names import Names

COUNT_SECONDS = DISCARD_SECONDS - 2
"""Less than whoever removes the volume meanwhile waits for it."""
SCRIPT = 'exec du -sk "$0"'
SIDECAR = "volume-size"
KIB = 1024


class VolumeSizes:
    """Counts volumes."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._momentary = Momentary(names, SIDECAR)

    def count(self, client: DockerClient, image: str, volume: str) -> int:
        """Bytes on disk of that volume."""
        try:
            labels = client.api.inspect_volume(volume)["Labels"]
        except NotFound as error:
            raise RuntimeFailedError(f"there is no volume {volume}") from error
        if not self._names.owns(labels):
            raise RuntimeFailedError(f"the volume {volume} was not made by this manager")
        late = f"what {volume} takes on disk was not counted"
        command, placed = [SCRIPT, DATA_DIRECTORY], (volume, DATA_DIRECTORY)
        status, said = self._momentary.run(client, image, command, late, COUNT_SECONDS, placed)
        number = said.split()[0] if said.split() else ""
        if status != 0 or not number.isdecimal():
            words = " ".join(said.split())[:200] or "nothing"
            raise RuntimeFailedError(f"{late}: du says {words}")
        return int(number) * KIB
