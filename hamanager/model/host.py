"""Machines on which instances run: what is kept about them, and what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass

from hamanager.model.frozen import Frozen


class HostTls(Frozen):
    """What the manager shows to a Docker engine on TCP, and what it believes of it; PEM texts."""

    ca: str
    certificate: str
    key: str


class Host(Frozen):
    """One Docker engine, and the address at which the ports that it publishes are reached."""

    name: str
    docker: str
    """Where managers reach the engine: `unix://`, `ssh://` or `tcp://`."""
    address: str
    """Where clients and the other hosts reach what is published there."""
    engine_id: str = ""
    """The engine's own word for who it is."""
    tls: HostTls | None = None
    draining: bool = False
    """Nothing new is placed there, and what is there moves elsewhere."""
    added_at: float = 0.0
    """Seconds since the epoch."""

    def identified(self, engine_id: str) -> Host:
        """That is its engine's word for who it is."""
        return self._with(engine_id=engine_id)

    def reached(self, docker: str, tls: HostTls | None) -> Host:
        """Its engine is reached in that way."""
        return self._with(docker=docker, tls=tls)

    def drained(self, draining: bool) -> Host:
        """It is to be left, or may be used (again)."""
        return self._with(draining=draining)


class LeftBehind(Frozen):
    """What may still run on a host that did not answer when its instance was made anew elsewhere.
    It is ended when the host answers again."""

    instance: str
    generation: int
    """Of its data volume."""
    placed_on: str
    serial: int
    at: float
    """When it was left (seconds since the epoch)."""
    reason: str
    keep: bool = True
    """It held data: they are set aside."""


@dataclass(frozen=True)
class Occupant:
    """An instance of any service, as far as placing another one depends on it."""

    service: str
    placed_on: str
    memory_bytes: int | None
    """Its limit."""


@dataclass(frozen=True)
class EngineInfo:
    """What a Docker engine says of itself."""

    id: str
    version: str
    memory_bytes: int
    """Of its machine."""
    now: float | None
    """Its clock, in seconds since the epoch; None when it does not tell."""


@dataclass(frozen=True)
class HostSeen:
    """How a host is, as the manager has seen it lately."""

    name: str
    address: str
    draining: bool = False
    silent_seconds: float = 0.0
    """For how long its engine has not answered; 0 while it does."""
    memory_bytes: int | None = None
    """All that its machine has; None before its engine has told that."""
    problem: str = ""
    """The sentence that came instead of an answer."""

    @property
    def answers(self) -> bool:
        """Whether its engine does."""
        return self.silent_seconds == 0.0
