"""The connection to the Docker engine: made when first needed, bounded, with plain errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from requests.exceptions import RequestException, Timeout

from hamanager.errors import RuntimeFailedError
from hamanager.model.host import HostTls
from hamanager.runtimes.docker.tunnel import Tunnel

OBSERVATION_SECONDS = 2
"""For questions in the loop: then the answer is `unknown`."""
CHANGE_SECONDS = 20
"""For changes. Longer than the 10 s after which the engine itself gives up on a kill."""
POOL_SIZE = 32
"""As many connections as the manager has threads that ask at once."""

BAD_REQUEST = 400
NO_SPACE = "no space left on device"
DEFAULT_URL = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Location:
    """Where an engine is that the environment does not name, and what it is shown and believed."""

    url: str
    tls: HostTls | None = None


class Engine:
    """One Docker engine. It need not run yet: each use connects when nothing is connected."""

    def __init__(
        self, client: docker.DockerClient | None = None, location: Location | None = None
    ) -> None:
        self._given = client
        self._location = location
        self._tls = _Certificates(location.tls) if location is not None and location.tls else None
        over_ssh = location is not None and location.url.startswith("ssh://")
        self._tunnel = Tunnel(location.url) if location is not None and over_ssh else None
        self._lock = threading.Lock()
        self._clients: dict[int, docker.DockerClient] = {}

    def client(self, timeout_seconds: int) -> docker.DockerClient:
        """A client with that time-out. Raises what the docker package raises."""
        if self._given is not None:
            return self._given
        if self._tunnel is not None:
            self._tunnel.url()  # opened again when it has ended
        with self._lock:
            kept = self._clients.get(timeout_seconds)
        if kept is not None:
            return kept
        # Outside the lock: one hung attempt must not hold up the other threads' looks.
        made = self._connected(timeout_seconds)
        with self._lock:
            kept = self._clients.setdefault(timeout_seconds, made)
        if kept is not made:
            made.close()
        return kept

    @contextmanager
    def asked_to(
        self, what: str, timeout_seconds: int = CHANGE_SECONDS
    ) -> Iterator[docker.DockerClient]:
        """A client for that; whatever it raises becomes a `RuntimeFailedError`."""
        try:
            yield self.client(timeout_seconds)
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
        if self._location is not None:
            return self._location.url
        return os.environ.get("DOCKER_HOST") or DEFAULT_URL

    def close(self) -> None:
        """Close the connections made here."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
        if self._tls is not None:
            self._tls.close()
        if self._tunnel is not None:
            self._tunnel.close()

    def _connected(self, timeout_seconds: int) -> docker.DockerClient:
        if self._location is None:
            return docker.from_env(timeout=timeout_seconds, max_pool_size=POOL_SIZE)
        return docker.DockerClient(
            self._tunnel.url() if self._tunnel is not None else self._location.url,
            timeout=timeout_seconds,
            max_pool_size=POOL_SIZE,
            tls=self._tls.config if self._tls is not None else False,
        )

    def _unreachable(self, error: Exception) -> str:
        if self._location is not None:
            why = " ".join(str(error).split())
            return f"the Docker engine does not answer at {self.url} ({why}); start it"
        if "Permission denied" in str(error):
            return (
                f"the Docker engine at {self.url} does not admit this user;"
                " put the user into the group that owns its socket or set DOCKER_HOST"
            )
        return f"the Docker engine does not answer at {self.url}; start it or set DOCKER_HOST"


class _Certificates:
    """As files, which is how the docker package takes them, in memory: a key lies on no disk."""

    def __init__(self, tls: HostTls) -> None:
        self._descriptors: list[int] = []
        ca, certificate, key = (self._file(text) for text in (tls.ca, tls.certificate, tls.key))
        self.config = TLSConfig(client_cert=(certificate, key), ca_cert=ca, verify=True)

    def _file(self, text: str) -> str:
        descriptor = os.memfd_create("hamanager-tls")
        self._descriptors.append(descriptor)
        os.write(descriptor, text.encode())
        return f"/proc/self/fd/{descriptor}"

    def close(self) -> None:
        """They are no more."""
        while self._descriptors:
            os.close(self._descriptors.pop())


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
