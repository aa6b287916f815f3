"""The simulated servers and their disks: what each of them is, and does by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hamanager.contracts.runtime import InstanceRef
from hamanager.model.snapshot import Role

CONNECTIONS = 6
"""A server has so many for clients."""


REFUSES_ALONE_SECONDS = 5.0
"""For so long an asynchronous primary counts on a standby that it does not hear of any more."""

GIVES_UP_SECONDS = 10.0
"""An asynchronous standby to which nothing comes any more goes on telling its source that it is
there for so long; then it closes the link."""


class Engine(StrEnum):
    """How the simulated servers replicate."""

    ACKNOWLEDGING = "acknowledging"
    ASYNCHRONOUS = "asynchronous"
    ELECTING = "electing"


@dataclass
class Volume:
    """Data on disk."""

    log: list[int] = field(default_factory=list)
    """Everything received."""
    applied: int = 0
    """So many of these writes are applied; the others are lost when it becomes a primary."""
    durable: int = 0
    """So many of them survive a power failure."""
    seeded: bool = False
    term: int = 0
    """Of an engine that elects: in which term the last write was made."""
    version: int = 0
    """The highest that a server of this data had: no older one reads them."""
    told_term: int = 0
    """Of one that is promoted: in which term the last primary was, as its data tell."""

    def copy(self, other: Volume) -> None:
        self.log[:], self.term, self.told_term = other.log, other.term, other.told_term

    def append(self, number: int) -> None:
        self.log.append(number)
        self.apply()

    def apply(self) -> None:
        self.applied = self.durable = len(self.log)

    def sync(self) -> None:
        self.durable = len(self.log)

    def lose_power(self) -> None:
        del self.log[self.durable :]
        self.applied = min(self.applied, self.durable)

    def drop_unapplied(self) -> None:
        del self.log[self.applied :]
        self.durable = min(self.durable, self.applied)

    @property
    def progress(self) -> tuple[int, int]:
        """Members of an engine that elects vote for none that has less."""
        return self.term, len(self.log)


@dataclass
class SimServer:
    """A container with, perhaps, a running server."""

    ref: InstanceRef
    address: str
    volume: str
    serial: int = -1
    """As it was told when it was attached."""
    refused: set[int] = field(default_factory=set)
    """Of a primary: serials of standbys that it does not admit."""
    left: bool = False
    """Its instance was made anew on another host."""
    heard_at: float = 0.0
    """Of a primary: when it last heard of as many standbys as it needs."""
    running: bool = True
    image: str = ""
    """What its container was made from: one whose version is lower than its data's, or which is
    bad, does not come up."""
    broken: bool = False
    """It ends as soon as it is started."""
    hung: bool = False
    cut_off: bool = False
    """The manager cannot reach it; everybody else can."""
    expelled: bool = False
    """A forced reconfiguration has left it out of an electing set."""
    link_cut: bool = False
    """It cannot reach any other server."""
    stalled_at: float | None = None
    """Since when nothing arrives on its link, which seems to be up for a while yet."""
    role: Role = Role.STANDBY
    source: str | None = None
    required_acks: int = 0
    """How many acknowledgements a write of its clients waits for."""
    acknowledges: bool = False
    """What it is told; it takes effect when its receiver connects."""
    link_acknowledges: bool = False
    """What its receiver does, since it connected."""
    held_at_link: int = 0
    """How much of the log it had when its receiver connected: of that it is never asked again."""
    syncs: bool = False
    """Whatever it receives it puts on its disk before it acknowledges."""
    acks: dict[str, int] = field(default_factory=dict)
    """Of a primary: per standby how much of its log that one has acknowledged. A server keeps that
    when the standby has gone, and counts it again whenever it is told another number to wait for
    (MySQL, `semisync_source.cc`: `AckContainer::resize`)."""
    waiting: list[int] = field(default_factory=list)
    """Writes in its log whose clients wait."""
    offline: bool = False
    """It lets no client in."""
    stop_signal: str = "SIGTERM"
    """What it gets when anybody stops its container."""
    holds_stop: bool = False
    """Its guard holds that back for a moment."""
    ends_at: float | None = None
    """When the signal that is held back reaches it."""

    @property
    def awake(self) -> bool:
        return self.running and not self.hung


def version_of(image: str) -> int:
    """`image:2` is of version 2."""
    return int(image.partition(":")[2] or 1)
