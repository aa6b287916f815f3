"""A service and its servers, as a driver needs to know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hamanager.model.encryption import Encryption
from hamanager.model.instance import InstanceRecord


@dataclass(frozen=True)
class Target:
    """Where one server is, as a driver needs it."""

    name: str
    host: str
    port: int
    serial: int
    admin_port: int | None = None
    placed_on: str = ""
    """Its host; '' where there is one engine alone."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def replication_port(self) -> int:
        """Where the manager and its standbys connect to."""
        return self.admin_port or self.port

    @property
    def replication_address(self) -> str:
        """The same with the host."""
        return f"{self.host}:{self.replication_port}"

    @classmethod
    def of(cls, record: InstanceRecord) -> Target:
        """The target that a record describes."""
        return cls(
            name=record.name,
            host=record.host,
            port=record.port,
            serial=record.serial,
            admin_port=record.admin_port,
            placed_on=record.placed_on,
        )


@dataclass(frozen=True)
class ServiceContext:
    """What a driver needs to know about the service whose servers it handles."""

    name: str
    engine: str
    memory_bytes: int | None
    secrets: Mapping[str, str] = field(repr=False)
    """Made by the driver's `new_secrets`; never printed, logged or put in an error."""
    port: int | None = None
    health_path: str | None = None
    """Of a service without data, as in its spec."""
    encryption: Encryption | None = None
    """What its servers and their clients encrypt with; None: nothing is encrypted."""
