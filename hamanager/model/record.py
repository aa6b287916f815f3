"""What is kept in the store about a service: the spec, the record, the secrets.

The *spec* is written by people's commands and never by the loop; the *record* is
written by the loop and never by commands. That split is why every command survives
a crash of the manager half-way: the loop compares the two and acts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from hamanager.model.durability import Durability
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.image import PinnedImage
from hamanager.model.order import Order, OrderResult


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Spec(_Frozen):
    """What the user wants of one service."""

    name: str
    engine: str
    instances: int
    memory_bytes: int | None = None
    """Limit of each instance; None is no limit."""
    image: str
    """As the user named it, or as it was found."""
    pinned: PinnedImage | None = None
    """What that stood for when the service was made, or upgraded; every instance is to run from it.
    None: the service is older than that, and its instances run from what the name stands for."""
    made_from: PinnedImage | None = None
    """What stood there before the first upgrade: an instance runs from that whose record does not
    say what it runs from."""
    down_after_seconds: float = 3.0
    """How long a primary must be silent, unproven dead, before it counts as failed."""
    created_at: float
    """Seconds since the epoch."""
    durability: Durability = Durability.AVAILABILITY
    failover_period_seconds: float = 60.0
    """A second automatic failover within it needs proof of the primary's death."""
    allow_drills: bool = False
    """An operator said that failures may be injected into it on purpose."""
    paused: bool = False
    """An operator asked the manager to observe and not to act."""
    port: int | None = None
    """Of a service without data: where its program listens inside the container."""
    health_path: str | None = None
    """Of a service without data: what is asked to see whether it is well; None: nothing, it is well
    when its port accepts connections."""
    reads_max_lag_seconds: float | None = None
    """A second address offers standbys that are no further behind for reading; None: there is no
    such address."""
    order: Order | None = None
    """The last one-time order; carried out once, or refused."""
    destroy: bool = False
    restarts: Mapping[str, int] = {}
    """Per instance the number of restarts asked for so far (an operator's `restart db.0`)."""


class InstanceRecord(_Frozen):
    """One server of a service, as the loop knows it."""

    name: str
    """`db.0`: the service and a number; the lowest free number is reused."""
    serial: int
    """Never reused within a service; engines that need a unique server number use it."""
    host: str
    port: int
    """Address for clients on the host and for the other servers; survives restarts."""
    admin_port: int | None = None
    """Where the manager and the other servers come in, whatever clients hold; None where the
    engine has no such way in."""
    generation: int
    """Number of its data volume; another one when it is rebuilt from nothing. Never reused
    within a service, so that a new instance never finds a former one's kept data."""
    image: PinnedImage | None = None
    """What it was last started from; None: it was started before anybody noted that."""
    former_image: PinnedImage | None = None
    """What it ran from before, for as long as it has not been seen at work from `image`."""
    upgrading: bool = False
    """The planned restart that is under way is to make it anew from the image that is wanted."""
    memory_bytes: int | None = None
    """The limit it was last given."""
    memory_shrinks_since: float | None = None
    """When it was told to give memory back for a smaller limit (seconds since the epoch)."""
    memory_problem: str = ""
    """Why it could not be given another one; '' when it could."""
    memory_tried_at: float | None = None
    """When that was tried last (seconds since the epoch)."""
    draining_since: float | None = None
    """Of a service without data: since when it gets no new requests (seconds since the epoch)."""
    joined: bool = False
    """It has been a full copy (or the primary) since this generation was made."""
    synchronized: bool = False
    """It is known to hold a full copy and to follow: only such a standby is promoted.
    Cleared whenever it is started, set again when it has been seen attached."""
    synchronized_term: int = 0
    """The term in which that was seen last."""
    has_led: bool = False
    """It was primary with this generation: it may hold writes that nobody else has."""
    unacknowledged_only: bool = False
    """It was primary and replaced by a standby that held every acknowledged write: what it alone
    has was never acknowledged to anybody."""
    restarts_done: int = 0
    """How many of the spec's restarts have been carried out or begun."""
    restarting_since: float | None = None
    """Seconds since the epoch when a planned restart began; None when none is under way."""
    restart_started: bool = False
    """The planned restart has come as far as the start."""
    starts: int = 0
    """Starts since it was last seen healthy: bounds how often a broken server is retried."""
    started_at: float | None = None
    """When it was last started (seconds since the epoch)."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def replication_address(self) -> str:
        """Where its standbys connect to."""
        return f"{self.host}:{self.admin_port or self.port}"

    @property
    def ports(self) -> tuple[int, ...]:
        """All that are taken by it."""
        return (self.port,) if self.admin_port is None else (self.port, self.admin_port)


class Failover(_Frozen):
    """The last change of primary that nobody asked for."""

    at: float
    from_instance: str | None
    to_instance: str
    seconds: float
    """From the first evidence of death in this manager to the new primary accepting writes."""
    lost: str
    """What may have been lost, in words; an honest 'unknown' where it cannot be known."""
    forced: bool = False
    """An operator decided it, although writes could be lost."""


class Switchover(_Frozen):
    """The last planned change of primary."""

    at: float
    from_instance: str
    to_instance: str
    seconds: float
    """From its first step to the new primary accepting writes."""
    note: str
    """What the engine's driver told about it."""


KEPT_LIMIT = 5
"""So many sets of data are set aside for a service. Then those that hold nothing but writes that
were never acknowledged make room, oldest first; when there is none of these, an operator has to.
Where standbys do not acknowledge, each failover sets one aside, and the oldest makes room."""


class KeptData(_Frozen):
    """Data set aside when an instance was rebuilt: nothing is discarded unproven."""

    instance: str
    volume: str
    generation: int = 0
    """Of the volume."""
    at: float
    reason: str
    writes: str = ""
    """What it alone has, in the engine's terms, where that is known."""
    unacknowledged: bool = False
    """None of these writes was ever acknowledged."""


class ServiceRecord(_Frozen):
    """What the loop has done so far for one service."""

    runs: int = 0
    """Grows with each playbook that is begun: so that a run which another one has overtaken fails
    to write the record."""
    term: int = 0
    """Grows by one at every promotion."""
    primary: str | None = None
    promoting: str | None = None
    """The instance a promotion of this term began for and has not finished."""
    promoting_may_write: bool = False
    """From here on that instance may have taken writes, whoever else is on record."""
    switching_to: str | None = None
    """The instance that a planned change of primary began for and has not finished."""
    sync_set: tuple[str, ...] = ()
    """Standbys that hold every acknowledged write on disk. Always a subset of those that truly
    do: one is added after the engine waits for it, and taken out before the engine ceases to."""
    sync_lost_at: float | None = None
    """When the last standby left the sync set (seconds since the epoch); None while it has
    members, and before it had any."""
    guarded: bool = False
    """There has been a synchronized standby: from then on strict durability is in force."""
    initialized: bool = False
    """The first primary has been set up; from here on the service holds data."""
    endpoint: EndpointRecord | None = None
    """The service's own address, the same for ever; None for engines whose clients know all
    instances."""
    instances: tuple[InstanceRecord, ...] = ()
    next_serial: int = 0
    next_generation: int = 1
    last_failover: Failover | None = None
    last_switchover: Switchover | None = None
    order_result: OrderResult | None = None
    """What became of the last order that was carried out or refused."""
    kept: tuple[KeptData, ...] = ()

    def letting_go(self, kept: Collection[KeptData]) -> ServiceRecord:
        """A copy that no longer names these data as set aside."""
        left = tuple(k for k in self.kept if k not in kept)
        return self.model_copy(update={"kept": left})

    def keeping(self, kept: KeptData) -> ServiceRecord:
        """A copy that names that data as set aside."""
        return self.model_copy(update={"kept": (*self.kept, kept)})

    def instance(self, name: str | None) -> InstanceRecord | None:
        """The record of that instance, or None."""
        return next((i for i in self.instances if i.name == name), None)

    def with_instance(self, changed: InstanceRecord) -> ServiceRecord:
        """A copy in which the instance of that name is replaced, or added."""
        others = tuple(i for i in self.instances if i.name != changed.name)
        ordered = sorted((*others, changed), key=lambda i: index_of(i.name))
        return self.model_copy(update={"instances": tuple(ordered)})

    def without_instance(self, name: str) -> ServiceRecord:
        """A copy that no longer has the instance of that name, nor waits for its promotion."""
        update: dict[str, object] = {
            "instances": tuple(i for i in self.instances if i.name != name)
        }
        if self.promoting == name:
            update |= {"promoting": None, "promoting_may_write": False}
        return self.model_copy(update=update)


def index_of(instance_name: str) -> int:
    """The number in an instance's name: 1 for `db.1`."""
    return int(instance_name.rpartition(".")[2])


@dataclass(frozen=True)
class Target:
    """Where one server is, as a driver needs it."""

    name: str
    host: str
    port: int
    serial: int
    admin_port: int | None = None

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
        return cls(record.name, record.host, record.port, record.serial, record.admin_port)


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
