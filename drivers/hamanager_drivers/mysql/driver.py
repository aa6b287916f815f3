"""The MySQL driver."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

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
from hamanager.model.snapshot import Relation, Role, ServerStatus, SyncProgress
from hamanager_drivers.mysql import config, gtid, semisync
from hamanager_drivers.mysql.clone import Clones
from hamanager_drivers.mysql.connections import (
    CHANGE_SECONDS,
    PROBE_SECONDS,
    Connections,
    Purpose,
    idle_socket,
)
from hamanager_drivers.mysql.handover import HAND_OVER_CALL_SECONDS, hand_over
from hamanager_drivers.mysql.logins import remember_application
from hamanager_drivers.mysql.memory import filled_pool_bytes, limit_connections, resize_pool
from hamanager_drivers.mysql.probe import clone_rows, server_row, stuck_clients, told_term
from hamanager_drivers.mysql.replication import (
    APPLY_SECONDS,
    STOP_SECONDS,
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
from hamanager_drivers.mysql.writer import MySQLWriter
from hamanager_drivers.naming import APPLICATION
from hamanager_drivers.ranking import rank_by


class MySQLDriver:
    """MySQL 8.0.26 and later: semi-synchronous replication by GTID, first copies by the clone
    plugin."""

    engine = "mysql"
    capabilities = Capabilities(
        allowed_instances=(1, 2, 3, 4, 5),
        elects_itself=False,
        minimum_memory_bytes=384 * config.MIB,
        url_names_all=False,
        durabilities=(Durability.AVAILABILITY, Durability.STRICT),
        admin_interface=True,
        acknowledges=True,
        settles_later=True,
        server_program="mysqld",
        probe_seconds=PROBE_SECONDS,
        call_seconds=max(APPLY_SECONDS + STOP_SECONDS, HAND_OVER_CALL_SECONDS) + CHANGE_SECONDS,
    )

    def __init__(self) -> None:
        self._connections = Connections()
        self._clones = Clones()
        self._led: dict[str, tuple[str, str]] = {}
        """Per service, what its primary had executed in the last probe and in the one before."""
        self._lock = threading.Lock()

    def new_secrets(self) -> dict[str, str]:
        """Three passwords: the application's, the manager's, the standbys' (a source's password
        has at most 32 characters)."""
        names = ("password", "manager_password", "replication_password")
        return {name: secrets.token_hex(16) for name in names}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """A server that follows nobody and refuses writes."""
        return config.launch_spec(service, target)

    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Connection | None:
        """`mysql://app:PASSWORD@HOST:PORT/DATABASE`."""
        if address is None:
            return None
        host, port = address
        password, database = service.secrets["password"], config.database(service)
        url = f"mysql://{APPLICATION}:{password}@{host}:{port}/{database}"
        return Connection(url, APPLICATION, password, database, host, port)

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """`mysql`; all of MySQL's programs find the account in `.my.cnf`."""
        return Shell(("mysql",), f"export HOME={FILES_DIRECTORY}")

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

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """By what has reached each one's disk, applied or not, as sets: a count says nothing
        where two have different transactions."""
        return rank_by({n: s for n, s in standbys.items() if not s.empty}, covers)

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

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """Nothing older, and no series left out."""
        return upgrade_problem(present, wanted)

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

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """One statement; a second one for a server that follows nobody."""
        with self._connections.session(service, target, Purpose.PROBE) as session:
            server = server_row(session)
            alone = server["read_only"] and not has_source(server)
            status = server_status(server, clone_rows(session) if alone else [])
            status = replace(status, term=told_term(session))
            if status.role is Role.PRIMARY:
                status = replace(status, stuck_clients=stuck_clients(session, server))
        if alone and not holds(status) and self._clones.runs(target):
            # The server itself shows a copy only after it has reached the donor.
            status = replace(
                status,
                position={**status.position, "cloning": "1"},
                sync=status.sync or SyncProgress("connecting"),
            )
        with self._lock:
            led = self._led.get(service.name)
            if status.role is Role.PRIMARY:
                executed = status.position["executed"]
                self._led[service.name] = (executed, led[0] if led else executed)
                return status
        # Links are also up, and heard of, before the first missing transaction arrives: what
        # the primary had a probe ago must be here.
        has_all = led is not None and gtid.parse(led[1]) <= holds(status)
        return status if has_all else replace(status, synchronized=False)

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:
        """An authenticated connection: a bare one is dropped after `connect_timeout`."""
        return idle_socket(service, target)

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
        with self._connections.session(service, target) as session:
            follow(session, service, target, primary)

    def drain(self, service: ServiceContext, target: Target) -> str:
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

    def settle(self, service: ServiceContext, target: Target) -> None:
        """Forget whom it followed."""
        with self._connections.session(service, target) as session:
            forget_source(session)

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """The source side of semi-synchronous replication."""
        with self._connections.session(service, primary) as session:
            semisync.set_required_acks(session, required_acks)

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:
        """Cut off, they are let go and told nothing. A wait cannot be ended in another way."""
        with self._connections.session(service, primary) as session:
            ended = end_waiting(session, required_acks)
        return f"{ended} connections were ended"

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
        with self._connections.session(service, primary) as led:
            written = semisync.end_of_log(led)
        with self._connections.session(service, target) as session:
            semisync.wait_until_received(session, target, written)

    def demote(self, service: ServiceContext, target: Target) -> None:
        """`super_read_only`, with every client cut off before anything is let go."""
        with self._connections.session(service, target) as session:
            step_down(session)

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """Stop the writes, wait until the target has executed all of them, promote it."""
        return hand_over(self._connections, service, target, primary, terms)

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:  # noqa: ARG002
        """No server of this engine elects: a forced promotion is an ordinary one."""
        raise ServerError(f"{target.name} is promoted, not elected: nothing was changed")

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:  # noqa: ARG002
        """The primary keeps no list of standbys: it is enough that this one stops following."""
        with (
            contextlib.suppress(RefusedError, SilentError),
            self._connections.session(service, target) as session,
        ):
            if has_source(server_row(session)):
                session.run("STOP REPLICA IO_THREAD")

    def before_stop(self, service: ServiceContext, target: Target) -> bool:
        """Cut every connection off, so that nobody is told of a write that waits, and the standbys'
        too: a shutdown waits 2 s for idle ones to end by themselves, and 10 s while a standby is
        connected (both seen on 9.7). Then it shuts itself down: signals end it by force."""
        with self._connections.session(service, target) as session:
            step_down(session)
            cut_everybody(session)
            session.run("SHUTDOWN")
        self.forget(target)
        return True

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        self._connections.forget(target)

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> MySQLWriter:
        """A client with the application's account."""
        return MySQLWriter(service, target, timeout_seconds)

    def _loss(self, service: ServiceContext, executed: str) -> str:
        """What the former primary was last seen to have executed and this one has not."""
        with self._lock:
            led = self._led.get(service.name)
        if led is None:
            return "unknown: replication is asynchronous"
        missing = (gtid.parse(led[0]) - gtid.parse(executed)).count
        if missing:
            return f"at least {missing} transactions"
        return "none seen; replication is asynchronous, so the last moment's writes may be"
