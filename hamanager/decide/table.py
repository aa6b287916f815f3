"""What to do next: an ordered table of rules; the first that matches decides.

Pure: no I/O, no clock, no randomness, no engine names. The input is what the user wants (the
spec), what has been done so far (the record), what was just seen (the snapshot) and what the
engine is like (its capabilities). "What happens when the primary dies" is the block of rules
around `primary-dead`; what is then done is in the playbook `failover.py`.

A golden test prints the table: an edit here shows up as a reviewable diff there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from hamanager.decide.rules import primary, setup, spec, standbys, stateless, sync_set, upgrade
from hamanager.decide.situation import Situation
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import Action, BackingOff, Decision
from hamanager.model.service import ServiceRecord, Spec
from hamanager.model.snapshot import Snapshot

BACKING_OFF = "backing-off"
"""The name of the rule that a wait for another try goes by."""


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    name: str
    decides: Callable[[Situation], Decision | None]
    yields: bool = False
    """Whether it is passed over, for the instance concerned, while what it decided has just failed
    and is not tried again yet. Only where no later rule relies on its having been carried out:
    everything about who leads, and about whom writes wait for, holds the later ones up."""
    urgent: bool = False
    """It is tried again soon."""


RULES: list[Rule] = [
    Rule("destroy", setup.destroy),
    Rule("paused", setup.paused),
    Rule("blind", setup.blind),
    Rule("older-record", setup.older_record),
    Rule("first-address", setup.first_address),
    Rule("first-instance", setup.first_instance),
    Rule("set-up", setup.set_up),
    # Who is primary?
    Rule("second-primary", primary.second_primary, urgent=True),
    Rule("unfinished-promotion", primary.unfinished_promotion, urgent=True),
    Rule("elected", primary.elected, urgent=True),
    Rule("unfinished-switchover", primary.unfinished_switchover, urgent=True),
    Rule("upgrade-undone", upgrade.upgrade_undone),
    Rule("planned-restart", primary.planned_restart, urgent=True),
    Rule("primary-is-ending", primary.primary_is_ending, yields=True, urgent=True),
    Rule("forced-failover", primary.forced_failover, urgent=True),
    Rule("refuse-switchover", spec.refuse_switchover),
    Rule("majority-lost", primary.majority_lost, urgent=True),
    Rule("flapping", primary.flapping),
    Rule("primary-dead", primary.primary_dead, urgent=True),
    Rule("no-safe-candidate", primary.no_safe_candidate, urgent=True),
    Rule("primary-cut-off", primary.primary_cut_off),
    Rule("primary-suspect", primary.primary_suspect),
    Rule("primary-restarted", primary.primary_restarted, urgent=True),
    # For whom do writes wait?
    Rule("sync-leave", sync_set.leave, urgent=True),
    Rule("sync-adjust", sync_set.adjust, yields=True, urgent=True),
    Rule("stuck-clients", sync_set.stuck, yields=True),
    # Keep the instances running, and make the standbys follow.
    Rule("surplus", standbys.surplus),
    Rule("start", standbys.start_gone, yields=True),
    Rule("primary-not-ready", standbys.primary_not_ready),
    Rule("restart-done", standbys.restart_done),
    Rule("synchronized", standbys.synchronized, yields=True),
    Rule("sync-join", sync_set.join, yields=True),
    # Make the spec true.
    Rule("discard", spec.discard, yields=True),
    Rule("switchover", spec.switchover),
    Rule("rejoin", standbys.rejoin, yields=True),
    Rule("upgrade", upgrade.upgrade, yields=True),
    Rule("restart", spec.restart, yields=True),
    Rule("address", spec.address, yields=True),
    Rule("memory", spec.memory, yields=True),
    Rule("missing", spec.missing, yields=True),
    Rule("no-room", standbys.no_room),
    Rule("upgrade-stopped", upgrade.upgrade_stopped),
    Rule("well", spec.well),
]


STATELESS_RULES: list[Rule] = [
    Rule("destroy", setup.destroy),
    Rule("paused", setup.paused),
    Rule("blind", setup.blind),
    Rule("first-address", stateless.first_address),
    Rule("ready", stateless.ready, yields=True),
    Rule("surplus", stateless.surplus),
    Rule("start", stateless.start_gone, yields=True),
    Rule("hung", stateless.hung, yields=True),
    Rule("recovered", stateless.recovered, yields=True),
    Rule("restart", stateless.restart, yields=True),
    Rule("upgrade", stateless.upgrade, yields=True),
    Rule("memory", stateless.memory, yields=True),
    Rule("missing", spec.missing, yields=True),
    Rule("upgrade-stopped", upgrade.upgrade_stopped),
    Rule("well", stateless.well),
]
"""Of services without data."""


def decide(
    wanted: Spec,
    record: ServiceRecord,
    snapshot: Snapshot,
    capabilities: Capabilities,
    backing_off: Sequence[BackingOff] = (),
) -> Decision:
    """The one thing to do now, with its reason. What is backing off is not it: it holds up the
    later rules, or is passed over where its rule yields."""
    situation = Situation(wanted, record, snapshot, capabilities)
    passed: list[BackingOff] = []
    for rule in STATELESS_RULES if capabilities.stateless else RULES:
        decision = _decided(rule, situation, backing_off, passed)
        if decision is not None:
            return _telling(decision, passed)
    raise AssertionError("the last rule always matches")


def _decided(
    rule: Rule, situation: Situation, backing_off: Sequence[BackingOff], passed: list[BackingOff]
) -> Decision | None:
    """The rule's decision; adds what is passed over for it."""
    names: set[str] = set()
    while True:
        decision = rule.decides(
            replace(situation, passed_over=frozenset(names)) if names else situation
        )
        if decision is None:
            return None
        pause = next((p for p in backing_off if p.holds_up(rule.name, decision)), None)
        if pause is None:
            return replace(decision, rule=rule.name, urgent=rule.urgent)
        if not rule.yields:
            return Decision(BACKING_OFF, Action.WAIT, str(pause), decision.instance)
        if pause not in passed:
            passed.append(pause)
        if decision.instance is None or decision.instance in names:
            return None
        names.add(decision.instance)


def _telling(decision: Decision, passed: Sequence[BackingOff]) -> Decision:
    """While nothing else is done it is told what did not succeed."""
    if not passed or decision.action not in (Action.NOTHING, Action.WAIT):
        return decision
    told = "; ".join(str(pause) for pause in passed)
    if decision.action is Action.NOTHING:
        return Decision(BACKING_OFF, Action.WAIT, told, passed[0].instance)
    return replace(decision, reason=f"{decision.reason}; {told}")


def describe_rules() -> Iterator[tuple[str, str]]:
    """Both tables for people: each rule's name and its comment, in order."""
    yield from _described(RULES)
    yield "-- services without data --", ""
    yield from _described(STATELESS_RULES)


def _described(rules: list[Rule]) -> Iterator[tuple[str, str]]:
    for rule in rules:
        marks = [" (yields)"] * rule.yields + [" (urgent)"] * rule.urgent
        yield rule.name + "".join(marks), " ".join((rule.decides.__doc__ or "").split())
