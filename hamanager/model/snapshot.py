"""What was seen of a service in one observation: the input of a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hamanager.model.host import HostSeen


class Process(StrEnum):
    """The runtime's word on an instance's server process."""

    RUNNING = "running"
    EXITED = "exited"
    MISSING = "missing"
    """There is no container for it (any more)."""
    UNKNOWN = "unknown"
    """The runtime itself did not answer."""


class Contact(StrEnum):
    """What came of asking the server itself."""

    ANSWERS = "answers"
    BUSY = "busy"
    """It answered that it cannot serve now; a sign of life."""
    REFUSED = "refused"
    SILENT = "silent"


class Role(StrEnum):
    """What a server takes itself for."""

    PRIMARY = "primary"
    """It accepts writes from clients."""
    STANDBY = "standby"
    """It refuses writes; it may or may not be replicating."""


class Relation(StrEnum):
    """How a standby's data and replication stand towards the primary on record."""

    UNKNOWN = "unknown"
    """One of the two could not be asked, or this instance is the primary itself."""
    ATTACHED = "attached"
    """It replicates from the primary: nothing to do."""
    SEEDING = "seeding"
    """Its first full copy is under way."""
    DETACHED = "detached"
    """`attach` is the next step: its data is a part of the primary's, or it has none."""
    EMPTY = "empty"
    """It has no data and needs `seed` before it can be attached."""
    UNPROVEN = "unproven"
    """`attach` works but replaces its data, whose presence elsewhere cannot be proven."""
    DIVERGED = "diverged"
    """It holds what the primary does not have, or lacks what the primary cannot send any more."""


@dataclass(frozen=True)
class SyncProgress:
    """How far a standby's copy has come. Numbers that the engine does not tell are None."""

    stage: str
    """The engine's own word, in lower case: `file copy`, `receiving`, `loading`."""
    percent: float | None = None
    """0 to 100."""
    bytes_done: int | None = None
    bytes_total: int | None = None
    bytes_per_second: float | None = None
    eta_seconds: float | None = None
    approximate: bool = False
    """The total is an estimate (some engines do not know it beforehand)."""


@dataclass(frozen=True)
class ServerStatus:
    """One server's answer to a probe."""

    role: Role
    version: str = ""
    position: Mapping[str, str] = field(default_factory=dict)
    """How far its data goes, in the driver's own terms; only `relate` and `rank` read it."""
    source: str | None = None
    """`host:port` it is told to replicate from."""
    link_up: bool | None = None
    """Its replication link is established and has carried something lately."""
    link_age_seconds: float | None = None
    """Since the source was last heard on the link."""
    lag_seconds: float | None = None
    """How far its data is behind the primary's; None when that cannot be known."""
    synchronized: bool = False
    """It holds a full copy and follows."""
    undoes: bool = False
    """Of a standby: it takes back writes that the others do not have, and does not replicate
    before that is done."""
    sync: SyncProgress | None = None
    """Present while a full copy is being made or loaded."""
    required_acks: int | None = None
    """Of a primary: for how many standbys' acknowledgements each write waits; None for engines
    that cannot be told to."""
    stuck_clients: int = 0
    """Of a primary: how many clients' writes have been waiting for a standby for a while, when that
    leaves no connection for others; 0 while it does."""
    waiting_seconds: float = 0.0
    """Of a primary: for so long, at least, writes have been waiting for standbys, and none of them
    was acknowledged meanwhile."""
    turns_clients_away: bool = False
    """Of a primary: it was told to let no client in, as while waiting ones are ended."""
    acknowledges: bool = False
    """Of a standby: the primary counts its acknowledgements."""
    acknowledges_from_disk: bool = False
    """Of a standby: what it acknowledges is on its disk."""
    term: int | None = None
    """The highest term that its data tell of: each promotion writes it there, so that a store which
    was restored from an older copy is found out. None where the engine does not keep it."""
    empty: bool = False
    """It holds no data of the service at all."""
    believes_in: str | None = None
    """`host:port` of the primary this server knows of (engines that elect by themselves)."""
    heard_seconds: Mapping[str, float] = field(default_factory=dict)
    """By `host:port`: how long ago it heard of each other one (likewise)."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Short engine-specific lines for `status`; never decided upon."""

    def is_standby_of(self, address: str) -> bool:
        """Whether it is to replicate from there, or believes that this one leads."""
        return (self.believes_in or self.source) == address


@dataclass(frozen=True)
class Observation:
    """All that is known of one instance at the time of a snapshot."""

    process: Process
    contact: Contact
    status: ServerStatus | None = None
    relation: Relation = Relation.UNKNOWN
    silent_seconds: float = 0.0
    """For how long it has given no sign of life, as counted by an awake manager."""
    probe_seconds: float | None = None
    """How long its answer took; None when there was none."""
    answered_seconds: float | None = None
    """How long ago this manager had an answer of it; None: never."""
    same_source_seconds: float = 0.0
    """For how long this manager has seen it follow whom it follows now, or nobody, each time it
    looked."""
    detail: str = ""
    """The error's sentence when it did not answer."""
    asked_to_end_seconds: float | None = None
    """How long ago somebody other than the manager asked its process to end, which its guard holds
    back for a moment; None when nobody did."""
    errant_writes: str = ""
    """What it has and the primary on record has not, in the engine's terms; '' for nothing."""
    lag_seconds: float | None = None
    """Of a standby: how long ago the primary had the first thing that this one has not applied."""
    broken_since: float | None = None
    """Of a standby: since when it does not replicate (seconds since the epoch); None while it does
    or makes its first copy."""
    lag_history: tuple[float | None, ...] = ()
    """The worst lag of each step up to now; None where it was broken or not known."""
    memory_used_bytes: int | None = None
    cache_bytes: int | None = None
    """The part of it that is data which the engine keeps at hand."""
    connections: int | None = None
    """How many clients it serves through the service's address; None where that is not asked."""
    warnings: tuple[str, ...] = ()
    """Sentences for people: shown in `info` and noted in the history, never decided upon."""

    @property
    def alive(self) -> bool:
        """It gave a sign of life."""
        return self.contact in (Contact.ANSWERS, Contact.BUSY)

    @property
    def gone(self) -> bool:
        """The runtime says that there is no process."""
        return self.process in (Process.EXITED, Process.MISSING)


@dataclass(frozen=True)
class Snapshot:
    """A whole service as observed once. Made in one place, the observer, which reads the clock."""

    at: float
    """Seconds since the epoch."""
    observations: Mapping[str, Observation]
    candidates: tuple[str, ...] = ()
    """Standbys that could be promoted without losing more than the service's durability allows,
    the one with the most data first."""
    unsafe_candidates: tuple[str, ...] = ()
    """Standbys that only an operator's order promotes, as they may lack acknowledged writes; the
    one with the most data first."""
    missing_writes: Mapping[str, str] = field(default_factory=dict)
    """Per unsafe candidate, what it is known to lack, in words."""
    primary_has_all: bool = False
    """The primary on record answers, and no synchronized standby has data that it lacks."""
    hosts: Mapping[str, HostSeen] = field(default_factory=dict)
    """Every host on record, by name; none where there is one engine alone."""

    def of(self, name: str | None) -> Observation | None:
        """The observation of that instance, or None."""
        return self.observations.get(name) if name else None


def links_to(address: str, statuses: Iterable[ServerStatus | None]) -> list[bool | None]:
    """Whether each one that is to replicate from there does."""
    return [s.link_up for s in statuses if s is not None and s.is_standby_of(address)]
