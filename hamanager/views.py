"""What `info` shows, as values: the documented, stable JSON of the API and of `--output json`.

Sizes are in bytes, durations in seconds, times in seconds since the epoch; what is not known is
null. Fields may be added, none is renamed or removed.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from hamanager.evidence import Verdict
from hamanager.routing import leader
from hamanager.situation import Situation, follows, has_role
from hamanager.values.capabilities import Capabilities
from hamanager.values.durability import Durability
from hamanager.values.order import OrderResult
from hamanager.values.service import Failover, InstanceRecord, ServiceRecord, Wish
from hamanager.values.snapshot import (
    Contact,
    Observation,
    Relation,
    Role,
    ServerStatus,
    Snapshot,
)

STARTS_BEFORE_DOWN = 3
"""A new instance whose process ends is still being set up, until it did so that often."""


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
    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")


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


class LastResortView(_View):
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
    """A person decided it, although writes could be lost."""


class KeptView(_View):
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
    port: int | None = None
    health_path: str | None = None
    """Of a service without data: where its program listens inside the container, and what it is
    asked to see whether it is well."""
    destroying: bool = False
    kept: list[KeptView] = []
    durability: DurabilityView | None = None
    down_after_seconds: float = 3.0
    failover_period_seconds: float = 60.0
    """How long after a fail-over another one needs proof of death."""
    allow_drills: bool = False
    paused: bool = False
    last_switchover: SwitchoverView | None = None
    last_resorts: list[LastResortView] = []
    """While no standby can be promoted without loss: whom a person's order would promote."""
    order_result: OrderResult | None = None
    """What became of the last order."""
    at: float = 0.0
    """When all this was seen (seconds since the epoch)."""
    address: AddressView | None = None
    """Where clients connect; null for engines whose clients know all instances."""


def service_view(
    wish: Wish,
    record: ServiceRecord,
    snapshot: Snapshot,
    url: str | None,
    capabilities: Capabilities,
    message: str = "",
    *,
    address_problem: str = "",
) -> ServiceView:
    """The view of one service. Pure."""
    situation = Situation(wish, record, snapshot, capabilities)
    instances = [_instance_view(situation, i) for i in record.instances]
    return ServiceView(
        name=wish.name,
        engine=wish.engine,
        version=_version(situation),
        state=_service_state(situation, instances),
        message=message,
        desired=DesiredView(instances=wish.instances, memory_bytes=wish.memory_bytes),
        primary=record.primary,
        term=record.term,
        url=url,
        instances=instances,
        last_failover=_failover_view(record.last_failover),
        created_at=wish.created_at,
        topology=_topology(capabilities),
        destroying=wish.destroy,
        kept=[KeptView(**kept.model_dump()) for kept in record.kept],
        durability=None if capabilities.stateless else _durability_view(situation),
        port=wish.port,
        health_path=wish.health_path,
        image=wish.image,
        down_after_seconds=wish.down_after_seconds,
        failover_period_seconds=wish.failover_period_seconds,
        allow_drills=wish.allow_drills,
        paused=wish.paused,
        last_switchover=SwitchoverView.model_validate(record.last_switchover.model_dump())
        if record.last_switchover
        else None,
        last_resorts=_last_resorts(situation),
        order_result=record.order_result,
        at=snapshot.at,
        address=_address_view(wish, record, address_problem),
    )


def _topology(capabilities: Capabilities) -> str:
    if capabilities.stateless:
        return "stateless"
    return "replica-set" if capabilities.elects_itself else "primary-standby"


# --- The service's state ------------------------------------------------------------------------


def _service_state(s: Situation, instances: list[InstanceView]) -> ServiceState:
    if s.capabilities.stateless:
        return _state_without_data(s, instances)
    if not s.record.initialized:
        return ServiceState.SYNCHRONIZING
    if s.record.promoting is not None:
        return ServiceState.FAILING_OVER
    if not s.primary_works:
        return _state_without_primary(s)
    if sum(i.joined for i in s.record.instances) < s.wish.instances:
        return ServiceState.SYNCHRONIZING
    up = sum(instance.state is InstanceState.UP for instance in instances)
    return ServiceState.RUNNING if up >= s.wish.instances else ServiceState.DEGRADED


def _state_without_data(s: Situation, instances: list[InstanceView]) -> ServiceState:
    if len(s.record.instances) < s.wish.instances or not all(i.joined for i in s.record.instances):
        return ServiceState.SYNCHRONIZING
    up = sum(instance.state is InstanceState.UP for instance in instances)
    if up == 0:
        return ServiceState.DOWN
    return ServiceState.RUNNING if up >= s.wish.instances else ServiceState.DEGRADED


def _state_without_primary(s: Situation) -> ServiceState:
    """The primary on record does not take writes, as far as we see."""
    if s.restart_runs(s.primary) and not s.capabilities.elects_itself:
        return ServiceState.DOWN
    busy = s.primary_seen is not None and s.primary_seen.contact is Contact.BUSY
    if busy or s.evidence.verdict is Verdict.CUT_OFF:
        return ServiceState.DEGRADED  # alive: it is only we who cannot see what it does
    if s.capabilities.elects_itself and not s.majority_is_up:
        return ServiceState.DOWN
    return ServiceState.FAILING_OVER if s.snapshot.candidates else ServiceState.DOWN


def _version(s: Situation) -> str | None:
    seen = [s.primary_seen, *(seen for _, seen in s.standbys)]
    return next((o.status.version for o in seen if o and o.status and o.status.version), None)


# --- Durability ---------------------------------------------------------------------------------


def _durability_view(s: Situation) -> DurabilityView:
    tells = s.capabilities.acknowledges
    return DurabilityView(
        mode=s.wish.durability,
        synchronized=list(s.record.sync_set) if tells else None,
        lost_at=s.record.sync_lost_at if tells else None,
        note=_durability_note(s),
    )


def _durability_note(s: Situation) -> str:
    if s.wish.durability is Durability.MAJORITY:
        return "a write is acknowledged when a majority of the members has it"
    if s.wish.instances == 1:
        return "one instance holds the data; `hamanager scale` adds a standby"
    if not s.capabilities.acknowledges:
        if s.strict:
            return (
                "writes are refused while no standby is heard of; a failure may lose what the"
                " standby had not received"
            )
        return "replication is asynchronous: a failure may lose the last moment's writes"
    if s.record.sync_set:
        return f"every acknowledged write is on {' and '.join(s.record.sync_set)}, too"
    if s.strict and s.record.guarded:
        return "no standby is in step: writes wait until one is"
    return "no standby is in step: the next failure may lose writes"


def _last_resorts(s: Situation) -> list[LastResortView]:
    if s.primary_works or s.snapshot.candidates or not s.record.initialized:
        return []
    lacking = s.snapshot.shortfalls
    return [
        LastResortView(instance=name, may_lack=lacking.get(name, ""))
        for name in s.snapshot.last_resorts
    ]


# --- One instance -------------------------------------------------------------------------------


def _instance_view(s: Situation, instance: InstanceRecord) -> InstanceView:
    seen = s.snapshot.of(instance.name)
    status = seen.status if seen else None
    leads = instance.name == s.record.primary
    asked = s.wish.restarts.get(instance.name, 0) > instance.restarts_done
    state = _instance_state(s, instance, seen)
    return InstanceView(
        name=instance.name,
        role="instance" if s.capabilities.stateless else "primary" if leads else "standby",
        state=state,
        address=instance.address,
        lag_seconds=None if leads or seen is None else _lag_seconds(seen),
        draining=instance.draining_since is not None,
        connections=seen.connections if seen else None,
        replication_broken_since=None
        if s.capabilities.stateless or leads or seen is None or not instance.joined
        else seen.broken_since,
        lag_history=[]
        if leads or seen is None or s.capabilities.stateless
        else list(seen.lag_history),
        sync=None if leads else _sync_view(state, status),
        memory=MemoryView(
            reserved_bytes=instance.memory_bytes,
            used_bytes=seen.memory_used_bytes if seen else None,
            cache_bytes=seen.cache_bytes if seen else None,
            problem=instance.memory_problem,
        ),
        restarting=asked or instance.restarting_since is not None,
        detail=seen.detail if seen else "",
        synchronized=None
        if leads or not s.capabilities.acknowledges
        else instance.name in s.record.sync_set,
        excess=seen.excess if seen else "",
        warnings=_warnings(instance, seen),
        facts=dict(status.facts) if status else {},
    )


def _warnings(instance: InstanceRecord, seen: Observation | None) -> list[str]:
    warnings = list(seen.warnings) if seen else []
    if instance.memory_problem:
        warnings.append(
            f"{instance.name} has another memory limit than wanted: {instance.memory_problem}"
        )
    return warnings


def _instance_state(
    s: Situation, instance: InstanceRecord, seen: Observation | None
) -> InstanceState:
    if not instance.joined:
        failing = seen is not None and seen.gone and instance.starts >= STARTS_BEFORE_DOWN
        return InstanceState.DOWN if failing else InstanceState.SYNCHRONIZING
    if seen is None or seen.gone or not seen.alive:
        return InstanceState.DOWN
    if instance.name == s.record.primary:
        waits_for_resume = has_role(seen, Role.STANDBY)
        return InstanceState.REJOINING if waits_for_resume else InstanceState.UP
    # Without a primary nobody can say who follows it: the last word counts.
    if s.capabilities.stateless:
        return InstanceState.UP if seen.status is not None else InstanceState.DOWN
    attached = follows(seen) or (seen.relation is Relation.UNKNOWN and not s.primary_works)
    in_step = instance.synchronized
    if s.capabilities.acknowledges and s.primary_works:
        in_step = instance.name in s.record.sync_set
    up = in_step and attached and seen.status is not None
    return InstanceState.UP if up else InstanceState.REJOINING


def _lag_seconds(seen: Observation) -> float | None:
    """A lag says something only while it replicates."""
    return None if seen.broken_since is not None or not follows(seen) else seen.lag_seconds


def _sync_view(state: InstanceState, status: ServerStatus | None) -> SyncView | None:
    """The copy's progress; before and after the copy itself, what is being waited for."""
    if status is not None and status.sync is not None:
        return SyncView(**asdict(status.sync))
    if state is not InstanceState.SYNCHRONIZING:
        return None
    return SyncView(stage="starting" if status is None else "attaching")


def _address_view(wish: Wish, record: ServiceRecord, problem: str) -> AddressView | None:
    if record.endpoint is None:
        return None
    reads = wish.reads_max_lag_seconds is not None
    return AddressView(
        host=record.endpoint.host,
        port=record.endpoint.port,
        leads_to=leader(record),
        reads_port=record.endpoint.reads_port if reads else None,
        reads_max_lag_seconds=wish.reads_max_lag_seconds,
        problem=problem,
    )


def _failover_view(failover: Failover | None) -> FailoverView | None:
    return FailoverView.model_validate(failover.model_dump()) if failover else None
