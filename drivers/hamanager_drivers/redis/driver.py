"""The Redis driver."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hamanager.contracts.driver import (
    FILES_DIRECTORY,
    Connection,
    HandOver,
    LaunchSpec,
    Shell,
)
from hamanager.errors import RefusedError, ServerError, SilentError
from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus
from hamanager_drivers.ranking import rank_by
from hamanager_drivers.redis import config
from hamanager_drivers.redis.connections import (
    TIMEOUT_SECONDS,
    Connections,
    cut_clients,
    info,
    told_apart,
)
from hamanager_drivers.redis.handover import PAUSE_SECONDS, hand_over
from hamanager_drivers.redis.lag import OffsetHistory
from hamanager_drivers.redis.status import beyond, covers, relate, server_status
from hamanager_drivers.redis.term import note_term, told_term
from hamanager_drivers.redis.upgrade import upgrade_problem
from hamanager_drivers.redis.writer import RedisWriter


class RedisDriver:
    """Redis 6.2 and later, Valkey."""

    engine = "redis"
    capabilities = Capabilities(
        allowed_instances=(1, 2, 3, 4, 5),
        elects_itself=False,
        minimum_memory_bytes=32 * 1024**2,
        url_names_all=False,
        durabilities=(Durability.AVAILABILITY, Durability.STRICT),
        data_in_memory=True,
        server_program="redis-server",
        probe_seconds=TIMEOUT_SECONDS,
        call_seconds=PAUSE_SECONDS,
    )

    def __init__(self) -> None:
        self._connections = Connections()
        self._histories: dict[str, OffsetHistory] = defaultdict(OffsetHistory)
        self._lock = threading.Lock()

    def new_secrets(self) -> dict[str, str]:
        """Three passwords: the application's, the manager's, the standbys'."""
        names = ("password", "manager_password", "replication_password")
        return {name: secrets.token_hex(24) for name in names}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """A server that follows nobody and refuses writes."""
        return config.launch_spec(service, target)

    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Connection | None:
        """`redis://default:PASSWORD@HOST:PORT/0`: the user of clients that know a password only."""
        if address is None:
            return None
        host, port = address
        login, password = config.APPLICATION, service.secrets["password"]
        url = f"redis://{login}:{password}@{host}:{port}/0"
        return Connection(url, login, password, "0", host, port)

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """`redis-cli`, which takes the password from a variable that it alone sees."""
        path = f"{FILES_DIRECTORY}/{config.CLIENT_PASSWORD}"
        return Shell(("redis-cli",), f'export REDISCLI_AUTH="$(cat {path})"')

    def relate(
        self,
        target: Target,  # noqa: ARG002
        standby: ServerStatus,
        primary_target: Target,
        primary: ServerStatus,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Relation:
        """By replication id and offset."""
        return relate(standby, primary_target, primary)

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """By offset within one history; the offset counts before anything else, as a standby
        that is preferred for another reason would lose acknowledged writes."""
        return rank_by(standbys, covers)

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        """By offset within one history."""
        return covers(status, primary)

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """As bytes of its replication stream, where both offsets belong to one history."""
        extra = beyond(status, primary)
        return f"{extra} bytes of its replication stream" if extra else ""

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """As bytes of the primary's replication stream, where both share a history."""
        missing = beyond(primary, status)
        return f"at least {missing} bytes of the replication stream" if missing else ""

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """No major version back: the format of its files changes with these."""
        return upgrade_problem(present, wanted)

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        """`maxmemory`."""
        return config.data_bytes(memory_bytes)

    def cache_bytes(self, service: ServiceContext, target: Target) -> int:
        """What counts against `maxmemory`: the data with what it takes to keep them."""
        with told_apart(target):
            answer = self._connections.manager(service, target).info("memory")
        aside = int(answer.get("mem_not_counted_for_evict", 0))
        return max(0, int(answer["used_memory"]) - aside)

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """`maxmemory`, which standbys heed only when they lead, and the backlog."""
        with told_apart(target):
            client = self._connections.manager(service, target)
            client.config_set(
                "maxmemory",
                config.data_bytes(memory_bytes) or 0,
                "repl-backlog-size",
                config.backlog_bytes(memory_bytes),
            )
            if memory_bytes is not None:
                client.memory_purge()

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """INFO, and what the data tell of the last promotion."""
        with told_apart(target):
            client = self._connections.manager(service, target)
            answer = info(client)
            loads = answer.get("loading") or answer.get("async_loading")
            term = None if loads else told_term(client)
        history = self._history(service)
        now = time.monotonic()
        replid, offset = str(answer["master_replid"]), int(answer["master_repl_offset"])
        if answer["role"] == "master":
            history.note(replid, offset, now)
            history.dataset_bytes = int(answer.get("used_memory_dataset", 0)) or None
        lag = history.lag_seconds(replid, offset, now)
        return replace(server_status(answer, lag, history.dataset_bytes), term=term)

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:  # noqa: ARG002
        """A bare connection: the server closes no idle ones (`timeout 0`)."""
        try:
            return socket.create_connection((target.host, target.port), TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise SilentError(f"{target.name} at {target.address} did not answer") from error
        except OSError as error:
            raise RefusedError(f"nothing listens for {target.name} at {target.address}") from error

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """An empty server needs nothing but the word that it may take writes."""
        self._take_writes(service, target)

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """A standby copies everything by itself once it follows."""
        self.attach(service, target, primary, ())

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],  # noqa: ARG002
    ) -> None:
        """REPLICAOF, unless it follows that primary already."""
        with told_apart(target):
            client = self._connections.manager(service, target)
            seen = info(client)
            followed = (str(seen.get("master_host")), int(seen.get("master_port", 0)))
            if seen["role"] == "master" or followed != (primary.host, primary.port):
                client.replicaof(primary.host, primary.port)

    def drain(self, service: ServiceContext, target: Target) -> str:
        """Nothing to wait for: a standby applies what it receives as it receives it."""
        with told_apart(target):
            offset = info(self._connections.manager(service, target))["master_repl_offset"]
        return f"it has applied all it received, up to offset {offset}"

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],  # noqa: ARG002
        required_acks: int,
        term: int | None = None,
    ) -> str:
        """REPLICAOF NO ONE; clients that read from it are cut off and look again."""
        self.set_required_acks(service, target, required_acks)
        self._take_writes(service, target)
        note_term(self._connections.manager(service, target), term)
        with told_apart(target):
            seen = info(self._connections.manager(service, target))
        return self._loss(service, str(seen["master_replid2"]), int(seen["second_repl_offset"]))

    def settle(self, service: ServiceContext, target: Target) -> None:
        """Nothing."""

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """`min-replicas-to-write`: writes are refused unless so many standbys were heard of within
        `min-replicas-max-lag`. That bounds what can be lost; it does not make it nothing."""
        with told_apart(primary):
            self._connections.manager(service, primary).config_set(
                "min-replicas-to-write",
                required_acks,
                "min-replicas-max-lag",
                config.MAX_LAG_SECONDS,
            )

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:  # noqa: ARG002
        """No client waits for a standby in the server."""
        return "none waits"

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """A standby always reports its offset; nothing waits for it."""

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """Nothing is promised of a standby."""

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Nothing is promised of a standby."""

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Let it follow nobody, which makes it refuse writes, and cut its clients off."""
        with told_apart(target):
            pipe = self._connections.manager(service, target).pipeline(transaction=True)
            pipe.replicaof(*config.NOWHERE)
            cut_clients(pipe)
            pipe.execute()

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:  # noqa: ARG002
        """No server of this engine elects: a forced promotion is an ordinary one."""
        raise ServerError(f"{target.name} is promoted, not elected: nothing was changed")

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """Pause writes, compare offsets, change the roles; there are no long transactions."""
        return hand_over(
            self._connections,
            service,
            target,
            primary,
            terms,
            lambda: self.set_required_acks(service, target, terms.required_acks),
        )

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:  # noqa: ARG002
        """The primary keeps no list of standbys: it is enough that this one stops following."""
        with contextlib.suppress(RefusedError, SilentError):
            self.demote(service, target)

    def before_stop(self, service: ServiceContext, target: Target) -> bool:  # noqa: ARG002
        """Nothing delays its shutdown."""
        return False

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        self._connections.forget(target)

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> RedisWriter:
        """A client with the application's password."""
        return RedisWriter(service, target, timeout_seconds)

    def _history(self, service: ServiceContext) -> OffsetHistory:
        with self._lock:
            return self._histories[service.name]

    def _take_writes(self, service: ServiceContext, target: Target) -> None:
        with told_apart(target):
            client = self._connections.manager(service, target)
            if info(client)["role"] == "master":
                return
            pipe = client.pipeline(transaction=True)
            pipe.replicaof("NO", "ONE")
            cut_clients(pipe)
            pipe.execute()
            if info(client)["role"] != "master":
                raise ServerError(f"{target.name} did not become primary")

    def _loss(self, service: ServiceContext, old_replid: str, second_offset: int) -> str:
        """What the former primary is known to have written beyond the promotion's offset."""
        seen = self._history(service).last_offset(old_replid)
        if seen is None or second_offset < 0:
            return "unknown: replication is asynchronous"
        missing = max(0, seen - (second_offset - 1))
        return (
            f"at least {missing} bytes of its replication stream"
            if missing
            else "none seen; replication is asynchronous, so the last moment's writes may be"
        )
