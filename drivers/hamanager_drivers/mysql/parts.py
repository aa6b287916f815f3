"""What a MySQL server does besides answering: it replicates, semi-synchronously, and caches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial

from hamanager.contracts.replication import HandOver
from hamanager.errors import RefusedError, ServerError, SilentError, WritesWaitError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_drivers.certificates import FILE_NAMES
from hamanager_drivers.mysql import config, gtid, semisync
from hamanager_drivers.mysql.admission import admit, shut_out
from hamanager_drivers.mysql.clone import Clones
from hamanager_drivers.mysql.connections import CHANGE_SECONDS, Connections, Purpose
from hamanager_drivers.mysql.handover import hand_over
from hamanager_drivers.mysql.led import Led
from hamanager_drivers.mysql.logins import remember_application
from hamanager_drivers.mysql.memory import filled_pool_bytes, limit_connections, resize_pool
from hamanager_drivers.mysql.probe import clone_rows, server_row, waits
from hamanager_drivers.mysql.replication import (
    apply_received,
    cut_everybody,
    end_waiting,
    follow,
    forget_source,
    step_down,
    take_writes,
)
from hamanager_drivers.mysql.status import (
    beyond,
    covers,
    has_source,
    holds,
    relate,
    server_status,
)
from hamanager_drivers.mysql.upgrade import upgrade_problem
from hamanager_drivers.ranking import rank_by


class MySQLReplication:
    """By GTID; first copies by the clone plugin."""

    def __init__(self, connections: Connections, clones: Clones, led: Led) -> None:
        self._connections, self._clones, self._led = connections, clones, led

    def relate(
        self,
        target: Target,  # noqa: ARG002
        standby: ServerStatus,
        primary_target: Target,
        primary: ServerStatus,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Relation:
        """By sets of GTIDs."""
        return relate(standby, primary_target, primary)

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        """By sets of GTIDs that are executed."""
        executed = gtid.parse(status.position["executed"])
        return gtid.parse(primary.position["executed"]) <= executed

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """As a GTID set."""
        follows = bool(status.source) and status.position["receiver"] != "OFF"
        return str(beyond(status, primary, follows=follows))

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """As a number of transactions."""
        missing = (gtid.parse(primary.position["executed"]) - holds(status)).count
        return f"at least {missing} transactions" if missing else ""

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """By what has reached each one's disk, applied or not, as sets: a count says nothing
        where two have different transactions."""
        return rank_by({n: s for n, s in standbys.items() if not s.empty}, covers)

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """Nothing older, and no series left out."""
        return upgrade_problem(present, wanted)

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """Let the first server take writes. Its first transaction is the manager's, so that
        only a server that holds no copy has executed none."""
        with self._connections.session(service, target) as session:
            server = server_row(session)
            if server["read_only"]:
                # `read_only` stays on: only the manager writes now.
                session.run(
                    "SET GLOBAL super_read_only = OFF",
                    f"CREATE DATABASE IF NOT EXISTS {config.MARKER_SCHEMA}",
                    f"CREATE DATABASE IF NOT EXISTS `{config.database(service)}`",
                )
            take_writes(session, target, 0)

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """CLONE INSTANCE in the background, for a server without data.

        Raises:
            ServerError: it holds data, which the copy would replace.
        """
        with self._connections.session(service, target) as session:
            status = server_status(server_row(session), clone_rows(session))
        if status.position["cloning"]:
            return
        if status.role is Role.PRIMARY or holds(status):
            raise ServerError(f"{target.name} holds data already: it was not replaced by a copy")
        self._clones.begin(service, target, primary)

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],  # noqa: ARG002
    ) -> None:
        """Follow that primary by GTID, once everything received from another is applied."""
        if target.placed_on:
            with self._connections.session(service, primary) as led:
                admit(led, service, target)
        with self._connections.session(service, target) as session:
            follow(session, service, target, primary)

    def apply_received(self, service: ServiceContext, target: Target) -> str:
        """Stop the receiver, and wait until the applier is done."""
        with self._connections.session(service, target) as session:
            waited_for = apply_received(session, target)
        if not waited_for:
            return "it had applied everything it received"
        return f"it applied the last {waited_for} transactions it received"

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],  # noqa: ARG002
        required_acks: int,
        term: int | None = None,
    ) -> str:
        """Follow nobody and take writes."""
        with self._connections.session(service, target) as session:
            remember = partial(remember_application, service, target)
            executed = take_writes(session, target, required_acks, term, remember)
        return self._loss(service, executed)

    def demote(self, service: ServiceContext, target: Target) -> None:
        """`super_read_only`, with every client cut off before anything is let go."""
        with self._connections.session(service, target) as session:
            step_down(session)

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """Stop the writes, wait until the target has executed all of them, promote it."""
        return hand_over(self._connections, service, target, primary, terms)

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:  # noqa: ARG002
        """The primary keeps no list of standbys: it is enough that this one stops following."""
        with (
            contextlib.suppress(RefusedError, SilentError),
            self._connections.session(service, target) as session,
        ):
            if has_source(server_row(session)):
                session.run("STOP REPLICA IO_THREAD")

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """The source side of semi-synchronous replication."""
        with self._connections.session(service, primary) as session:
            semisync.set_required_acks(session, required_acks)

    def settle(self, service: ServiceContext, target: Target) -> None:
        """Forget whom it followed."""
        with self._connections.session(service, target) as session:
            forget_source(session)

    def shut_down(self, service: ServiceContext, target: Target) -> None:
        """Cut every connection off, so that nobody is told of a write that waits, and the standbys'
        too: a shutdown waits 2 s for idle ones to end by themselves, and 10 s while a standby is
        connected (both seen on 9.7). Then it shuts itself down: signals end it by force."""
        with self._connections.session(service, target) as session:
            step_down(session)
            cut_everybody(session)
            session.run("SHUTDOWN")
        self._connections.forget(target)

    def _loss(self, service: ServiceContext, executed: str) -> str:
        """What the former primary was last seen to have executed and this one has not."""
        led = self._led.last(service.name)
        if led is None:
            return "unknown: replication is asynchronous"
        missing = (gtid.parse(led) - gtid.parse(executed)).count
        if missing:
            return f"at least {missing} transactions"
        return "none seen; replication is asynchronous, so the last moment's writes may be"


class MySQLSemiSync:
    """A standby acknowledges what is on its disk."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """The replica side, and a relay log that is synced with each event. Who acknowledges may be
        promoted, and then the application's clients come all at once."""
        if wanted:
            remember_application(service, target)
        with self._connections.session(service, target) as session:
            semisync.set_semisync_replica(session, target, wanted=wanted)

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """By position in the primary's binary log, and by what is applied."""
        with self._connections.session(service, primary) as led:
            written = semisync.end_of_log(led)
            executed = gtid.parse(server_row(led)["executed"])
        with self._connections.session(service, target) as session:
            semisync.wait_until_caught_up(session, target, written, executed)

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """By position in the primary's binary log."""
        written = self._end_of_log(service, primary)
        with self._connections.session(service, target) as session:
            semisync.wait_until_received(session, target, written)

    def _end_of_log(self, service: ServiceContext, primary: Target) -> tuple[str, int]:
        """Nobody is told that while a new log is to begin, and none begins while a write waits (see
        `semisync.shorten_log`). A server may be silent for other reasons: that writes wait, none
        of them acknowledged meanwhile, is seen from before and after."""
        with self._connections.session(service, primary, Purpose.PROBE) as led:
            before = waits(led)
        began = time.monotonic()
        try:
            with self._connections.session(service, primary) as led:
                semisync.shorten_log(led)
                return semisync.end_of_log(led)
        except SilentError as error:
            if time.monotonic() - began < CHANGE_SECONDS:
                raise  # it was not even reached
            with self._connections.session(service, primary, Purpose.PROBE) as led:
                after = waits(led)
            if not (before[0] and after[0]) or before[1] != after[1]:
                raise
            raise WritesWaitError(
                f"{primary.name} does not tell where its log ends while writes wait"
            ) from error

    def prompt(self, service: ServiceContext, primary: Target) -> None:
        """A statement that is logged and changes nothing. It waits as others do, on its own link,
        and nobody needs its answer."""
        with self._connections.session(service, primary, Purpose.PROBE) as session:
            semisync.expect_no_prompt(session, primary)
        self._end_of_log(service, primary)
        semisync.prompt(service, primary)

    def shut_out(self, service: ServiceContext, primary: Target, serial: int) -> None:
        """Its own login is locked."""
        with self._connections.session(service, primary) as session:
            shut_out(session, serial)

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:
        """Cut off, they are let go and told nothing. A wait cannot be ended in another way."""
        with self._connections.session(service, primary) as session:
            ended = end_waiting(session, required_acks)
        return f"{ended} connections were ended"


class MySQLCertificates:
    """Others without a restart."""

    file_names = FILE_NAMES

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def reload_certificates(self, service: ServiceContext, target: Target) -> None:
        """For new connections; replication reads the authorities when it connects anyway."""
        with self._connections.session(service, target) as session:
            session.run("ALTER INSTANCE RELOAD TLS")


class MySQLCache:
    """The buffer pool."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        """The buffer pool."""
        return config.pool_bytes(memory_bytes)

    def cache_bytes(self, service: ServiceContext, target: Target) -> int:
        """What of the buffer pool is filled."""
        with self._connections.session(service, target, Purpose.PROBE) as session:
            return filled_pool_bytes(session)

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """The buffer pool, online: the server moves pages and goes on working; and the number of
        clients."""
        with self._connections.session(service, target) as session:
            limit_connections(session, config.connections(memory_bytes))
            resize_pool(session, config.pool_bytes(memory_bytes))
