"""The MongoDB driver."""

from __future__ import annotations

import base64
import secrets
import socket
import threading
from collections.abc import Sequence

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
from hamanager.model.snapshot import ServerStatus
from hamanager_drivers.certificates import CLIENT_AUTHORITIES
from hamanager_drivers.mongodb import config, status
from hamanager_drivers.mongodb.canary import MongoDBCanary
from hamanager_drivers.mongodb.chain import PREPARE_SECONDS, Chain
from hamanager_drivers.mongodb.connections import (
    TIMEOUT_SECONDS,
    AnsweredError,
    Connections,
    knock,
    told_apart,
)
from hamanager_drivers.mongodb.election import ELECTION_SECONDS, Election
from hamanager_drivers.mongodb.parts import (
    MongoDBCache,
    MongoDBCertificates,
    MongoDBCheckpoints,
    MongoDBReplication,
)
from hamanager_drivers.mongodb.writer import MongoDBWorkload
from hamanager_drivers.naming import APPLICATION

# Error codes of the server.
NOT_YET_INITIALIZED = 94
NO_MEMBER_OF_ITS_SET = 93


class MongoDBDriver(Driver):
    """MongoDB 6.0 to 8.x."""

    engine = "mongodb"
    traits = Traits(
        allowed_instances=(1, 3, 5),
        # Filled with data 6.0 was killed at 320 MiB and lived at 384 (the cache alone is 256).
        minimum_memory_bytes=448 * 1024**2,
        url_names_all=True,
        durabilities=(Durability.MAJORITY,),
        rollback_directory="mongodb/rollback",
        image="mongo:7",
        server_program="mongod",
        probe_seconds=TIMEOUT_SECONDS,
        # A hand-over that is undone: the followers, catching up, one election, and the other again.
        call_seconds=PREPARE_SECONDS + 5 * ELECTION_SECONDS + 4 * TIMEOUT_SECONDS,
    )

    def __init__(self) -> None:
        self._connections = Connections()
        self._election = Election(self._connections)
        self._last_primary: dict[str, str] = {}
        self._lock = threading.Lock()
        self.replication: MongoDBReplication = MongoDBReplication(
            self._connections, self._election, self.probe
        )
        self.election: MongoDBReplication = self.replication
        self.certificates: MongoDBCertificates = MongoDBCertificates(self._connections)
        self.cache: MongoDBCache = MongoDBCache(self._connections)
        self.chaining: Chain = Chain(self._connections)
        self.checkpointing: MongoDBCheckpoints = MongoDBCheckpoints(self._connections)
        self.workload: MongoDBWorkload = MongoDBWorkload()
        self.canary: MongoDBCanary = MongoDBCanary()

    def new_secrets(self) -> dict[str, str]:
        """The application's password, and the key that the members share with the manager."""
        key = base64.b64encode(secrets.token_bytes(96)).decode()
        return {"password": secrets.token_hex(24), "key": key}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """A member of no set yet, or of the one it was in."""
        return config.launch_spec(service, target)

    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,  # noqa: ARG002
        members: Sequence[Target],
    ) -> Connection | None:
        """All members: clients find the primary by themselves, and again after an election."""
        if not members:
            return None
        hosts = ",".join(member.address for member in members)
        password, database = service.secrets["password"], config.database(service)
        options = f"replicaSet={service.name}&w=majority&retryWrites=true"
        if service.encryption is not None:
            options += f"&tls=true&tlsCAFile={CLIENT_AUTHORITIES}"
        url = f"mongodb://{APPLICATION}:{password}@{hosts}/{database}?{options}"
        only = members[0] if len(members) == 1 else None
        host, port = (only.host, only.port) if only else (None, None)
        return Connection(url, APPLICATION, password, database, host, port)

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """`mongosh`, whose start file connects as the application."""
        return Shell(("mongosh", "--nodb"), f"export HOME={FILES_DIRECTORY}")

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """`hello` and `replSetGetStatus`, both read from memory by the server."""
        hello = self._election.hello(service, target)
        try:
            answer = self._election.status(service, target)
        except AnsweredError as error:
            if error.code not in (NOT_YET_INITIALIZED, NO_MEMBER_OF_ITS_SET):
                raise
            fresh = error.code == NOT_YET_INITIALIZED
            answer = {"state": status.NOT_INITIATED if fresh else status.REMOVED}
        version = self._connections.version(service, target)
        with self._lock:
            if hello.get("primary"):
                self._last_primary[target.address] = str(hello["primary"])
            last_primary = self._last_primary.get(target.address)
        return status.server_status(hello, answer, version, last_primary)

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:
        """A connection that nobody logged in on: the server closes no idle ones."""
        with told_apart(target):
            return knock(service, target)

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        self._connections.forget(target)
        with self._lock:
            self._last_primary.pop(target.address, None)
