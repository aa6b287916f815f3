"""What `info` shows of one service, made of its spec, its record and the last observation. Pure."""

from __future__ import annotations

from dataclasses import asdict

from hamanager.api.views import (
    AddressView,
    DesiredView,
    DurabilityView,
    FailoverView,
    InstanceState,
    InstanceView,
    MemoryView,
    RetainedVolumeView,
    ServiceState,
    ServiceView,
    SwitchoverView,
    SyncView,
    UnsafeCandidateView,
    UpgradeView,
)
from hamanager.decide.evidence import Verdict
from hamanager.decide.placement import sharing_words
from hamanager.decide.routing import leader
from hamanager.decide.rules.upgrade import stopped
from hamanager.decide.situation import Situation, follows, has_role
from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.instance import InstanceRecord
from hamanager.model.primary_change import FailoverResult
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Relation,
    Role,
    ServerStatus,
    Snapshot,
)
from hamanager.model.spec import Spec
from hamanager.model.upgrade import is_upgrading, outdated, runs_from, wanted_image

STARTS_BEFORE_DOWN = 3
"""A new instance whose process ends is still being set up, until it did so that often."""


def service_view(
    spec: Spec,
    record: ServiceRecord,
    snapshot: Snapshot,
    url: str | None,
    capabilities: Capabilities,
    message: str = "",
    *,
    address_problem: str = "",
    led_by: str = "",
    unable: str = "",
) -> ServiceView:
    """The view of one service; `unable`: why nothing can be done about it now. Pure."""
    situation = Situation(spec, record, snapshot, capabilities)
    instances = [_instance_view(situation, i) for i in record.instances]
    return ServiceView(
        name=spec.name,
        engine=spec.engine,
        version=_version(situation),
        state=_service_state(situation, instances),
        message="; ".join(part for part in (message, unable) if part),
        desired=DesiredView(instances=spec.instances, memory_bytes=spec.memory_bytes),
        primary=record.primary,
        term=record.term,
        url=url,
        instances=instances,
        last_failover=_failover_view(record.last_failover),
        created_at=spec.created_at,
        topology=_topology(capabilities),
        destroying=spec.destroy,
        kept=[RetainedVolumeView(**volume.model_dump()) for volume in record.retained],
        durability=None if capabilities.stateless else _durability_view(situation),
        port=spec.port,
        health_path=spec.health_path,
        image=spec.image,
        image_id=spec.pinned.id if spec.pinned else None,
        image_digest=spec.pinned.digest if spec.pinned else None,
        image_version=(spec.pinned.version or None) if spec.pinned else None,
        upgrade=_upgrade_view(situation),
        down_after_seconds=spec.down_after_seconds,
        failover_period_seconds=spec.failover_period_seconds,
        allow_drills=spec.allow_drills,
        canary=spec.canary,
        paused=spec.paused,
        last_switchover=SwitchoverView.model_validate(record.last_switchover.model_dump())
        if record.last_switchover
        else None,
        last_resorts=_unsafe_candidates(situation),
        order_result=record.order_result,
        at=snapshot.at,
        led_by=led_by,
        sharing=sharing_words(record),
        replace_after_seconds=spec.replace_after_seconds,
        address=_address_view(spec, record, address_problem),
    )


def unmanaged_view(name: str, spec: Spec | None, problem: str, at: float) -> ServiceView:
    """Of a service about which nothing can be told but what is wrong. Pure."""
    desired = DesiredView(
        instances=spec.instances if spec else 0, memory_bytes=spec.memory_bytes if spec else None
    )
    return ServiceView(
        name=name,
        engine=(spec.engine if spec else "") or "unknown",
        version=None,
        state=ServiceState.UNMANAGED,
        message=problem,
        desired=desired,
        primary=None,
        term=0,
        url=None,
        instances=[],
        last_failover=None,
        created_at=spec.created_at if spec else 0.0,
        destroying=spec is not None and spec.destroy,
        paused=spec is not None and spec.paused,
        at=at,
    )


def _topology(capabilities: Capabilities) -> str:
    if capabilities.stateless:
        return "stateless"
    return "replica-set" if capabilities.elects_itself else "primary-standby"


def _upgrade_view(s: Situation) -> UpgradeView | None:
    if not is_upgrading(s.spec, s.record):
        return None
    left = [i for i in s.record.instances if outdated(s.spec, i) or i.former_image is not None]
    return UpgradeView(
        to=wanted_image(s.spec).words,
        done=[i.name for i in s.record.instances if i not in left],
        left=[i.name for i in left],
        problem=stopped(s),
    )


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
    if sum(i.joined for i in s.record.instances) < s.spec.instances:
        return ServiceState.SYNCHRONIZING
    up = sum(instance.state is InstanceState.UP for instance in instances)
    return ServiceState.RUNNING if up >= s.spec.instances else ServiceState.DEGRADED


def _state_without_data(s: Situation, instances: list[InstanceView]) -> ServiceState:
    if len(s.record.instances) < s.spec.instances or not all(i.joined for i in s.record.instances):
        return ServiceState.SYNCHRONIZING
    up = sum(instance.state is InstanceState.UP for instance in instances)
    if up == 0:
        return ServiceState.DOWN
    return ServiceState.RUNNING if up >= s.spec.instances else ServiceState.DEGRADED


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
        mode=s.spec.durability,
        synchronized=list(s.record.sync_set) if tells else None,
        lost_at=s.record.sync_lost_at if tells else None,
        note=_durability_note(s),
    )


def _durability_note(s: Situation) -> str:
    if s.spec.durability is Durability.MAJORITY:
        return "a write is acknowledged when a majority of the members has it"
    if s.spec.instances == 1:
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


def _unsafe_candidates(s: Situation) -> list[UnsafeCandidateView]:
    nobody_leads = s.capabilities.stateless
    if nobody_leads or s.primary_works or s.snapshot.candidates or not s.record.initialized:
        return []
    lacking = s.snapshot.missing_writes
    return [
        UnsafeCandidateView(instance=name, may_lack=lacking.get(name, ""))
        for name in s.snapshot.unsafe_candidates
    ]


# --- One instance -------------------------------------------------------------------------------


def _instance_view(s: Situation, instance: InstanceRecord) -> InstanceView:
    seen = s.snapshot.of(instance.name)
    status = seen.status if seen else None
    leads = instance.name == s.record.primary
    asked = s.spec.restarts.get(instance.name, 0) > instance.restarts_done
    state = _instance_state(s, instance, seen)
    return InstanceView(
        name=instance.name,
        role="instance" if s.capabilities.stateless else "primary" if leads else "standby",
        state=state,
        address=instance.address,
        host=instance.placed_on or None,
        lag_seconds=None if leads or seen is None else _lag_seconds(seen),
        image=runs_from(s.spec, instance).words,
        image_id=runs_from(s.spec, instance).id,
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
        excess=seen.errant_writes if seen else "",
        warnings=_warnings(s, instance, seen),
        facts=dict(status.facts) if status else {},
    )


def _warnings(s: Situation, instance: InstanceRecord, seen: Observation | None) -> list[str]:
    warnings = list(seen.warnings) if seen else []
    host = s.host_of(instance)
    if host is not None and not host.answers:
        why = f" ({host.problem})" if host.problem else ""
        warnings.append(
            f"the Docker engine of {host.name}, where {instance.name} is, has not answered for"
            f" {host.silent_seconds:.0f} s{why}"
        )
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


def _address_view(spec: Spec, record: ServiceRecord, problem: str) -> AddressView | None:
    if record.endpoint is None:
        return None
    reads = spec.reads_max_lag_seconds is not None
    return AddressView(
        host=record.endpoint.host,
        port=record.endpoint.port,
        leads_to=leader(record),
        reads_port=record.endpoint.reads_port if reads else None,
        reads_max_lag_seconds=spec.reads_max_lag_seconds,
        problem=problem,
    )


def _failover_view(failover: FailoverResult | None) -> FailoverView | None:
    return FailoverView.model_validate(failover.model_dump()) if failover else None
