"""The Redis driver."""

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
from hamanager.errors import RefusedError, SilentError
from hamanager.model.capabilities import Traits
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import ServerStatus
from hamanager_drivers.certificates import AUTHORITIES, CLIENT_AUTHORITIES
from hamanager_drivers.redis import config
from hamanager_drivers.redis.canary import RedisCanary
from hamanager_drivers.redis.connections import (
    TIMEOUT_SECONDS,
    Connections,
    told_apart,
)
from hamanager_drivers.redis.handover import PAUSE_SECONDS
from hamanager_drivers.redis.lag import OffsetHistories
from hamanager_drivers.redis.parts import RedisCache, RedisCertificates, RedisReplication
from hamanager_drivers.redis.status import server_status
from hamanager_drivers.redis.term import info_and_term
from hamanager_drivers.redis.writer import RedisWorkload


class RedisDriver(Driver):
    """Redis 6.2 and later, and what is like it: a derived driver says in the first lines what is
    called otherwise."""

    engine = "redis"
    product = "Redis"
    client_program = "redis-cli"
    traits = Traits(
        allowed_instances=(1, 2, 3, 4, 5),
        minimum_memory_bytes=32 * 1024**2,
        durabilities=(Durability.AVAILABILITY, Durability.STRICT),
        data_in_memory=True,
        image="redis:8",
        server_program="redis-server",
        refuses_alone_after_seconds=config.REFUSES_ALONE_SECONDS,
        probe_seconds=TIMEOUT_SECONDS,
        call_seconds=PAUSE_SECONDS,
    )

    def __init__(self) -> None:
        self._connections = Connections()
        self._histories = OffsetHistories()
        self.replication: RedisReplication = RedisReplication(
            self._connections, self._histories, self.product
        )
        self.required_acks: RedisReplication = self.replication
        self.leaving: RedisReplication = self.replication
        self.certificates: RedisCertificates = RedisCertificates(self._connections)
        self.cache: RedisCache = RedisCache(self._connections)
        self.workload: RedisWorkload = RedisWorkload()
        self.canary: RedisCanary = RedisCanary()

    def new_secrets(self) -> dict[str, str]:
        """Three passwords: the application's, the manager's, the standbys'."""
        names = ("password", "manager_password", "replication_password")
        return {name: secrets.token_hex(24) for name in names}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        """A server that follows nobody and refuses writes."""
        return config.launch_spec(service, target, self.traits.server_program)

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
        url = f"{login}:{password}@{host}:{port}/0"
        if service.encryption is None:
            url = f"redis://{url}"
        else:
            url = f"rediss://{url}?ssl_ca_certs={CLIENT_AUTHORITIES}"
        return Connection(url, login, password, "0", host, port)

    def shell(self, service: ServiceContext) -> Shell:
        """`redis-cli` or such, which takes the password from a variable that it alone sees."""
        path = f"{FILES_DIRECTORY}/{config.CLIENT_PASSWORD}"
        encrypted = () if service.encryption is None else ("--tls", "--cacert", AUTHORITIES)
        return Shell((self.client_program, *encrypted), f'export REDISCLI_AUTH="$(cat {path})"')

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """INFO, and what the data tell of the last promotion."""
        with told_apart(target):
            answer, term = info_and_term(self._connections.manager(service, target))
        history = self._histories.of(service.name)
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

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        self._connections.forget(target)
