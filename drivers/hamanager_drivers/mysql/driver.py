"""The MySQL driver."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from hamanager.contracts.driver import (
    FILES_DIRECTORY,
    Connection,
    Driver,
    LaunchSpec,
    Shell,
)
from hamanager.model.capabilities import Traits
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role, ServerStatus, SyncProgress
from hamanager_drivers.certificates import CLIENT_AUTHORITIES
from hamanager_drivers.mysql import config, gtid
from hamanager_drivers.mysql.canary import MySQLCanary
from hamanager_drivers.mysql.clone import Clones
from hamanager_drivers.mysql.connections import (
    CHANGE_SECONDS,
    PROBE_SECONDS,
    Connections,
    Purpose,
    Session,
    idle_socket,
)
from hamanager_drivers.mysql.handover import HAND_OVER_CALL_SECONDS
from hamanager_drivers.mysql.led import Led, Waits
from hamanager_drivers.mysql.parts import (
    MySQLCache,
    MySQLCertificates,
    MySQLReplication,
    MySQLSemiSync,
)
from hamanager_drivers.mysql.probe import clone_rows, server_row, stuck_clients, told_term, waits
from hamanager_drivers.mysql.replication import APPLY_SECONDS, STOP_SECONDS
from hamanager_drivers.mysql.status import has_source, holds, server_status
from hamanager_drivers.mysql.writer import MySQLWorkload
from hamanager_drivers.naming import APPLICATION


class MySQLDriver(Driver):
    """MySQL 8.0.26 and later: semi-synchronous replication by GTID, first copies by the clone
    plugin."""

    engine = "mysql"
    traits = Traits(
        allowed_instances=(1, 2, 3, 4, 5),
        minimum_memory_bytes=384 * config.MIB,
        durabilities=(Durability.AVAILABILITY, Durability.STRICT),
        admin_interface=True,
        image="mysql:8.4",
        server_program="mysqld",
        probe_seconds=PROBE_SECONDS,
        call_seconds=max(APPLY_SECONDS + STOP_SECONDS, HAND_OVER_CALL_SECONDS) + CHANGE_SECONDS,
    )

    def __init__(self) -> None:
        self._connections = Connections()
        self._clones = Clones()
        self._led = Led()
        self._waits = Waits()
        self.replication: MySQLReplication = MySQLReplication(
            self._connections, self._clones, self._led
        )
        self.required_acks: MySQLReplication = self.replication
        self.settling: MySQLReplication = self.replication
        self.shutdown: MySQLReplication = self.replication
        self.semisync: MySQLSemiSync = MySQLSemiSync(self._connections)
        self.certificates: MySQLCertificates = MySQLCertificates(self._connections)
        self.cache: MySQLCache = MySQLCache(self._connections)
        self.workload: MySQLWorkload = MySQLWorkload()
        self.canary: MySQLCanary = MySQLCanary()

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
        if service.encryption is not None:
            url += f"?ssl-mode=VERIFY_CA&ssl-ca={CLIENT_AUTHORITIES}"
        return Connection(url, APPLICATION, password, database, host, port)

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """`mysql`; all of MySQL's programs find the account in `.my.cnf`."""
        return Shell(("mysql",), f"export HOME={FILES_DIRECTORY}")

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """One statement; a second one for a server that follows nobody."""
        with self._connections.session(service, target, Purpose.PROBE) as session:
            server = server_row(session)
            alone = server["read_only"] and not has_source(server)
            status = server_status(server, clone_rows(session) if alone else [])
            status = replace(status, term=told_term(session))
            if status.role is Role.PRIMARY:
                status = replace(
                    status,
                    stuck_clients=stuck_clients(session, server),
                    waiting_seconds=self._waited(session, target, status),
                )
        if alone and not holds(status) and self._clones.runs(target):
            # The server itself shows a copy only after it has reached the donor.
            status = replace(
                status,
                position={**status.position, "cloning": "1"},
                sync=status.sync or SyncProgress("connecting"),
            )
        if status.role is Role.PRIMARY:
            self._led.note(service.name, status.position["executed"])
            return status
        # Links are also up, and heard of, before the first missing transaction arrives: what
        # the primary had a probe ago must be here.
        led = self._led.before(service.name)
        has_all = led is not None and gtid.parse(led) <= holds(status)
        return status if has_all else replace(status, synchronized=False)

    def _waited(self, session: Session, target: Target, status: ServerStatus) -> float:
        clients, progress = waits(session) if status.required_acks else (0, ())
        return self._waits.note(target.address, clients, progress, time.monotonic())

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:
        """An authenticated connection: a bare one is dropped after `connect_timeout`."""
        return idle_socket(service, target)

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        self._connections.forget(target)
