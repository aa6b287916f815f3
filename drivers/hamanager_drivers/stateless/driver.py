"""Any program that answers on a port: as much of a driver as there is to a server without data."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import httpx

from hamanager.contracts.driver import Connection, Driver, LaunchSpec, Shell
from hamanager.errors import RefusedError, ServerError, SilentError
from hamanager.model.capabilities import Traits
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role, ServerStatus

CHECK_SECONDS = 1.0
MOST_INSTANCES = 32
STOP_SECONDS = 10.0


class StatelessDriver(Driver):
    """Its check is the whole of it: an HTTP request, or whether the port accepts a connection."""

    engine = "stateless"
    traits = Traits(
        allowed_instances=tuple(range(1, MOST_INSTANCES + 1)),
        minimum_memory_bytes=32 * 1024**2,
        durabilities=(Durability.AVAILABILITY,),
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
            raise ServerError(f"{target.name} did not answer in HTTP") from error
        if not 200 <= answer.status_code < 400:
            raise ServerError(f"{target.name} answered {answer.status_code} to its check")
        return ServerStatus(
            Role.STANDBY, synchronized=True, facts={"check": str(answer.status_code)}
        )

    def open_tripwire(self, service: ServiceContext, target: Target) -> None:
        """A web server closes idle connections."""

    def shell(self, service: ServiceContext) -> Shell:  # noqa: ARG002
        """A plain one."""
        return Shell(("/bin/sh",), ":")

    def forget(self, target: Target) -> None:
        """No connection is kept."""
