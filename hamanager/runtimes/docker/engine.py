"""The connection to the Docker engine: made when first needed, bounded, with plain errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException, Timeout

from hamanager.errors import RuntimeFailedError

OBSERVATION_SECONDS = 2
"""For questions in the loop: then the answer is `unknown`."""
CHANGE_SECONDS = 20
"""For changes. Longer than the 10 s after which the engine itself gives up on a kill."""
POOL_SIZE = 32
"""As many connections as the manager has threads that ask at once."""

BAD_REQUEST = 400
NO_SPACE = "no space left on device"
DEFAULT_URL = "unix:///var/run/docker.sock"


class Engine:
    """One Docker engine. It need not run yet: each use connects when nothing is connected."""

    def __init__(self, client: docker.DockerClient | None = None) -> None:
        self._given = client
        self._lock = threading.Lock()
        self._clients: dict[int, docker.DockerClient] = {}

    def client(self, timeout_seconds: int) -> docker.DockerClient:
        """A client with that time-out. Raises what the docker package raises."""
        if self._given is not None:
            return self._given
        with self._lock:
            kept = self._clients.get(timeout_seconds)
        if kept is not None:
            return kept
        # Outside the lock: one hung attempt must not hold up the other threads' looks.
        made = docker.from_env(timeout=timeout_seconds, max_pool_size=POOL_SIZE)
        with self._lock:
            kept = self._clients.setdefault(timeout_seconds, made)
        if kept is not made:
            made.close()
        return kept

    @contextmanager
    def asked_to(self, what: str) -> Iterator[docker.DockerClient]:
        """A client for changes; whatever it raises becomes a `RuntimeFailedError`."""
        try:
            yield self.client(CHANGE_SECONDS)
        except APIError as error:
            raise failed(what, error) from error
        except Timeout as error:
            raise RuntimeFailedError(
                f"the Docker engine did not {what} in time: it is overloaded or hangs"
            ) from error
        except (DockerException, RequestException) as error:
            raise RuntimeFailedError(self._unreachable(error)) from error

    @property
    def url(self) -> str:
        """Where it is, for people."""
        if self._given is not None:
            return self._given.api.base_url
        return os.environ.get("DOCKER_HOST") or DEFAULT_URL

    def close(self) -> None:
        """Close the connections made here."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def _unreachable(self, error: Exception) -> str:
        if "Permission denied" in str(error):
            return (
                f"the Docker engine at {self.url} does not admit this user;"
                " put the user into the group that owns its socket or set DOCKER_HOST"
            )
        return f"the Docker engine does not answer at {self.url}; start it or set DOCKER_HOST"


def failed(what: str, error: APIError) -> RuntimeFailedError:
    """In the engine's own words; it refuses for ever what it takes for a wrong request, as of an
    image that has no such program."""
    text = f"the Docker engine could not {what}: {explanation(error)}"
    if says(error, NO_SPACE):
        return RuntimeFailedError(f"{text}; free some space on its disk", permanent=True)
    return RuntimeFailedError(text, permanent=error.status_code == BAD_REQUEST)


def explanation(error: APIError) -> str:
    """The engine's own words, on one line."""
    return " ".join(str(error.explanation or error).split()).rstrip(".")


def says(error: APIError, *words: str) -> bool:
    """Whether the engine's words hold one of these (lower case): often its codes alone do not
    tell what is wrong."""
    said = explanation(error).lower()
    return any(word in said for word in words)
