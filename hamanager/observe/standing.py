"""How the copies of a service stand towards each other, by what its servers answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hamanager.contracts.replication import Replication
from hamanager.model.capabilities import Capabilities
from hamanager.model.record import ServiceRecord
from hamanager.model.service import Target
from hamanager.model.snapshot import Observation, Role, ServerStatus, Snapshot
from hamanager.model.sync_set import eligible


@dataclass(frozen=True)
class Led:
    """The primary on record when it was last seen to lead."""

    name: str
    status: ServerStatus


def leading(record: ServiceRecord, seen: Mapping[str, Observation]) -> Led | None:
    """The primary on record, if it was seen to lead."""
    found = seen.get(record.primary or "")
    if found is None or found.status is None or found.status.role is not Role.PRIMARY:
        return None
    return Led(record.primary or "", found.status)


def related(
    replication: Replication, record: ServiceRecord, seen: Mapping[str, Observation]
) -> dict[str, Observation]:
    """The same with each standby's relation to the primary on record, where that leads."""
    led, primary = leading(record, seen), record.instance(record.primary)
    told = dict(seen)
    if led is None or primary is None:
        return told
    members = [Target.of(instance) for instance in record.instances]
    for instance in record.instances:
        status = seen[instance.name].status
        if status is None or instance.name == led.name:
            continue
        relation = replication.relate(
            Target.of(instance), status, Target.of(primary), led.status, members
        )
        errant_writes = replication.errant_writes(status, led.status)
        told[instance.name] = replace(
            seen[instance.name], relation=relation, errant_writes=errant_writes
        )
    return told


def ranked(
    replication: Replication,
    capabilities: Capabilities,
    record: ServiceRecord,
    seen: Mapping[str, Observation],
    led: Led | None,
    at: float,
) -> Snapshot:
    """The snapshot with who could be promoted. `seen` as `related` gave it, `led` as of this or an
    earlier observation, `at` in seconds since the epoch."""
    candidates, primary_has_all = _rank(replication, capabilities, record, seen)
    unsafe, missing = _unsafe_candidates(replication, record, seen, candidates, led)
    return Snapshot(at, dict(seen), candidates, unsafe, missing, primary_has_all)


def _rank(
    replication: Replication,
    capabilities: Capabilities,
    record: ServiceRecord,
    seen: Mapping[str, Observation],
) -> tuple[tuple[str, ...], bool]:
    """The candidates, and whether the primary on record has all that they have."""
    able = eligible(record, capabilities, _statuses(seen))
    candidates = replication.rank(able)
    primary = seen.get(record.primary or "")
    if primary is None or primary.status is None or record.primary is None:
        return candidates, False
    unseen = [i for i in record.instances if i.name not in (*able, record.primary)]
    if primary.status.empty and any(i.joined for i in unseen):
        return candidates, False  # it lost its data, and they may have them
    # Among equals the first name stands first: this one comes before every other.
    with_primary = replication.rank({"": primary.status, **able})
    return candidates, with_primary[:1] == ("",)


def _unsafe_candidates(
    replication: Replication,
    record: ServiceRecord,
    seen: Mapping[str, Observation],
    candidates: tuple[str, ...],
    led: Led | None,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Whom only an operator's order promotes, and what each is known to lack."""
    others = {
        name: status
        for name, status in _statuses(seen).items()
        if name not in (record.primary, *candidates) and not status.empty
    }
    joined = {i.name for i in record.instances if i.joined}
    others = {name: status for name, status in others.items() if name in joined}
    best = replication.rank(others)
    best += tuple(sorted(set(others) - set(best)))
    if led is None or led.name != record.primary:
        return best, {}
    return best, {name: replication.missing_writes(others[name], led.status) for name in best}


def _statuses(seen: Mapping[str, Observation]) -> dict[str, ServerStatus]:
    return {name: answer.status for name, answer in seen.items() if answer.status is not None}
