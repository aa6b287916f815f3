"""Any program that answers on a port: as much of a driver as there is to a server without data."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import httpx

from hamanager.contracts.driver import Connection, HandOver, LaunchSpec, Shell, Writer
from hamanager.errors import RefusedError, ServerError, SilentError
from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, Role, ServerStatus

CHECK_SECONDS = 1.0
MOST_INSTANCES = 32
STOP_SECONDS = 10.0


class StatelessDriver:
    """Its check is the whole of it: an HTTP request, or whether the port accepts a connection."""

    engine = "stateless"
    capabilities = Capabilities(
        allowed_instances=tuple(range(1, MOST_INSTANCES + 1)),
        elects_itself=False,
        minimum_memory_bytes=32 * 1024**2,
        url_names_all=False,
        durabilities=(Durability.AVAILABILITY,),
        stateless=True,
        probe_seconds=CHECK_SECONDS,
        call_seconds=CHECK_SECONDS,
    )

    def new_secrets(self) -> dict[str, str]:
        """It has none."""
        return {}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:  # noqa: ARG002
        """The image's own command."""
        assert service.port is not None
        return LaunchSpec("", service.port, stop_seconds=STOP_SECONDS, own_command=True)

    def connection(
        self,
        service: ServiceContext,  # noqa: ARG002
        address: tuple[str, int] | None,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Connection | None:
        """`http://HOST:PORT/`."""
        if address is None:
            return None
        host, port = address
        return Connection(f"http://{host}:{port}/", "", "", "", host, port, kind="http")

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        """Passes when it answers 200 to 399 at the health path, or accepts a connection."""
        try:
            if service.health_path is None:
                socket.create_connection((target.host, target.port), CHECK_SECONDS).close()
                return ServerStatus(Role.STANDBY, synchronized=True)
            url = f"http://{target.address}{service.health_path}"
            answer = httpx.get(url, timeout=CHECK_SECONDS, trust_env=False)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise SilentError(f"{target.name} at {target.address} did not answer") from error
        except (httpx.TransportError, OSError) as error:
            raise RefusedError(f"nothing answers for {target.name} at {target.address}") from error
        except httpx.HTTPError as error:
            raise ServerError(f"{target.name} answered what is no HTTP") from error
        if not 200 <= answer.status_code < 400:
            raise ServerError(f"{target.name} answered {answer.status_code} to its check")
        return ServerStatus(
            Role.STANDBY, synchronized=True, facts={"check": str(answer.status_code)}
        )

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:  # noqa: ARG002
        """None: a web server closes idle connections."""
        raise ServerError(f"{target.name} keeps no idle connections")

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """A plain one."""
        return Shell(("/bin/sh",), ":")

    def forget(self, target: Target) -> None:
        """No connection is kept."""

    def before_stop(self, service: ServiceContext, target: Target) -> bool:  # noqa: ARG002
        """Its requests have ended."""
        return False

    # --- What only servers with data have -------------------------------------------------------

    def relate(
        self,
        target: Target,  # noqa: ARG002
        standby: ServerStatus,  # noqa: ARG002
        primary_target: Target,  # noqa: ARG002
        primary: ServerStatus,  # noqa: ARG002
        members: Sequence[Target],  # noqa: ARG002
    ) -> Relation:
        """None."""
        return Relation.UNKNOWN

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:  # noqa: ARG002
        """There is nothing to apply."""
        return True

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:  # noqa: ARG002
        """Nobody leads."""
        return ()

    def upgrade_problem(self, present: str, wanted: str) -> str:  # noqa: ARG002
        """There are no data."""
        return ""

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:  # noqa: ARG002
        """Not ours to set."""
        return None

    def cache_bytes(self, service: ServiceContext, target: Target) -> None:
        """Not known."""

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """Not ours to set."""

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """Nothing."""

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Nothing."""

    def attach(
        self, service: ServiceContext, target: Target, primary: Target, members: Sequence[Target]
    ) -> None:
        """Nothing."""

    def drain(self, service: ServiceContext, target: Target) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def promote(
        self,
        service: ServiceContext,  # noqa: ARG002
        target: Target,
        others: Sequence[Target],  # noqa: ARG002
        required_acks: int,  # noqa: ARG002
        term: int | None = None,  # noqa: ARG002
    ) -> str:
        """Never."""
        raise _no_database(target)

    def settle(self, service: ServiceContext, target: Target) -> None:
        """Nothing."""

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """Nothing."""

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:  # noqa: ARG002
        """No client waits for a standby in the server."""
        return "none waits"

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """Nothing."""

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """Nothing."""

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Nothing."""

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Nothing."""

    def hand_over(
        self,
        service: ServiceContext,  # noqa: ARG002
        target: Target,
        primary: Target,  # noqa: ARG002
        terms: HandOver,  # noqa: ARG002
    ) -> str:
        """Never."""
        raise _no_database(target)

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:  # noqa: ARG002
        """Never."""
        raise _no_database(target)

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        """Nothing."""

    def open_writer(
        self,
        service: ServiceContext,  # noqa: ARG002
        target: Target,
        timeout_seconds: float = 1.0,  # noqa: ARG002
    ) -> Writer:
        """Never."""
        raise _no_database(target)


def _no_database(target: Target) -> ServerError:
    return ServerError(f"{target.name} is no database: nothing was changed")
