"""Single changes of a situation, each in words: what might have been otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel

from hamanager import formats
from hamanager.decide.evidence import Verdict
from hamanager.decide.failures import ended, silent, unreached
from hamanager.decide.situation import Situation, has_role
from hamanager.model.instance import InstanceRecord
from hamanager.model.order import Order, OrderKind
from hamanager.model.primary_change import FailoverResult, Promotion, Switchover
from hamanager.model.snapshot import Contact, Observation, Process, Relation, Role

V = TypeVar("V", bound=BaseModel)

INSTANCES_TRIED = 5
"""Of a service with more than that (without data) the first ones stand for all."""
RELATIONS = {
    Relation.ATTACHED: "followed the primary",
    Relation.DETACHED: "did not replicate",
    Relation.EMPTY: "had no data",
    Relation.DIVERGED: "held what the primary has not",
}


@dataclass(frozen=True)
class Change:
    """One thing that is otherwise."""

    words: str
    """In the past tense, as after `if`: `db.0's process had ended`."""
    situation: Situation
    by_chance: bool = True
    """It happens by itself, or would have if nobody had paused the service; others somebody has to
    ask for, or an earlier decision began them."""


def changes(s: Situation) -> Iterator[Change]:
    """Every one that makes sense here, the likeliest first."""
    pairs = s.all[:INSTANCES_TRIED]
    yield from mishaps(s)
    for instance, seen in pairs:
        yield from _of_data(s, instance, seen)
    yield from _of_record(s)
    yield from _of_spec(s)
    yield from _of_hosts(s)
    for instance, _ in pairs:
        yield from _asked_for(s, instance)


def mishaps(s: Situation) -> Iterator[Change]:
    """Those of them that are about which servers answer, and of what use: the primary's first."""
    pairs = s.all[:INSTANCES_TRIED]
    for instance, seen in sorted(pairs, key=lambda pair: pair[0].name != s.record.primary):
        yield from _of_process(s, instance, seen)
    if s.all:
        unseen = {i.name: Observation(Process.UNKNOWN, Contact.SILENT) for i, _ in s.all}
        yield _seen(s, "neither the runtime nor any server had answered", unseen)


# --- What was seen ------------------------------------------------------------------------------


def _of_process(s: Situation, instance: InstanceRecord, seen: Observation) -> Iterator[Change]:
    name, answers = instance.name, s.snapshot.observations
    down_after = s.spec.down_after_seconds
    if not seen.gone:
        words = f"{name}'s process had ended"
        yield _without(_seen(s, words, ended(answers, s.record, name)), name)
    else:
        running = replace(seen, process=Process.RUNNING, contact=Contact.BUSY)
        yield _seen(s, f"{name}'s process had been running", {**answers, name: running})
    cut_off = name == s.record.primary and s.evidence.verdict is Verdict.CUT_OFF
    if cut_off or seen.contact is not Contact.SILENT or seen.silent_seconds < down_after:
        words = f"nobody had heard of {name} for {down_after:g} s"
        yield _without(_seen(s, words, silent(answers, s.record, name, down_after)), name)
    if seen.contact is not Contact.SILENT:
        words = f"{name} had been silent for {down_after / 2:g} s only"
        moment = silent(answers, s.record, name, down_after / 2)
        yield _without(_seen(s, words, moment), name)
    if not seen.alive and not seen.gone:
        busy = replace(seen, process=Process.RUNNING, contact=Contact.BUSY)
        yield _seen(s, f"{name} had given a sign of life", {**answers, name: busy})
    elif name == s.record.primary and _is_followed(s, instance):
        words = f"{name} had answered its standbys and not the manager"
        yield _seen(s, words, unreached(answers, name, down_after))
    if has_role(seen, Role.PRIMARY):
        yield _seen(s, f"{name} had refused writes", _with_role(s, name, Role.STANDBY))
    elif seen.status is not None:
        took = _seen(s, f"{name} had taken writes", _with_role(s, name, Role.PRIMARY))
        # Where the manager makes the primary somebody has to have made that one.
        yield replace(took, by_chance=s.capabilities.elects_itself)
    if seen.alive and seen.asked_to_end_seconds is None:
        asked = replace(seen, asked_to_end_seconds=0.0)
        yield _seen(s, f"somebody else had asked {name} to end", {**answers, name: asked})


def _is_followed(s: Situation, instance: InstanceRecord) -> bool:
    address = instance.replication_address
    told = [seen.status for _, seen in s.standbys if seen.status is not None]
    return any(t.link_up and t.is_standby_of(address) for t in told)


def _of_data(s: Situation, instance: InstanceRecord, seen: Observation) -> Iterator[Change]:
    name, snapshot = instance.name, s.snapshot
    if name != s.record.primary:
        fit = "hold every acknowledged write" if s.capabilities.acknowledges else "be in step"
        if name in snapshot.candidates:
            fewer = tuple(one for one in snapshot.candidates if one != name)
            without = replace(
                snapshot,
                candidates=fewer,
                unsafe_candidates=(*snapshot.unsafe_candidates, name),
            )
            words = f"{name} had not been known to {fit}"
            yield Change(words, replace(s, snapshot=without))
        else:
            with_it = replace(snapshot, candidates=(name, *snapshot.candidates))
            words = f"{name} had been known to {fit}"
            yield Change(words, replace(s, snapshot=with_it))
    for relation, words in RELATIONS.items():
        if seen.status is not None and name != s.record.primary and seen.relation is not relation:
            other = replace(seen, relation=relation)
            yield _seen(s, f"{name} {words}", {**snapshot.observations, name: other})


def _with_role(s: Situation, name: str, role: Role) -> dict[str, Observation]:
    seen = s.snapshot.observations[name]
    assert seen.status is not None
    return {
        **s.snapshot.observations,
        name: replace(seen, status=replace(seen.status, role=role), relation=Relation.UNKNOWN),
    }


def _without(change: Change, name: str) -> Change:
    """And nobody would promote it."""
    snapshot = change.situation.snapshot
    left = replace(
        snapshot,
        candidates=tuple(one for one in snapshot.candidates if one != name),
        unsafe_candidates=tuple(one for one in snapshot.unsafe_candidates if one != name),
    )
    return replace(change, situation=replace(change.situation, snapshot=left))


def _seen(s: Situation, words: str, observations: dict[str, Observation]) -> Change:
    return Change(words, replace(s, snapshot=replace(s.snapshot, observations=observations)))


# --- What is on record, and what is wanted ------------------------------------------------------


def _of_record(s: Situation) -> Iterator[Change]:
    record = s.record
    if record.last_failover is not None:
        words = "the last failover had been longer ago"
        yield _recorded(s, words, last_failover=None)
    elif record.primary is not None:
        last = FailoverResult(
            at=s.snapshot.at, from_instance=None, to_instance=record.primary, seconds=0.0, lost=""
        )
        yield _recorded(s, "there had just been another failover", last_failover=last)
    if record.under_way is not None:
        words = f"no change of primary to {record.under_way.to} had been under way"
        yield _recorded(s, words, under_way=None)
    for instance, _ in s.standbys[:INSTANCES_TRIED]:
        if record.under_way is None and not s.capabilities.stateless:
            words = f"{instance.name}'s promotion had been begun"
            yield _begun(s, words, Promotion(to=instance.name))
            words = f"a switchover to {instance.name} had been begun"
            yield _begun(s, words, Switchover(to=instance.name))
        if not s.capabilities.acknowledges:
            continue
        if instance.name in record.sync_set:
            rest = tuple(one for one in record.sync_set if one != instance.name)
            yield _recorded(s, f"{instance.name} had not been in the sync set", sync_set=rest)
        else:
            more = (*record.sync_set, instance.name)
            yield _recorded(s, f"{instance.name} had been in the sync set", sync_set=more)


def _of_spec(s: Situation) -> Iterator[Change]:
    spec = s.spec
    if spec.paused:
        unpaused = _wanted(s, "an operator had not paused it", paused=False)
        yield replace(unpaused, by_chance=True)  # what would be done then is what is asked
    else:
        yield _wanted(s, "an operator had paused it", paused=True)
    more = spec.instances + 1
    yield _wanted(s, f"{formats.count(more, 'instance')} had been wanted", instances=more)
    if spec.instances > 1:
        fewer = spec.instances - 1
        words = f"{formats.count(fewer, 'instance')} had been wanted"
        yield _wanted(s, words, instances=fewer)
    if spec.memory_bytes is not None:
        limit = 2 * spec.memory_bytes
        yield _wanted(s, "another memory limit had been wanted", memory_bytes=limit)
    if spec.pinned is not None:
        other = _altered(spec.pinned, id="another")
        yield _wanted(s, "another image had been wanted", pinned=other)
    if spec.order is not None and s.pending(spec.order.kind) is not None:
        yield _wanted(s, f"no {spec.order.kind} had been ordered", order=None)


def _of_hosts(s: Situation) -> Iterator[Change]:
    for name, host in s.snapshot.hosts.items():
        words = f"the host {name} had {'not ' if host.answers else ''}answered"
        silent_seconds = s.spec.replace_after_seconds if host.answers else 0.0
        hosts = {**s.snapshot.hosts, name: replace(host, silent_seconds=silent_seconds)}
        yield Change(words, replace(s, snapshot=replace(s.snapshot, hosts=hosts)))
        if not host.draining:
            words = f"an operator had drained the host {name}"
            hosts = {**s.snapshot.hosts, name: replace(host, draining=True)}
            drained = replace(s.snapshot, hosts=hosts)
            yield Change(words, replace(s, snapshot=drained), by_chance=False)


def _asked_for(s: Situation, instance: InstanceRecord) -> Iterator[Change]:
    name, spec = instance.name, s.spec
    if not s.restart_wanted(instance):
        restarts = {**spec.restarts, name: instance.restarts_done + 1}
        yield _wanted(s, f"an operator had asked for a restart of {name}", restarts=restarts)
    if s.capabilities.stateless:
        return
    number = 1 + (spec.order.number if spec.order is not None else 0)
    number = max(number, 1 + (s.record.order_result.number if s.record.order_result else 0))
    for kind in (OrderKind.SWITCHOVER, OrderKind.FAILOVER):
        order = Order(number=number, kind=kind, asked_at=s.snapshot.at, to=name)
        yield _wanted(s, f"an operator had ordered a {kind} to {name}", order=order)


def _recorded(s: Situation, words: str, **fields: object) -> Change:
    return Change(words, replace(s, record=_altered(s.record, **fields)))


def _wanted(s: Situation, words: str, **fields: object) -> Change:
    return Change(words, replace(s, spec=_altered(s.spec, **fields)), by_chance=False)


def _begun(s: Situation, words: str, change: Promotion | Switchover) -> Change:
    return replace(_recorded(s, words, under_way=change), by_chance=False)


def _altered(value: V, **fields: object) -> V:
    """A value that never was; what is stored changes by its own methods only."""
    return value.model_validate({**dict(value), **fields}, strict=True)
