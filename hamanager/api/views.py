"""What `info` shows, as values: the documented, stable JSON of the API and of `--output json`.

Sizes are in bytes, durations in seconds, times in seconds since the epoch; what is not known is
null. Fields may be added, none is renamed or removed.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from hamanager.model.durability import Durability
from hamanager.model.order import OrderResult


class ServiceState(StrEnum):
    """How a service is."""

    RUNNING = "running"
    SYNCHRONIZING = "synchronizing"
    """A wanted instance has not been a full copy yet (or the service is being set up)."""
    DEGRADED = "degraded"
    """Its primary works, but fewer instances than wanted are up and attached."""
    FAILING_OVER = "failing-over"
    DOWN = "down"
    """No instance takes writes, and none can take over."""
    UNMANAGED = "unmanaged"
    """What is kept about it cannot be read, or its engine is unknown: nobody watches over its
    servers, which were left as they are."""


class InstanceState(StrEnum):
    """How an instance is."""

    UP = "up"
    DOWN = "down"
    """Its process has ended, or it does not answer."""
    SYNCHRONIZING = "synchronizing"
    """It has never been a full copy (or the primary)."""
    REJOINING = "rejoining"
    """It has been, but does not follow the primary now."""


class _View(BaseModel):
    model_config = ConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )


class DesiredView(_View):
    """What the user asked for."""

    instances: int
    memory_bytes: int | None
    """Limit of each instance; null is no limit."""


class SyncView(_View):
    """How far a full copy has come."""

    stage: str
    percent: float | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    bytes_per_second: float | None = None
    eta_seconds: float | None = None
    approximate: bool = False
    """The total is an estimate."""


class MemoryView(_View):
    """Memory of one instance."""

    reserved_bytes: int | None
    """Its present limit; null is no limit."""
    used_bytes: int | None
    cache_bytes: int | None = None
    """The part of it that is data which the engine keeps at hand."""
    problem: str = ""
    """Why it could not be given the limit that is wanted."""


class InstanceView(_View):
    """One server."""

    name: str
    role: str
    """`primary` or `standby`."""
    state: InstanceState
    address: str
    host: str | None = None
    """The host that it is on; null where there is one engine alone."""
    lag_seconds: float | None
    """Of a standby that replicates, measured end to end; null for the primary, and when replication
    is broken."""
    replication_broken_since: float | None = None
    """Of a standby: since when it does not replicate (seconds since the epoch)."""
    lag_history: list[float | None] = []
    """Of a standby: the worst lag of each ten seconds of the last hour, the newest last; null where
    replication was broken or nothing was known."""
    sync: SyncView | None
    memory: MemoryView
    image: str = ""
    """What it runs from: a name, and a version where that is known."""
    image_id: str | None = None
    draining: bool = False
    """It gets no new requests, and is to stop when it has none."""
    connections: int | None = None
    """Requests that it still serves while it is being drained."""
    restarting: bool = False
    """A planned restart is asked for or under way."""
    detail: str = ""
    """Why it does not answer."""
    synchronized: bool | None = None
    """It holds every acknowledged write; null for engines that do not tell, and of the primary."""
    excess: str = ""
    """What it has and the primary has not, in the engine's terms."""
    warnings: list[str] = []
    """Sentences for people."""
    facts: dict[str, str] = {}
    """Engine-specific; names and values may change."""


class UpgradeView(_View):
    """An upgrade that is under way."""

    to: str
    """The image, and its version where that is known."""
    done: list[str]
    """Instances that work from it."""
    left: list[str]
    """Instances that do not yet."""
    problem: str = ""
    """Why it has stopped, and what to do; '' while it goes on."""


class DurabilityView(_View):
    """What becomes of acknowledged writes in a failure."""

    mode: Durability
    synchronized: list[str] | None
    """Standbys that hold every acknowledged write; null for engines that do not tell."""
    lost_at: float | None
    """Since when there is none of these (seconds since the epoch); null while there are some, and
    before there was the first."""
    note: str
    """One sentence for people."""


class UnsafeCandidateView(_View):
    """A standby that only `hamanager failover --force` promotes."""

    instance: str
    may_lack: str
    """In words; '' when nothing is known of."""


class SwitchoverView(_View):
    """The last planned change of primary."""

    at: float
    from_instance: str = Field(alias="from")
    to_instance: str = Field(alias="to")
    seconds: float
    note: str


class AddressView(_View):
    """The service's own address, which never changes."""

    host: str
    port: int
    leads_to: str | None
    """The instance that clients are sent to; null while new connections wait."""
    reads_port: int | None = None
    """Leads to the standbys; null when no address for reading is wanted."""
    reads_max_lag_seconds: float | None = None
    problem: str = ""
    """Why it does not lead where it should; '' when it does."""


class FailoverView(_View):
    """The last change of primary that nobody asked for."""

    at: float
    from_instance: str | None = Field(alias="from")
    to_instance: str = Field(alias="to")
    seconds: float
    """From the first evidence of death to the new primary accepting writes."""
    lost: str
    forced: bool = False
    """An operator decided it, although writes could be lost."""


class RetainedVolumeView(_View):
    """Data that was set aside instead of being discarded."""

    instance: str
    volume: str
    at: float
    reason: str
    writes: str = ""
    """What it alone has, in the engine's terms, where that is known."""
    unacknowledged: bool = False
    """None of these was ever acknowledged: they make room first."""


class ServiceView(_View):
    """One service."""

    name: str
    engine: str
    version: str | None
    """Of the primary's server; null while that is not known."""
    state: ServiceState
    message: str = ""
    """One sentence: what the manager does or waits for, and why."""
    desired: DesiredView
    primary: str | None
    term: int
    url: str | None
    """For applications, with credentials; null before there is one."""
    instances: list[InstanceView]
    last_failover: FailoverView | None
    created_at: float
    topology: str = "primary-standby"
    """Or `replica-set`: the servers elect their primary themselves; or `stateless`: no data."""
    image: str = ""
    """As the user named it, or as it was found."""
    image_id: str | None = None
    image_digest: str | None = None
    """What every instance is to run from, whatever that name stands for now."""
    image_version: str | None = None
    """Of its server program; null while nobody has asked it."""
    upgrade: UpgradeView | None = None
    """Null while every instance runs from that."""
    port: int | None = None
    health_path: str | None = None
    """Of a service without data: where its program listens inside the container, and what it is
    asked to see whether it is well."""
    destroying: bool = False
    kept: list[RetainedVolumeView] = []
    durability: DurabilityView | None = None
    down_after_seconds: float = 3.0
    failover_period_seconds: float = 60.0
    """How long after a failover another one needs proof of death."""
    allow_drills: bool = False
    canary: bool = False
    """The manager writes something small once a second; `message` says when that does not work."""
    paused: bool = False
    last_switchover: SwitchoverView | None = None
    last_resorts: list[UnsafeCandidateView] = []
    """While no standby can be promoted without loss: whom an operator's order would promote."""
    order_result: OrderResult | None = None
    """What became of the last order."""
    at: float = 0.0
    """When all this was seen (seconds since the epoch)."""
    led_by: str = ""
    """The manager that leads it, where that is another one than the one that was asked."""
    sharing: str = ""
    """A sentence when instances share a host, so that they fail together; '' otherwise."""
    replace_after_seconds: float = 600.0
    """How long an instance's host must have been silent before it is made anew on another one."""
    address: AddressView | None = None
    """Where clients connect; null for engines whose clients know all instances."""


class ManagerView(_View):
    """One manager of the installation."""

    name: str
    me: bool
    """The one that was asked."""
    alive: bool
    silent_seconds: float | None
    """For how long it has given no sign of life, as far as the one that was asked knows; null when
    it is alive, or when nobody counted."""
    started_at: float
    """Seconds since the epoch."""
    version: str
    addresses: list[str]
    """Where its API is reached."""
    leads: list[str]
    """The services that it acts on."""
