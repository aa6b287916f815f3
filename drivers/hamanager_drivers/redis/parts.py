"""What a Redis server does besides answering: it replicates, and keeps its data in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from hamanager.contracts.replication import HandOver
from hamanager.errors import RefusedError, ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus
from hamanager_drivers.certificates import AUTHORITIES, CERTIFICATE, FILE_NAMES, KEY
from hamanager_drivers.ranking import rank_by
from hamanager_drivers.redis import config
from hamanager_drivers.redis.connections import Connections, cut_clients, info, told_apart
from hamanager_drivers.redis.handover import hand_over
from hamanager_drivers.redis.lag import OffsetHistories
from hamanager_drivers.redis.status import beyond, covers, relate
from hamanager_drivers.redis.term import note_term
from hamanager_drivers.redis.upgrade import upgrade_problem


class RedisReplication:
    """Asynchronous; a standby follows by replication id and offset."""

    def __init__(self, connections: Connections, histories: OffsetHistories, product: str) -> None:
        self._connections, self._histories, self._product = connections, histories, product

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

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """By offset within one history; the offset counts before anything else, as a standby
        that is preferred for another reason would lose acknowledged writes."""
        return rank_by(standbys, covers)

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """No major version back: the format of its files changes with these."""
        return upgrade_problem(self._product, present, wanted)

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

    def apply_received(self, service: ServiceContext, target: Target) -> str:
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

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Let it follow nobody, which makes it refuse writes, and cut its clients off."""
        with told_apart(target):
            pipe = self._connections.manager(service, target).pipeline(transaction=True)
            pipe.replicaof(*config.NOWHERE)
            cut_clients(pipe)
            pipe.execute()

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

    def leave(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """REPLICAOF nowhere closes the connection, and with it ends the reports to the primary. Its
        clients go on reading."""
        with told_apart(target):
            client = self._connections.manager(service, target)
            seen = info(client)
            followed = (str(seen.get("master_host")), int(seen.get("master_port", 0)))
            if followed == (primary.host, primary.port):
                client.replicaof(*config.NOWHERE)

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """`min-replicas-to-write`: writes are refused unless that many standbys were heard of
        within `min-replicas-max-lag`. That bounds what can be lost; it does not make it nothing."""
        with told_apart(primary):
            self._connections.manager(service, primary).config_set(
                "min-replicas-to-write",
                required_acks,
                "min-replicas-max-lag",
                config.MAX_LAG_SECONDS,
            )

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
        seen = self._histories.of(service.name).last_offset(old_replid)
        if seen is None or second_offset < 0:
            return "unknown: replication is asynchronous"
        missing = max(0, seen - (second_offset - 1))
        return (
            f"at least {missing} bytes of its replication stream"
            if missing
            else "none seen; replication is asynchronous, so the last moment's writes may be"
        )


class RedisCertificates:
    """Others without a restart."""

    file_names = FILE_NAMES

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def reload_certificates(self, service: ServiceContext, target: Target) -> None:
        """The files are read again when their names are set, though they are the same."""
        with told_apart(target):
            self._connections.manager(service, target).config_set(
                "tls-ca-cert-file", AUTHORITIES, "tls-cert-file", CERTIFICATE, "tls-key-file", KEY
            )


class RedisCache:
    """All data lie in memory."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

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
