"""The text of `info` for one service: valid YAML in the shape that dotCloud's command-line client
gave it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from hamanager import formats
from hamanager.api.views import (
    DurabilityView,
    InstanceState,
    InstanceView,
    MemoryView,
    RetainedVolumeView,
    ServiceState,
    ServiceView,
    SyncView,
    UpgradeView,
)

_UNWRAPPED = 100_000
"""Columns: YAML stays on one line per value."""
_MEMBER_STATES = {
    InstanceState.UP: "SECONDARY",
    InstanceState.SYNCHRONIZING: "RECOVERING",
    InstanceState.REJOINING: "RECOVERING",
}
_REPLICATION_STATES = {ServiceState.RUNNING: "online", ServiceState.DOWN: "offline"}

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_STEPS = 6
"""Steps of ten seconds that one character stands for."""

Document = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Shows characters as they are, except those that YAML takes for line breaks."""


def _quoted_if_needed(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted_if_needed)


def info_text(view: ServiceView) -> str:
    """One service as a YAML document, with a line feed at its end."""
    return yaml.dump(
        info_document(view),
        Dumper=_Dumper,
        sort_keys=False,
        indent=4,
        width=_UNWRAPPED,
        default_flow_style=False,
        allow_unicode=True,
    )


def info_document(view: ServiceView) -> Document:
    """What `info_text` dumps."""
    if view.state is ServiceState.UNMANAGED:
        state = "destroying" if view.destroying else str(view.state)
        return {"message": view.message, "state": state, "type": view.engine}
    document: Document = {
        "config": {
            "instances": view.desired.instances,
            "memory": limit_words(view.desired.memory_bytes),
            **_settings(view),
        },
        "created_at": round(view.created_at, 2),
        "ports": _ports(view),
    }
    if view.topology == "stateless":
        document["instances"] = {i.name: _alike(i) for i in view.instances}
    elif view.topology == "replica-set":
        document["instances"] = {i.name: _member(i, view.at) for i in view.instances}
    else:
        document["replication"] = _replication(view)
    if view.durability is not None:
        document["durability"] = _durability(view.durability)
    document["memory"] = _memory(view)
    if view.last_failover is not None:
        document["last_failover"] = _last_failover(view)
    if view.last_switchover is not None:
        document["last_switchover"] = {
            "at": formats.moment(view.last_switchover.at),
            "from": view.last_switchover.from_instance,
            "to": view.last_switchover.to_instance,
            "took": formats.stopwatch(view.last_switchover.seconds),
            "note": view.last_switchover.note,
        }
    if view.upgrade is not None:
        document["upgrade"] = _upgrade(view, view.upgrade)
    if view.last_resorts:
        document["last_resorts"] = [
            {"name": r.instance, "may_lack": r.may_lack or "unknown"} for r in view.last_resorts
        ]
    if view.kept:
        document["kept_data"] = [_retained(v) for v in view.kept]
    warnings = [view.sharing] * bool(view.sharing)
    warnings += [warning for i in view.instances for warning in i.warnings]
    if warnings:
        document["warnings"] = warnings
    if view.topology != "stateless":
        document["term"] = view.term
    if view.led_by:
        document["led_by"] = view.led_by
    if view.message:
        document["message"] = view.message
    document["state"] = "destroying" if view.destroying else str(view.state)
    document["type"] = view.engine
    if view.version:
        document["version"] = view.version
    return document


def _upgrade(view: ServiceView, upgrade: UpgradeView) -> Document:
    images = {i.name: i.image for i in view.instances}
    document: Document = {
        "to": upgrade.to,
        "done": upgrade.done,
        "left": [f"{name} from {images.get(name, 'unknown')}" for name in upgrade.left],
    }
    return {**document, **({"stopped": upgrade.problem} if upgrade.problem else {})}


def _settings(view: ServiceView) -> Document:
    if view.topology == "stateless":
        told = {"image": view.image, "port": view.port, "health": view.health_path}
        return {key: value for key, value in told.items() if value is not None}
    return {
        "down_after": formats.duration(view.down_after_seconds),
        "failover_period": formats.duration(view.failover_period_seconds),
        **({"drills": "allowed"} if view.allow_drills else {}),
        **({"canary": "writes once a second"} if view.canary else {}),
    }


def _alike(instance: InstanceView) -> Document:
    state = "starting" if instance.state is InstanceState.SYNCHRONIZING else str(instance.state)
    document: Document = {"state": "draining" if instance.draining else state, **_host(instance)}
    if instance.draining and instance.connections is not None:
        document["requests"] = instance.connections
    return {**document, **_instance_memory(instance.memory), **_detail(instance)}


def _ports(view: ServiceView) -> list[Document]:
    ports: list[Document] = [{"name": _port_name(view), "url": view.url}]
    address = view.address
    if address is not None:
        if address.problem:
            ports[0]["problem"] = address.problem
        if address.reads_port is not None and address.reads_max_lag_seconds is not None:
            bound = formats.lag(address.reads_max_lag_seconds)
            reads = {
                "name": f"{view.engine}-reads",
                "address": f"{address.host}:{address.reads_port}",
                "leads_to": f"standbys at most {bound} behind",
            }
            ports.append(reads)
    return ports


def _port_name(view: ServiceView) -> str:
    return "http" if view.topology == "stateless" else view.engine


def _retained(volume: RetainedVolumeView) -> Document:
    document: Document = {
        "volume": volume.volume,
        "of": volume.instance,
        "at": formats.moment(volume.at),
        "reason": volume.reason,
    }
    if volume.writes:
        document["holds_alone"] = volume.writes
        document["acknowledged"] = "no" if volume.unacknowledged else "perhaps"
    return document


def _durability(durability: DurabilityView) -> Document:
    document: Document = {"mode": str(durability.mode)}
    if durability.synchronized is not None:
        document["synchronized"] = durability.synchronized
    if durability.lost_at is not None and not durability.synchronized:
        document["not_since"] = formats.moment(durability.lost_at)
    document["note"] = durability.note
    return document


def _replication(view: ServiceView) -> list[Document]:
    primary = next((i for i in view.instances if i.name == view.primary), None)
    standbys = [i for i in view.instances if i.name != view.primary]
    status = _REPLICATION_STATES.get(view.state, str(view.state))
    if view.state is ServiceState.RUNNING and not standbys:
        status = "no slaves"
    master: Document = {"name": view.primary, "status": "DOWN"}
    if primary is not None:
        master = {
            "name": primary.name,
            **_host(primary),
            "status": primary.state.upper(),
            **_instance_memory(primary.memory),
            **_detail(primary),
        }
    return [
        {"status": status},
        {"master": master},
        {"slaves": [_slave(i, view.at) for i in standbys]},
    ]


def _slave(instance: InstanceView, now: float) -> Document:
    return {
        "name": instance.name,
        **_host(instance),
        **_lag(instance, now),
        "status": instance.state.upper(),
        **({"synchronized": instance.synchronized} if instance.synchronized is not None else {}),
        **({"alone_has": instance.excess} if instance.excess else {}),
        **progress(instance.sync),
        **_instance_memory(instance.memory),
        **_detail(instance),
    }


def _host(instance: InstanceView) -> Document:
    return {} if instance.host is None else {"host": instance.host}


def _member(instance: InstanceView, now: float) -> Document:
    leads = instance.role == "primary" and instance.state is InstanceState.UP
    state = _MEMBER_STATES.get(instance.state, instance.state.upper())
    document: Document = {"state": "PRIMARY" if leads else state, **_host(instance)}
    if not leads:
        document |= _lag(instance, now)
    memory = _instance_memory(instance.memory)
    return {**document, **progress(instance.sync), **memory, **_detail(instance)}


def lag_words(instance: InstanceView, now: float) -> str:
    """`0s`; where it cannot be known, why."""
    if instance.lag_seconds is not None:
        return formats.lag(instance.lag_seconds)
    since = instance.replication_broken_since
    if since is not None:
        down = ", it is down" if instance.state is InstanceState.DOWN else ""
        ago = formats.duration(max(0.0, now - since))
        return f"broken since {formats.moment(since)} ({ago}{down})"
    reasons = {
        InstanceState.DOWN: "unknown (it is down)",
        InstanceState.SYNCHRONIZING: "unknown (still synchronizing)",
    }
    return reasons.get(instance.state, "unknown")


def _lag(instance: InstanceView, now: float) -> Document:
    document: Document = {"replication_lag": lag_words(instance, now)}
    known = [lag for lag in instance.lag_history if lag is not None]
    if len(instance.lag_history) > SPARK_STEPS and known:
        line = sparkline(instance.lag_history)
        document["lag_history"] = f"{line} (last hour, worst {formats.lag(max(known))})"
    return document


def sparkline(values: Sequence[float | None]) -> str:
    """One character a minute, the newest last; `x` where it was broken."""
    ends = range(len(values) % SPARK_STEPS, len(values) + 1, SPARK_STEPS)
    chunks = [values[max(0, end - SPARK_STEPS) : end] for end in ends]
    top = max((value for value in values if value is not None), default=0.0)
    marks = []
    for chunk in chunks:
        known = [value for value in chunk if value is not None]
        if not chunk:
            continue
        if len(known) < len(chunk):
            marks.append("x")
        else:
            marks.append(SPARKS[round(max(known) / max(top, 1.0) * (len(SPARKS) - 1))])
    return "".join(marks)


def progress(sync: SyncView | None) -> Document:
    if sync is None:
        return {}
    document: Document = {"stage": sync.stage}
    if sync.percent is not None:
        document["percent"] = f"{sync.percent:.0f}%"
    if sync.bytes_done is not None:
        document["bytes"] = bytes_words(sync)
    if sync.bytes_per_second is not None:
        document["rate"] = f"{formats.size(sync.bytes_per_second)}/s"
    if sync.eta_seconds is not None:
        document["remaining"] = formats.duration(sync.eta_seconds)
    return document


def bytes_words(sync: SyncView) -> str:
    """`120MB of 235MB`, `120MB of about 235MB`, `120MB`."""
    done = formats.size(sync.bytes_done or 0)
    if sync.bytes_total is None:
        return done
    return f"{done} of {'about ' if sync.approximate else ''}{formats.size(sync.bytes_total)}"


def _detail(instance: InstanceView) -> Document:
    return {"detail": instance.detail} if instance.detail else {}


def _memory(view: ServiceView) -> list[Document]:
    reserved = reserved_bytes(view)
    used = [i.memory.used_bytes for i in view.instances if i.memory.used_bytes is not None]
    cache = [i.memory.cache_bytes for i in view.instances if i.memory.cache_bytes is not None]
    words = _share(sum(used), reserved) if used else "unknown"
    document = [{"total reserved": limit_words(reserved)}, {"total used": words}]
    if used and cache:
        document.append({"cache portion": _share(sum(cache), sum(used))})
    return document


def _instance_memory(memory: MemoryView) -> Document:
    if memory.used_bytes is None:
        return {}
    words = _share(memory.used_bytes, memory.reserved_bytes)
    if memory.cache_bytes is not None:
        words += f", cache {formats.size(memory.cache_bytes)}"
    return {"memory": words}


def _share(part_bytes: int, whole_bytes: int | None) -> str:
    """`25MB of 512MB (4%)`."""
    if not whole_bytes:
        return formats.size(part_bytes)
    percent = 100 * part_bytes // whole_bytes
    return f"{formats.size(part_bytes)} of {formats.size(whole_bytes)} ({percent}%)"


def reserved_bytes(view: ServiceView) -> int | None:
    """Of all instances together; None when one of them has no limit."""
    limits = [i.memory.reserved_bytes for i in view.instances]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known and len(known) == len(limits) else None


def limit_words(memory_bytes: int | None) -> str:
    return "unlimited" if memory_bytes is None else formats.size(memory_bytes)


def _last_failover(view: ServiceView) -> Document:
    assert view.last_failover is not None
    return {
        "at": formats.moment(view.last_failover.at),
        "from": view.last_failover.from_instance,
        "to": view.last_failover.to_instance,
        "took": formats.stopwatch(view.last_failover.seconds),
        "lost": view.last_failover.lost,
        **({"forced": True} if view.last_failover.forced else {}),
        "another_needs_proof_until": formats.moment(
            view.last_failover.at + view.failover_period_seconds
        ),
    }
