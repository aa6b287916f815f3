"""Why something was decided, and what would be decided if something failed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hamanager import formats
from hamanager.api.reasons import (
    Fault,
    FaultKind,
    ForecastView,
    MomentView,
    ReasonsView,
    RuleView,
    RunView,
    SightView,
)
from hamanager.contracts.replication import Replication
from hamanager.decide.failures import ended, silent, unreached
from hamanager.decide.situation import Situation
from hamanager.decide.table import decide
from hamanager.decide.why import reasons
from hamanager.errors import NotFoundError, UsageError
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import LEADING, Decision
from hamanager.model.history import HistoryEntry
from hamanager.model.kept import Facts, unpacked
from hamanager.model.snapshot import Contact, Observation, Process, Relation, Role
from hamanager.observe.standing import leading, ranked, related

RUNS_TOLD = 8
"""A failover, and what takes the former primary back, which is several runs."""
FIRST_SECONDS = 0.1
"""After the failure: the first thing that is decided."""


# --- Why ----------------------------------------------------------------------------------------


def kept_facts(
    history: Sequence[HistoryEntry], name: str, at: float | None, run: str | None
) -> tuple[HistoryEntry, Facts]:
    """The entry that is asked about, oldest first in `history`: of that run, or the last one up to
    that time (seconds since the epoch).

    Raises:
        NotFoundError: nothing was kept of it.
    """
    found = [e for e in history if e.seen and (e.run == run if run else e.at <= (at or 0.0))]
    if found and (facts := unpacked(found[-1].seen)) is not None:
        return found[-1], facts
    what = f"the run {run}" if run else f"anything before {formats.moment(at or 0.0)}"
    raise NotFoundError(
        f"the history of '{name}' keeps nothing of what {what} was decided by; `hamanager history"
        f" {name} --output json` has the runs and their times"
    )


def reasons_view(
    name: str,
    facts: Facts,
    capabilities: Capabilities,
    history: Sequence[HistoryEntry],
    entry: HistoryEntry | None = None,
) -> ReasonsView:
    """Why that was decided; `entry`: where the history has it, None for the present state."""
    situation = Situation(facts.spec, facts.record, facts.snapshot, capabilities)
    found = reasons(situation, facts.backing_off)
    told = [RunView(run=one.run, at=one.at, text=one.text) for one in history if one.seen]
    return ReasonsView(
        service=name,
        at=facts.snapshot.at,
        run=entry.run if entry else "",
        now=entry is None,
        rule=found.decision.rule,
        action=found.decision.action.value,
        instance=found.decision.instance,
        reason=found.decision.reason,
        evidence=found.evidence,
        seen=[
            SightView(
                instance=instance.name,
                primary=instance.name == facts.record.primary,
                words="; ".join(_sight(situation, instance.name, seen)),
            )
            for instance, seen in situation.all
        ],
        instead_if=list(found.instead_if),
        rules=[
            RuleView(
                rule=one.rule,
                standing=one.standing.value,
                when=one.when,
                reason=one.reason,
                would_if=list(one.would_if),
            )
            for one in found.judgements
        ],
        runs=told[-RUNS_TOLD:],
    )


def _sight(s: Situation, name: str, seen: Observation) -> Iterator[str]:
    status = seen.status
    if seen.process is not Process.RUNNING:
        yield {
            Process.EXITED: "its process has ended",
            Process.MISSING: "it has no container",
            Process.UNKNOWN: "the runtime has no word on it",
        }[seen.process]
    if not seen.gone:
        match seen.contact:
            case Contact.ANSWERS:
                yield "answers"
            case Contact.BUSY:
                yield f"busy: {seen.detail}"
            case Contact.REFUSED:
                yield "refuses connections"
            case Contact.SILENT:
                yield f"no sign of life for {seen.silent_seconds:.1f} s"
    if seen.asked_to_end_seconds is not None:
        yield f"somebody else asked it to end {seen.asked_to_end_seconds:.1f} s ago"
    if status is None:
        return
    yield "takes writes" if status.role is Role.PRIMARY else "takes no writes"
    if status.role is Role.STANDBY:
        yield from _as_standby(s, name, seen)


def _as_standby(s: Situation, name: str, seen: Observation) -> Iterator[str]:
    status = seen.status
    assert status is not None
    if seen.relation is not Relation.UNKNOWN:
        yield f"{seen.relation.value} to {s.record.primary}"
    if status.link_up is not None:
        link = "link to its source is up" if status.link_up else "link to its source is broken"
        if not status.link_up and status.link_age_seconds is not None:
            link += f", nothing heard for {status.link_age_seconds:.1f} s"
        yield link
    if seen.lag_seconds is not None:
        yield f"lag {formats.lag(seen.lag_seconds)}"
    if s.capabilities.acknowledges:
        yield "in the sync set" if name in s.record.sync_set else "not in the sync set"
    if name in s.snapshot.candidates:
        number = len(s.snapshot.candidates)
        first = number > 1 and name == s.snapshot.candidates[0]
        yield "may be promoted" + (f", first of {number}: none has received more" if first else "")
    elif name in s.snapshot.unsafe_candidates:
        lacks = s.snapshot.missing_writes.get(name)
        yield "promoted by an order only" + (f": may lack {lacks}" if lacks else "")
    if seen.errant_writes:
        yield f"has what the primary has not: {seen.errant_writes}"


# --- What if ------------------------------------------------------------------------------------


def forecast(
    name: str,
    facts: Facts,
    capabilities: Capabilities,
    replication: Replication | None,
    faults: Sequence[Fault],
) -> ForecastView:
    """What would be decided if these happened to the present state, now and once the silent ones
    have been silent for `down_after`.

    Raises:
        UsageError: nothing is to fail, or the same twice.
        NotFoundError: there is no such instance.
    """
    _check(name, facts, faults)
    down_after = facts.spec.down_after_seconds
    times = [FIRST_SECONDS]
    if any(fault.kind is not FaultKind.KILL for fault in faults):
        times.append(down_after)
    stages = [_failed(facts, capabilities, replication, faults, seconds) for seconds in times]
    decisions = [
        decide(then.spec, then.record, then.snapshot, capabilities, facts.backing_off)
        for then in stages
    ]
    decision, leads = decisions[-1], _leads(facts, faults, decisions[-1])
    moments: list[MomentView] = []
    for seconds, one in zip(times, decisions, strict=True):
        if not moments or moments[-1].reason != one.reason:
            moments.append(_moment(one, 0.0 if seconds == FIRST_SECONDS else seconds))
    return ForecastView(
        service=name,
        at=facts.snapshot.at,
        faults=list(faults),
        moments=moments,
        leads=leads,
        may_lead=_may_lead(facts, faults, stages[-1], leads),
        lost=_lost(facts, capabilities, replication, faults, decision),
    )


def _check(name: str, facts: Facts, faults: Sequence[Fault]) -> None:
    named = [fault.instance for fault in faults]
    if not named:
        raise UsageError(
            "nothing is said to fail: name an instance, as in `hamanager what-if"
            f" {name} --kill {name}.0`"
        )
    for one in named:
        if facts.record.instance(one) is None:
            raise NotFoundError(f"there is no instance '{one}' of '{name}'")
        if named.count(one) > 1:
            raise UsageError(f"'{one}' is said to fail twice")


def _failed(
    facts: Facts,
    capabilities: Capabilities,
    replication: Replication | None,
    faults: Sequence[Fault],
    seconds: float,
) -> Facts:
    record, snapshot = facts.record, facts.snapshot
    seen, hosts = dict(snapshot.observations), dict(snapshot.hosts)
    led = leading(record, seen)
    for fault in faults:
        instance = record.instance(fault.instance)
        assert instance is not None
        if fault.kind is FaultKind.KILL:
            seen = ended(seen, record, fault.instance)
        elif seconds < facts.spec.down_after_seconds:
            seen = unreached(seen, fault.instance, seconds)
        else:
            seen = silent(seen, record, fault.instance, seconds)
        host = hosts.get(instance.placed_on)
        if fault.kind is FaultKind.PARTITION and host is not None:
            hosts[host.name] = replace(host, silent_seconds=seconds)
            lost_sight = replace(seen[fault.instance], process=Process.UNKNOWN)
            seen[fault.instance] = lost_sight
    then = replace(snapshot, observations=seen, hosts=hosts)
    if replication is not None:
        told = related(replication, record, seen)
        stand = ranked(replication, capabilities, record, told, led, snapshot.at)
        then = replace(stand, hosts=hosts)
    return replace(facts, snapshot=then)


def _moment(decision: Decision, seconds: float) -> MomentView:
    return MomentView(
        after_seconds=seconds,
        rule=decision.rule,
        action=decision.action.value,
        instance=decision.instance,
        reason=decision.reason,
    )


def _leads(facts: Facts, faults: Sequence[Fault], decision: Decision) -> str | None:
    if decision.action in LEADING:
        return decision.instance
    failed = {fault.instance for fault in faults}
    return None if facts.record.primary in failed else facts.record.primary


def _may_lead(facts: Facts, faults: Sequence[Fault], then: Facts, leads: str | None) -> list[str]:
    """Who would lead instead by having received more than was seen when the failure comes."""
    if leads is None or leads == facts.record.primary:
        return []
    out = {leads, *(fault.instance for fault in faults)}
    return [name for name in then.snapshot.candidates if name not in out]


def _lost(
    facts: Facts,
    capabilities: Capabilities,
    replication: Replication | None,
    faults: Sequence[Fault],
    decision: Decision,
) -> str:
    heir, primary = decision.instance, facts.record.primary
    if primary not in {fault.instance for fault in faults}:
        return "nothing: the primary goes on"
    if decision.action not in LEADING or heir is None:
        return "nothing by itself: nobody takes over, so nothing can be written"
    if capabilities.elects_itself:
        return "nothing that a majority acknowledged"
    if capabilities.acknowledges:
        return f"nothing that was acknowledged: {heir} holds all of it on its disk"
    behind, led = facts.snapshot.of(heir), leading(facts.record, facts.snapshot.observations)
    lacks = ""
    if replication is not None and led is not None and behind is not None and behind.status:
        lacks = replication.missing_writes(behind.status, led.status)
    now = f"{lacks} as seen now" if lacks else "nothing as seen now"
    return f"what was acknowledged in the last moment and has not reached {heir}: {now}"
