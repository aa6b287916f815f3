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
from enum import StrEnum

from hamanager.decide.rules import (
    hosts,
    primary,
    setup,
    spec,
    standbys,
    stateless,
    sync_set,
    upgrade,
)
from hamanager.decide.situation import Situation
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import Action, BackingOff, Decision
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec

BACKING_OFF = "backing-off"
"""The name of the rule that a wait for another try goes by."""


class Engines(StrEnum):
    """For which engines a rule exists."""

    ALL = ""
    PROMOTED = "engines whose primary the manager makes"
    ELECTING = "engines that elect by themselves"


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    name: str
    decides: Callable[[Situation], Decision | None]
    """Its comment says when it applies."""
    may: Sequence[Action]
    """The actions among which it decides; the tests refuse any other."""
    yields: bool = False
    """Whether it is passed over, for the instance concerned, while what it decided has just failed
    and is not tried again yet. Only where no later rule relies on its having been carried out:
    everything about who leads, and about whom writes wait for, holds the later ones up."""
    urgent: bool = False
    """It is tried again soon."""
    protects: bool = False
    """Acknowledged writes, or that only one server leads, depend on it: a mutant of the simulation
    leaves it out, or does wrongly what it decides (docs/rules.md)."""
    only: Engines = Engines.ALL


RULES: list[Rule] = [
    Rule("destroy", setup.destroy, [Action.DESTROY]),
    Rule("paused", setup.paused, [Action.WAIT]),
    Rule("blind", setup.blind, [Action.WAIT], protects=True),
    Rule("older-record", setup.older_record, [Action.WAIT], protects=True),
    Rule("first-address", setup.first_address, [Action.RESERVE_ADDRESS]),
    Rule("first-instance", setup.first_instance, [Action.ADD_INSTANCE]),
    Rule("set-up", setup.set_up, [Action.START_INSTANCE, Action.WAIT, Action.INITIALIZE]),
    # Who is primary?
    Rule(
        "second-primary",
        primary.second_primary,
        [Action.DEMOTE],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule(
        "unfinished-promotion",
        primary.unfinished_promotion,
        [
            *(Action.RESUME, Action.FAIL_OVER, Action.WAIT),
            *(Action.START_INSTANCE, Action.END_INSTANCE),
        ],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule(
        "elected",
        primary.elected,
        [Action.ADOPT],
        urgent=True,
        only=Engines.ELECTING,
        protects=True,
    ),
    Rule(
        "unfinished-switchover",
        primary.unfinished_switchover,
        [Action.ABANDON_SWITCHOVER, Action.SWITCHOVER, Action.FAIL_OVER],
        urgent=True,
        protects=True,
    ),
    Rule("upgrade-undone", upgrade.upgrade_undone, [Action.UPGRADE]),
    Rule(
        "planned-restart",
        primary.planned_restart,
        [Action.WAIT, Action.START_INSTANCE, Action.RESUME],
        urgent=True,
        protects=True,
    ),
    Rule(
        "primary-is-ending",
        primary.primary_is_ending,
        [Action.SWITCHOVER],
        yields=True,
        urgent=True,
    ),
    Rule(
        "forced-failover",
        primary.forced_failover,
        [Action.FORCE, Action.FAIL_OVER, Action.REFUSE, Action.RESUME],
        urgent=True,
        protects=True,
    ),
    Rule("left-behind", hosts.left_behind, [Action.CLEAR_LEFT], yields=True, protects=True),
    Rule("refuse-switchover", spec.refuse_switchover, [Action.REFUSE]),
    Rule(
        "majority-lost",
        primary.majority_lost,
        [Action.START_INSTANCE, Action.WAIT],
        urgent=True,
        only=Engines.ELECTING,
    ),
    Rule(
        "leave-primary",
        hosts.leave_primary,
        [Action.LEAVE_PRIMARY],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule(
        "beyond-reach",
        hosts.beyond_reach,
        [Action.WAIT],
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule("flapping", primary.flapping, [Action.WAIT], protects=True),
    Rule(
        "primary-dead",
        primary.primary_dead,
        [Action.FAIL_OVER, Action.START_INSTANCE],
        urgent=True,
        protects=True,
    ),
    Rule(
        "no-safe-candidate",
        primary.no_safe_candidate,
        [Action.START_INSTANCE, Action.WAIT],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule("primary-cut-off", primary.primary_cut_off, [Action.WAIT], protects=True),
    Rule("primary-suspect", primary.primary_suspect, [Action.WAIT], protects=True),
    Rule(
        "another-may-have-led",
        primary.another_may_have_led,
        [Action.START_INSTANCE, Action.WAIT],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    Rule(
        "primary-restarted",
        primary.primary_restarted,
        [Action.START_INSTANCE, Action.WAIT, Action.RESUME, Action.FAIL_OVER],
        urgent=True,
        only=Engines.PROMOTED,
        protects=True,
    ),
    # For whom do writes wait?
    Rule("sync-leave", sync_set.leave, [Action.LEAVE_SYNC_SET], urgent=True, protects=True),
    Rule(
        "sync-adjust",
        sync_set.adjust,
        [Action.SET_REQUIRED_ACKS],
        yields=True,
        urgent=True,
        protects=True,
    ),
    Rule("refusal", hosts.refusal, [Action.NOTE_REFUSAL], only=Engines.PROMOTED, protects=True),
    Rule("stuck-clients", sync_set.stuck, [Action.END_WAITING], yields=True, protects=True),
    Rule("unheard", sync_set.unheard, [Action.PROMPT], yields=True, protects=True),
    # Keep the instances running, and make the standbys follow.
    Rule("surplus", standbys.surplus, [Action.REMOVE_INSTANCE], protects=True),
    Rule(
        "start",
        standbys.start_gone,
        [Action.START_INSTANCE, Action.WAIT, Action.REBUILD],
        yields=True,
        protects=True,
    ),
    Rule("primary-not-ready", standbys.primary_not_ready, [Action.WAIT]),
    Rule("restart-done", standbys.restart_done, [Action.FINISH_RESTART]),
    Rule(
        "synchronized",
        standbys.synchronized,
        [Action.MARK_SYNCHRONIZED],
        yields=True,
        protects=True,
    ),
    Rule("sync-join", sync_set.join, [Action.JOIN_SYNC_SET], yields=True, protects=True),
    # Make the spec true.
    Rule("discard", spec.discard, [Action.DISCARD], yields=True),
    Rule("switchover", spec.switchover, [Action.SWITCHOVER, Action.REFUSE]),
    Rule(
        "rejoin",
        standbys.rejoin,
        [Action.REBUILD, Action.SEED, Action.ATTACH],
        yields=True,
        protects=True,
    ),
    Rule(
        "stuck-undoing",
        standbys.stuck_undoing,
        [Action.END_INSTANCE, Action.REBUILD],
        yields=True,
        only=Engines.ELECTING,
    ),
    Rule("hung", standbys.hung, [Action.END_INSTANCE], yields=True, only=Engines.ELECTING),
    Rule(
        "upgrade", upgrade.upgrade, [Action.UPGRADE, Action.SWITCHOVER], yields=True, protects=True
    ),
    Rule(
        "replace",
        hosts.ordered_replacement,
        [Action.REPLACE, Action.LEAVE_SYNC_SET, Action.REFUSE],
        yields=True,
    ),
    Rule("lost", hosts.lost, [Action.REPLACE, Action.LEAVE_SYNC_SET], yields=True, protects=True),
    Rule("move", hosts.move, [Action.ADD_INSTANCE, Action.SWITCHOVER], yields=True),
    Rule("rebalanced", hosts.rebalanced, [Action.SETTLE]),
    Rule("restart", spec.restart, [Action.RESTART], yields=True),
    Rule("address", spec.address, [Action.RESERVE_ADDRESS], yields=True),
    Rule(
        "memory",
        spec.memory,
        [Action.KEEP_MEMORY, Action.SHRINK, Action.SET_MEMORY, Action.WAIT],
        yields=True,
    ),
    Rule("missing", spec.missing, [Action.ADD_INSTANCE], yields=True, protects=True),
    Rule("no-room", standbys.no_room, [Action.WAIT], protects=True),
    Rule("upgrade-stopped", upgrade.upgrade_stopped, [Action.WAIT]),
    Rule("well", spec.well, [Action.NOTHING]),
]


STATELESS_RULES: list[Rule] = [
    Rule("destroy", setup.destroy, [Action.DESTROY]),
    Rule("paused", setup.paused, [Action.WAIT]),
    Rule("blind", setup.blind, [Action.WAIT]),
    Rule("first-address", stateless.first_address, [Action.RESERVE_ADDRESS]),
    Rule("ready", stateless.ready, [Action.MARK_READY], yields=True),
    Rule("surplus", stateless.surplus, [Action.DRAIN, Action.WAIT, Action.TAKE_OUT]),
    Rule("start", stateless.start_gone, [Action.START_INSTANCE, Action.WAIT], yields=True),
    Rule("hung", stateless.hung, [Action.END_INSTANCE], yields=True),
    Rule("recovered", stateless.recovered, [Action.MARK_READY], yields=True),
    Rule("restart", stateless.restart, [Action.DRAIN, Action.WAIT, Action.RESTART], yields=True),
    Rule("upgrade", stateless.upgrade, [Action.UPGRADE, Action.WAIT, Action.DRAIN], yields=True),
    Rule("memory", stateless.memory, [Action.SET_MEMORY], yields=True),
    Rule("missing", spec.missing, [Action.ADD_INSTANCE], yields=True),
    Rule("upgrade-stopped", upgrade.upgrade_stopped, [Action.WAIT]),
    Rule("well", stateless.well, [Action.NOTHING]),
]
"""Of services without data."""


def rules_of(capabilities: Capabilities) -> list[Rule]:
    """The table of such an engine."""
    if capabilities.stateless:
        return STATELESS_RULES
    other = Engines.PROMOTED if capabilities.elects_itself else Engines.ELECTING
    return [rule for rule in RULES if rule.only is not other]


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
    for rule in rules_of(capabilities):
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
    """Both tables for people: each rule's name, its comment, and what it may do, in order."""
    yield from _described(RULES)
    yield "-- services without data --", ""
    yield from _described(STATELESS_RULES)


def _described(rules: list[Rule]) -> Iterator[tuple[str, str]]:
    for rule in rules:
        marks = [" (yields)"] * rule.yields + [" (urgent)"] * rule.urgent
        marks += [" (protects data)"] * rule.protects
        if rule.only:
            marks.append(f" (only {rule.only})")
        when = " ".join((rule.decides.__doc__ or "").split())
        actions = ", ".join(action.value for action in rule.may)
        yield rule.name + "".join(marks), f"{when}\n    -> {actions}"
