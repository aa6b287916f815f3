"""Images by what they hold: what a name stands for now, and how one that is gone comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException

from hamanager.errors import RuntimeFailedError
from hamanager.model.image import PinnedImage
from hamanager.runtimes.docker.images import pull


def pin(client: DockerClient, name: str) -> PinnedImage:
    """What the name stands for now.

    Raises:
        ImageNotFound: for nothing.
    """
    found: Mapping[str, Any] = client.images.get(name).attrs
    digests: Sequence[str] = found.get("RepoDigests") or ()
    repository = name.partition("@")[0]
    # The part before a tag; a port's colon is followed by a slash.
    if "/" not in repository.rpartition(":")[2]:
        repository = repository.rpartition(":")[0] or repository
    fitting = [digest for digest in digests if digest.partition("@")[0] == repository]
    return PinnedImage(id=found["Id"], digest=next(iter([*fitting, *digests]), None))


class MissingImages:
    """Brings images back that were removed from the engine, while nobody waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulls: dict[str, threading.Thread] = {}
        self._problems: dict[str, str] = {}

    def fetch(self, client: DockerClient, image: str, sources: Sequence[str]) -> RuntimeFailedError:
        """Begin to, unless that is under way; how it stands: permanently bad when it did not come
        the last time, or cannot."""
        names = f"{image} ({sources[-1]})" if sources else image
        gone = f"the image {names} is not in the Docker engine"
        if not sources:
            return RuntimeFailedError(f"{gone}; pull, build or load it", permanent=True)
        with self._lock:
            pulling = self._pulls.get(image)
            if pulling is None or not pulling.is_alive():
                pulling = threading.Thread(
                    target=self._pull, args=(client, image, sources), name="pull", daemon=True
                )
                self._pulls[image] = pulling
                pulling.start()
            problem = self._problems.get(image)
        return RuntimeFailedError(
            f"{gone}; {problem or 'it is being pulled'}", permanent=problem is not None
        )

    def _pull(self, client: DockerClient, image: str, sources: Sequence[str]) -> None:
        problems: list[str] = []
        for source in sources:
            problem = pull(client, source)
            try:
                client.images.get(image)
                problems.clear()
                break
            except ImageNotFound:
                problems.append(
                    f"{source} names another image now"
                    if problem is None
                    else f"{source} cannot be pulled ({problem})"
                )
            except (DockerException, RequestException) as error:
                problems.append(str(error))
        with self._lock:
            self._problems.pop(image, None)
            if problems:
                self._problems[image] = f"{' and '.join(problems)}: load it into the engine again"
