"""The driver contract: everything an engine does differently.

Rules for every method that talks to a server:

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hamanager.model.capabilities import Capabilities as Capabilities
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus


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


class Writer(Protocol):
    """A client that writes numbered rows to one server: for demo, benchmarks and tests.

    Every method raises `ServerError` (or a child) when it fails; a failed `write` may or may
    not have reached the data.
    """

    def prepare(self) -> None:
        """Make the table (collection, key) that the rows go to, unless it is there."""
        ...

    def write(self, number: int) -> None:
        """Write one row; returns when the engine has acknowledged it as the docs recommend."""
        ...

    def numbers(self) -> set[int]:
        """Every number that the server holds."""
        ...

    def fill(self, total_bytes: int) -> None:
        """Add about that many bytes of incompressible ballast, in acknowledged batches."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


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


@dataclass(frozen=True)
class HandOver:
    """How a planned change of primary is carried out."""

    before_stop: Callable[[], None]
    """To be called right before the primary stops taking writes, so that clients wait who would
    come from then on; when it raises, nothing was changed."""
    before_promotion: Callable[[], None]
    """To be called once `target` has everything and before it takes writes; when it raises, the
    hand-over is undone."""
    before_undo: Callable[[], None]
    """To be called before the primary is let take writes again; when it raises, another manager
    has taken over, and the primary must not."""
    required_acks: int
    """For how many standbys the new primary's writes wait."""
    term: int | None
    """What the new primary's data tell of from then on."""
    patience_seconds: float
    """How long long transactions may take to end by themselves before writes are stopped."""
    kill: bool
    """Whether those that are left are ended; otherwise nothing is changed and it raises."""
    hurried: bool = False
    """The primary is about to end: what would merely make it shorter is tried once."""


class Driver(Protocol):
    """One engine."""

    engine: str
    """Its name in commands: `mysql`."""
    capabilities: Capabilities

    def new_secrets(self) -> dict[str, str]:
        """Fresh random passwords and keys for a new service, by names of the driver's own."""
        ...

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """Pure: how to start this instance. It must start unable to take client writes."""
        ...

    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,
        members: Sequence[Target],
    ) -> Connection | None:
        """Pure: how applications connect, through the service's own address (host and port) or,
        for engines whose URL names all instances, to `members`; None without these."""
        ...

    def shell(self, service: ServiceContext) -> Shell:
        """Pure: the engine's own shell."""
        ...

    def relate(
        self,
        target: Target,
        standby: ServerStatus,
        primary_target: Target,
        primary: ServerStatus,
        members: Sequence[Target],
    ) -> Relation:
        """Pure: how that standby stands towards the primary on record, `members` being all
        instances on record."""
        ...

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        """Pure: whether that server has applied all that the primary had at that time."""
        ...

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """Pure: what that server has and the primary has not, in the engine's terms (a set of
        transaction identifiers, an amount of bytes); '' when nothing is known of."""
        ...

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """Pure: what that server lacks of what the primary was last seen to have, in words; ''
        when nothing is known of."""
        ...

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """Pure: those that could be promoted without losing more than necessary, best first.

        A partial order: when two hold writes that the other lacks, neither stands behind the
        other and both are left out, together with all that are worse.
        """
        ...

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """Pure: why a server of the version `wanted` cannot go on with data that one of the version
        `present` has used, as a sentence without an end; '' when it can."""
        ...

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        """Pure: how much data a server keeps in memory at the most under that container limit
        (None: no limit); None where the engine sets itself none."""
        ...

    def cache_bytes(self, service: ServiceContext, target: Target) -> int | None:
        """How much data it keeps in memory now; None when it does not tell."""
        ...

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """Give the running server the cache that belongs to that container limit; when it returns
        the server works towards it. It starts with the same after a restart."""
        ...

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """Ask one server what it is. About 1 s at the most; a few ms when it is well."""
        ...

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:
        """An idle connection that the server keeps open as long as it lives: its end is the
        first sign of death. The caller only watches it for readability and closes it."""
        ...

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """First-time set-up of a service's first server; afterwards it is the primary."""
        ...

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Start the first full copy in the background and return; `probe` shows its progress.
        Does nothing while one is under way. The server may end its process when it is done."""
        ...

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],
    ) -> None:
        """Do the next thing that makes it a full standby of that primary, short of discarding
        data that is not proven to be elsewhere."""
        ...

    def drain(self, service: ServiceContext, target: Target) -> str:
        """Stop receiving and apply everything received; returns a short note for the history.
        Bounded; raises when not everything could be applied."""
        ...

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],
        required_acks: int,
        term: int | None = None,
    ) -> str:
        """Make it accept writes, as the last step of a failover; returns when it does, with a
        short note on what was or may have been lost ('' when the engine cannot tell). From its
        first write on it waits for `required_acks` standbys (see `set_required_acks`). Its data,
        and so those of all who follow it, tell of the term from then on (see
        `ServerStatus.term`)."""
        ...

    def settle(self, service: ServiceContext, target: Target) -> None:
        """What a promotion leaves that takes long and that no client has to wait for; asked of a
        new primary once clients are sent to it, where the engine `settles_later`. It may fail, or
        never come: the next promotion copes with what is left."""
        ...

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """From now on each write waits for so many standbys before it is acknowledged; 0: for
        none, and those that wait now are acknowledged. Engines that cannot do nothing."""
        ...

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:
        """End every client whose write waits for a standby, without acknowledging one; from its
        next client on it waits for `required_acks` standbys as before. Returns a short note. One
        that was begun and not finished turns clients away
        (`ServerStatus.turns_clients_away`)."""
        ...

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """Let that standby acknowledge what it receives, once it is on its disk; or not any more.
        When it returns the primary counts (or does not count) on it."""
        ...

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """Return when that standby is proven to hold, on disk and applied, every write that the
        primary had acknowledged before this call.

        Raises:
            ServerError: it is not proven within some seconds.
        """
        ...

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Return when that standby is proven to have received everything that was in the
        primary's log before this call, acknowledged or not.

        Raises:
            ServerError: it is not proven within some seconds.
        """
        ...

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Make it refuse client writes at once and cut its clients off; no write that waits for a
        standby is acknowledged by that."""
        ...

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """Planned: the primary stops taking writes, `target` catches up with all of them and
        takes over. Undone when it fails half-way. Returns a short note."""
        ...

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:
        """An operator decided that this instance leads, with whatever it has and without asking a
        majority; for engines that elect by themselves. From now on the survivors (it among them)
        are the whole set. All others have been fenced: they know nothing of it, and may have a
        majority of the former set among them.

        Raises:
            ServerError: among others, a survivor does not answer: nothing was changed.
        """
        ...

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        """Make the service forget that standby before its container is removed."""
        ...

    def before_stop(self, service: ServiceContext, target: Target) -> bool:
        """Prepare a planned stop: no client is told by it of a write that merely waits, and what
        would delay a clean shutdown is let go of: idle connections, our own included. Whether the
        server shuts itself down now; otherwise the runtime is to ask it."""
        ...

    def forget(self, target: Target) -> None:
        """Close whatever connections are cached for that server."""
        ...

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> Writer:
        """Connect a `Writer` to that server as an application would."""
        ...
