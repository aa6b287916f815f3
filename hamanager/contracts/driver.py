"""The driver contract: everything an engine does differently.

A driver has parts: this module's are for any server, `hamanager.contracts.replication` has those of
servers with data, `hamanager.contracts.workload` the clients that tests and demos need. Rules for
every method of every part that talks to a server:

- It is bounded: no answer within the driver's time-outs raises `SilentError`. The defaults
  are about 1 s to connect and to probe and some seconds for a change.
- It raises only `ServerError` and its children, with one sentence that holds no secret;
  `RefusedError` when nothing listens (refused, reset, closed before an answer),
  `BusyError` when the server answered that it cannot serve now (loading, starting up, out of
  connections): that is a sign of life.
- It is idempotent: repeating it after it succeeded, or after it died half-way, is safe.
- It may be called from several threads. Connections may be cached inside the driver; a cached
  connection found broken is replaced once, silently, before an error is raised.

Methods marked *pure* do no I/O and read no clock.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hamanager.contracts.canary import Canary
from hamanager.contracts.replication import (
    Chaining,
    Checkpointing,
    Election,
    Leaving,
    Replication,
    RequiredAcks,
    SemiSync,
    Settling,
)
from hamanager.contracts.workload import Workload
from hamanager.model.capabilities import Capabilities, Traits
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import ServerStatus


@dataclass(frozen=True)
class FileContent:
    """A file to be put into a container before its server starts."""

    text: str = field(repr=False)
    mode: int = 0o400


@dataclass(frozen=True)
class LaunchSpec:
    """How a server process is started inside a container.

    The container runs `/bin/sh -c SCRIPT` as an unprivileged numeric user that owns
    `DATA_DIRECTORY` and `FILES_DIRECTORY`; only the server's binary on the PATH and a POSIX
    shell may be relied upon. The script ends with `exec SERVER ...`, so that the server is the
    container's process 1, or stays as its guard and ends with it. Neither the script nor the
    environment holds a secret: secrets go into files.
    """

    script: str
    port: int
    """The TCP port that the server listens on inside the container (on all addresses)."""
    admin_port: int | None = None
    """Another one, for the manager and the other servers alone: none of its connections counts
    among those of clients."""
    files: Mapping[str, FileContent] = field(default_factory=dict, repr=False)
    """By name relative to `FILES_DIRECTORY`; written anew before every start."""
    own_command: bool = False
    """Run what the image itself runs, as its own user and with its own rights: no script, no files,
    no data volume. For services without data."""
    stop_seconds: float = 30.0
    """How long a clean shutdown may take before it is ended by force."""
    stop_signal: str = "SIGTERM"
    """What the process gets when anybody stops its container, or the machine goes down. SIGKILL
    where a clean shutdown would tell clients that a write succeeded which only waits."""
    holds_stop: bool = False
    """The script holds SIGTERM back for `HELD_SECONDS`, and passes SIGINT on at once: so there is
    time for a planned change when somebody else stops its container."""


@dataclass(frozen=True)
class Shell:
    """How an operator works with a server, inside its container and as the application."""

    program: tuple[str, ...]
    """The engine's own shell."""
    preparation: str
    """Shell lines before it or any other command: they make the credentials, which lie in one of
    `LaunchSpec.files`, known to the engine's programs. Without secrets."""


HELD_SECONDS = 1.0
"""How long a guard holds back who asks its server to end."""

DATA_DIRECTORY = "/hamanager/data"
"""Mount point of the instance's data volume inside its container; survives everything."""
FILES_DIRECTORY = "/hamanager/etc"
"""Where `LaunchSpec.files` lie inside the container; not on the data volume."""


@dataclass(frozen=True)
class Connection:
    """How applications connect: with an account that has rights on its own data and no others."""

    url: str = field(repr=False)
    """With the password."""
    login: str
    password: str = field(repr=False)
    database: str
    host: str | None
    port: int | None
    """None, as the host, where the URL names several servers."""
    kind: str = ""
    """What its variables are named after, where that is not the engine."""


class Cache(Protocol):
    """A server keeps data in memory, up to a limit of its own."""

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        """Pure: how much data a server keeps in memory at the most under that container limit
        (None: no limit); None: as much as it likes."""
        ...

    def cache_bytes(self, service: ServiceContext, target: Target) -> int | None:
        """How much data it keeps in memory now; None when it does not tell."""
        ...

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """Give the running server the cache that belongs to that container limit; when it returns
        the server works towards it. It starts with the same after a restart."""
        ...


class Certificates(Protocol):
    """A server takes other certificates without a restart."""

    file_names: frozenset[str]
    """Of `LaunchSpec.files`: those that certificates, keys and authorities lie in."""

    def reload_certificates(self, service: ServiceContext, target: Target) -> None:
        """Use what now lies in its files (`LaunchSpec.files`), for new connections at least."""
        ...


class Shutdown(Protocol):
    """A planned stop takes more than the runtime's signal."""

    def shut_down(self, service: ServiceContext, target: Target) -> None:
        """Let the server end itself: no client is told by it of a write that merely waits, and what
        would delay it is let go of: idle connections, our own included. When it raises, the
        runtime asks the server to stop."""
        ...


class Driver(Protocol):
    """One engine. A driver derives from this; it has to have what is asked of every server, and
    states which of the other parts its engine has: the ones it leaves out stay None."""

    engine: str
    """Its name in commands: `mysql`."""
    traits: Traits
    replication: Replication | None = None
    """None: no database; all instances are alike, and each gets its share of the requests."""
    required_acks: RequiredAcks | None = None
    leaving: Leaving | None = None
    semisync: SemiSync | None = None
    election: Election | None = None
    settling: Settling | None = None
    chaining: Chaining | None = None
    checkpointing: Checkpointing | None = None
    cache: Cache | None = None
    certificates: Certificates | None = None
    """None: its services cannot be encrypted."""
    shutdown: Shutdown | None = None
    workload: Workload | None = None
    canary: Canary | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the rules may know: what the driver states, and which parts it has."""
        traits = self.traits
        if self.leaving is None:
            # Nobody could say from when on it refuses writes.
            traits = replace(traits, refuses_alone_after_seconds=None)
        return Capabilities(
            **vars(traits),
            stateless=self.replication is None,
            elects_itself=self.election is not None,
            acknowledges=self.semisync is not None,
        )

    @abstractmethod
    def new_secrets(self) -> dict[str, str]:
        """Fresh random passwords and keys for a new service, by names of the driver's own."""
        ...

    @abstractmethod
    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """Pure: how to start this instance. It must start unable to take client writes."""
        ...

    @abstractmethod
    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,
        members: Sequence[Target],
    ) -> Connection | None:
        """Pure: how applications connect, through the service's own address (host and port) or,
        for engines whose URL names all instances, to `members`; None without these."""
        ...

    @abstractmethod
    def shell(self, service: ServiceContext) -> Shell:
        """Pure: the engine's own shell."""
        ...

    @abstractmethod
    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """Ask one server what it is. About 1 s at the most; a few ms when it is well."""
        ...

    @abstractmethod
    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket | None:
        """An idle connection that the server keeps open as long as it lives: its end is the
        first sign of death. The caller only watches it for readability and closes it. None
        where servers keep none open."""
        ...

    @abstractmethod
    def forget(self, target: Target) -> None:
        """Close whatever connections are cached for that server."""
        ...
