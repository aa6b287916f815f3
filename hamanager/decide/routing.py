"""Where a service's addresses lead. Pure: what is written down decides, not what a server says.

A server that takes itself for the primary is no target for that reason: only the primary on
record is, and nobody while that is about to change.
"""

from __future__ import annotations

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.decide.situation import follows
from hamanager.model.capabilities import Capabilities
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec

CAPACITY_STEP = 8


def leader(record: ServiceRecord) -> str | None:
    """Whom clients may write to; None while another is being promoted."""
    if not record.initialized or record.switching_to is not None:
        return None
    if record.promoting not in (None, record.primary):
        return None
    return record.primary


def listeners(
    spec: Spec,
    record: ServiceRecord,
    snapshot: Snapshot,
    capabilities: Capabilities,
    leads: str | None,
) -> tuple[Listener, ...]:
    """The addresses of a service whose clients are to be sent to that instance (to nobody)."""
    endpoint = record.endpoint
    if endpoint is None or spec.destroy:
        return ()
    if capabilities.stateless:
        return (_shared_out(spec, record, endpoint),)
    capacity = max(capabilities.allowed_instances) + 1
    primary = record.instance(leads)
    found = [
        Listener(
            name=spec.name,
            kind=ListenerKind.PRIMARY,
            host=endpoint.host,
            port=endpoint.port,
            routes=(_route(primary),) if primary else (),
            # One to leave, one to go to, and one that still has connections to be cut.
            capacity=3,
        )
    ]
    if spec.reads_max_lag_seconds is not None and endpoint.reads_port is not None:
        found.append(
            Listener(
                name=f"{spec.name}.reads",
                kind=ListenerKind.READS,
                host=endpoint.host,
                port=endpoint.reads_port,
                routes=tuple(_route(i) for i in _readable(spec, record, snapshot, leads)),
                capacity=capacity,
            )
        )
    return tuple(found)


def _shared_out(spec: Spec, record: ServiceRecord, endpoint: EndpointRecord) -> Listener:
    """Requests go to every instance that has passed its check once; the proxy's own checks keep
    them away from one that does not pass it now."""
    routes = tuple(
        Route(instance=i.name, host=i.host, port=i.port, draining=i.draining_since is not None)
        for i in record.instances
        if i.joined
    )
    # In steps, so that not each change of size makes the endpoint reload.
    capacity = -(-max(spec.instances, len(record.instances)) // CAPACITY_STEP) * CAPACITY_STEP
    return Listener(
        name=spec.name,
        kind=ListenerKind.HTTP,
        host=endpoint.host,
        port=endpoint.port,
        routes=routes,
        capacity=capacity,
        health_path=spec.health_path,
    )


def _readable(
    spec: Spec, record: ServiceRecord, snapshot: Snapshot, leads: str | None
) -> list[InstanceRecord]:
    """Standbys that are close enough behind; without any, the primary: reads go on."""
    assert spec.reads_max_lag_seconds is not None
    fresh = []
    for instance in record.instances:
        seen = snapshot.of(instance.name)
        if instance.name == leads or seen is None or seen.status is None or not follows(seen):
            continue
        lag = seen.lag_seconds
        if lag is not None and lag <= spec.reads_max_lag_seconds:
            fresh.append(instance)
    primary = record.instance(leads)
    return fresh or ([primary] if primary else [])


def _route(instance: InstanceRecord) -> Route:
    return Route(instance=instance.name, host=instance.host, port=instance.port)
