"""The endpoint contract: fixed addresses for clients, whoever is primary.

What is published stays in force while the manager is away, survives the endpoint's own end and
the machine's restart, and changes by a manager's word alone: the endpoint never finds out for
itself who leads (see docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class ListenerKind(StrEnum):
    """How connections are shared out."""

    PRIMARY = "primary"
    """To the one target; while there is none, new connections wait for some seconds."""
    READS = "reads"
    """To the target with the fewest connections."""
    HTTP = "http"
    """Each request to the next target that passes its health check."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Route(_Frozen):
    """One server that connections are sent to."""

    instance: str
    """`db.0`."""
    host: str
    port: int
    draining: bool = False
    """No new connections; those that are open may end by themselves."""


class Listener(_Frozen):
    """One address that clients know, and where it leads."""

    name: str
    """`db`, `db.reads`: unique among all services."""
    kind: ListenerKind
    host: str
    port: int
    routes: tuple[Route, ...] = ()
    capacity: int = 8
    """The most routes that it will ever have at once; growing it makes the endpoint reload."""
    health_path: str | None = None
    """What is asked of each target of kind HTTP; None: whether it accepts a connection."""

    def at(self, host: str) -> Listener:
        """The same on another machine."""
        return Listener(**{**dict(self), "host": host})


class Endpoint(Protocol):
    """Where clients connect to. Thread-safe; every call is bounded in time."""

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        """From now on the service has exactly these addresses, and they lead exactly there.

        It is written down first and put into force then; when the endpoint itself is down, what is
        written comes into force with its return. Nothing happens when it is in force already.
        Connections to servers that are no route any more are ended, or with `cut=False` left to
        end by themselves until `settle`.

        Raises:
            EndpointFailedError: it may not be in force (yet).
        """
        ...

    def published(self, service: str) -> Sequence[Listener]:
        """What is written down for the service, in force or not. Asks nobody."""
        ...

    def services(self) -> Collection[str]:
        """All for which something is written down. Asks nobody."""
        ...

    def settle(self, service: str) -> None:
        """Bring what is written down for the service into force, and end connections to servers
        that are no route any more. It never changes where an address leads, so anybody may call it
        at any time. Nothing happens when all of it is so.

        Raises:
            EndpointFailedError: it may not be in force (yet).
        """
        ...

    def connections(self, listener: str, instance: str) -> int:
        """How many clients are being served by that instance through that listener.

        Raises:
            EndpointFailedError: nobody knows.
        """
        ...

    def check(self) -> None:
        """Bring the endpoint back when it is down, and into force what is written.

        Raises:
            EndpointFailedError: it was not possible.
        """
        ...
