"""A Redis pair under Redis Sentinel, for comparison: what `benchmarks.soak --peer` measures beside
hamanager's.

Servers, volumes, addresses and the configuration are those of the product, made by its own code;
only what Sentinel has to do itself is left to it: to name a primary and to rewrite the files. All
that is made carries the label `hamanager.manager=sentinel...`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import docker
import redis
from docker.errors import DockerException
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import wait_for
from hamanager.chaos.workload import CLIENT_TIMEOUT_SECONDS
from hamanager.contracts.driver import (
    DATA_DIRECTORY,
    FILES_DIRECTORY,
    Driver,
    FileContent,
    LaunchSpec,
)
from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.errors import HamanagerError, ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.runtime import DockerRuntime
from hamanager_drivers.redis.config import MANAGER, NOWHERE

SERVICE = "db"
SERVERS = 2
SENTINELS = 3
QUORUM = 2
SENTINEL_PORT = 26379
DOWN_AFTER_MILLISECONDS = 1000
FAILOVER_TIMEOUT_MILLISECONDS = 3000
"""A sentinel that tried leaves the next try alone for twice as long."""
SETUP_SECONDS = 60
ASK_SECONDS = 5.0
PAUSE_SECONDS = 0.01
LOG_LINES = 40
REWRITABLE = 0o600


class SentinelPair:
    """Use as a context manager: nothing is left afterwards."""

    def __init__(self, driver: Driver, start_seconds: float) -> None:
        """Sentinel starts nothing: something else does that so long after a server was killed."""
        self.title = f"Redis Sentinel (a killed server starts after {start_seconds:g} s)"
        self._start_seconds = start_seconds
        self.driver = driver
        self.context = ServiceContext(SERVICE, driver.engine, None, driver.new_secrets())
        self._manager_id = f"sentinel{secrets.token_hex(4)}"
        self._docker = docker.from_env(timeout=30)
        self._runtime = DockerRuntime(self._manager_id, client=self._docker)
        self.faults = Faults(self._docker, self._manager_id)
        self._servers: list[Target] = []
        self._sentinels: list[Target] = []
        self._lock = threading.Lock()
        self._client: Sentinel
        self._last: Target

    def __enter__(self) -> SentinelPair:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove every container, volume and network that was made here."""
        self._runtime.destroy_service(SERVICE)
        for target in self._servers:
            self.driver.forget(target)
        self._runtime.close()
        self._docker.close()

    # --- What the soak asks of whatever it measures --------------------------------------------

    def members(self) -> Sequence[Target]:
        """Both servers."""
        return self._servers

    def primary(self) -> Target:
        """Whom the sentinels name.

        Raises:
            HamanagerError: they name none.
        """
        try:
            with self._lock:  # asking sorts its list of sentinels
                _, port = self._client.discover_master(SERVICE)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            raise HamanagerError(f"the sentinels name no primary: {error}") from error
        return next(target for target in self._servers if target.port == int(port))

    def heal(self) -> None:
        """End every failure that is still in force."""
        self.faults.heal()

    def entries(self) -> Sequence[Target]:
        """As an application does after a failure: ask the sentinels until they name one."""
        deadline = time.monotonic() + ASK_SECONDS
        while time.monotonic() < deadline:
            try:
                self._last = self.primary()
                break
            except HamanagerError:
                time.sleep(PAUSE_SECONDS)
        return [self._last]

    def kill(self, instance: str) -> None:
        """SIGKILL, and started again after a while by somebody else."""
        self.faults.kill(instance)
        time.sleep(self._start_seconds)
        ref = next(p for p, t in self._places() if t.name == instance)
        try:
            self._docker.api.start(Names(self._manager_id).container(ref))
        except DockerException as error:
            raise HamanagerError(f"{instance} could not be started again: {error}") from error

    def is_whole(self) -> bool:
        """The one they name takes writes and the other follows it."""
        try:
            primary = self.primary()
            return all(self._has_its_place(target, primary) for target in self._servers)
        except HamanagerError:
            return False

    def tidy(self) -> None:
        """Sentinel keeps nothing of what it discards."""

    def account(self) -> str:
        """What the sentinels wrote."""
        logs = []
        for ref, target in self._places():
            logs.append(f"--- {target.name}")
            logs += [line.text for line in self._runtime.logs(ref, LOG_LINES)]
        return "\n".join(logs)

    # --- Making it -----------------------------------------------------------------------------

    def _start(self) -> None:
        names = [f"{SERVICE}.{index}" for index in range(SERVERS)]
        names += [f"sentinel.{index}" for index in range(SERVERS, SERVERS + SENTINELS)]
        taken: set[int] = set()
        for serial, name in enumerate(names):
            host, port = self._runtime.reserve_address(frozenset(taken))
            taken.add(port)
            kind = self._servers if serial < SERVERS else self._sentinels
            kind.append(Target(name, host, port, serial))
        self._last = self._servers[0]
        image = self._runtime.resolve_image(self.driver.engine, self.driver.traits.image)
        for ref, target in self._places():
            sentinel = target in self._sentinels
            launch = self._sentinel_spec(target) if sentinel else self._server_spec(target)
            self._runtime.start(ref, Container(image, target.host, target.port, launch))
        self._client = Sentinel(  # type: ignore[no-untyped-call]
            [(target.host, target.port) for target in self._sentinels],
            sentinel_kwargs={
                "socket_timeout": CLIENT_TIMEOUT_SECONDS,
                "socket_connect_timeout": CLIENT_TIMEOUT_SECONDS,
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
            },
        )
        wait_for("the sentinels to know each other", SETUP_SECONDS, self._is_watched)

    def _places(self) -> list[tuple[InstanceRef, Target]]:
        both = [*self._servers, *self._sentinels]
        return [(InstanceRef(SERVICE, target.name), target) for target in both]

    def _server_spec(self, target: Target) -> LaunchSpec:
        """The product's, but that the file says who leads: Sentinel's servers start as what they
        were."""
        launch = self.driver.launch_spec(self.context, target)
        [(name, content)] = launch.files.items()
        nowhere = "replicaof {} {}\n".format(*NOWHERE)
        assert nowhere in content.text
        first = self._servers[0]
        source = "" if target is first else f"replicaof {first.host} {first.port}\n"
        text = content.text.replace(nowhere, source)
        return replace(launch, files={name: FileContent(text, REWRITABLE)})

    def _sentinel_spec(self, target: Target) -> LaunchSpec:
        first = self._servers[0]
        lines = [
            f"port {SENTINEL_PORT}",
            "protected-mode no",
            f"dir {DATA_DIRECTORY}",
            f"sentinel announce-ip {target.host}",
            f"sentinel announce-port {target.port}",
            f"sentinel monitor {SERVICE} {first.host} {first.port} {QUORUM}",
            f"sentinel auth-user {SERVICE} {MANAGER}",
            f"sentinel auth-pass {SERVICE} {self.context.secrets['manager_password']}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLISECONDS}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MILLISECONDS}",
            f"sentinel parallel-syncs {SERVICE} 1",
        ]
        text = "\n".join(lines) + "\n"
        return LaunchSpec(
            script=f"exec redis-server {FILES_DIRECTORY}/sentinel.conf --sentinel",
            port=SENTINEL_PORT,
            files={"sentinel.conf": FileContent(text, REWRITABLE)},
        )

    def _is_watched(self) -> bool:
        """Every sentinel knows the standby and all other sentinels."""
        try:
            states: list[Any] = [
                client.sentinel_master(SERVICE) for client in self._client.sentinels
            ]
        except redis.RedisError:
            return False
        return self.is_whole() and all(
            state["num-slaves"] == SERVERS - 1 and state["num-other-sentinels"] == SENTINELS - 1
            for state in states
        )

    def _has_its_place(self, target: Target, primary: Target) -> bool:
        try:
            status = self.driver.probe(self.context, target)
        except ServerError:
            return False
        if target == primary:
            return status.role is Role.PRIMARY
        return status.synchronized and status.source == primary.address
