"""Why was that decided, and not something else? Every rule of the table, asked by itself. Pure.

What would have made a rule apply is found by trying: each single change of the situation
(`hamanager.decide.changes`) is put in, and the rule is asked again. So what is said is what the
rule does, and no second account of it that could be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import islice

from hamanager.decide.changes import Change, changes, mishaps
from hamanager.decide.situation import Situation
from hamanager.decide.table import BACKING_OFF, Rule, decide, rules_of
from hamanager.model.decision import LEADING, BackingOff, Decision, phrase

MOST_CHANGES = 3
"""So many ways in which a rule would have applied are told; the likeliest come first."""


class Standing(StrEnum):
    """What became of a rule."""

    DECIDED = "decided"
    HELD_UP = "held up"
    """It decides; what it decided has just failed and is not tried again yet."""
    NO = "does not apply"
    OVERRULED = "overruled"
    """It would decide if no earlier rule did."""
    NOT_ASKED = "not asked"
    """It comes later than the one that decided, and does not apply by itself."""


@dataclass(frozen=True)
class Judgement:
    """One rule."""

    rule: str
    standing: Standing
    when: str
    """When it applies: one or more sentences."""
    reason: str = ""
    """What it decides or would decide, and why; '' for nothing."""
    would_if: tuple[str, ...] = ()
    """Of one that does not apply: each of these would have made it, by itself."""


@dataclass(frozen=True)
class Reasons:
    """Everything about one decision."""

    decision: Decision
    evidence: str
    """About the primary: `alive: it answers`."""
    judgements: tuple[Judgement, ...]
    """In the order in which the rules are asked."""
    instead_if: tuple[str, ...]
    """Each of these would have led to another decision about who leads."""


@dataclass(frozen=True)
class Tried:
    """A change, and what would have been decided after it."""

    change: Change
    decision: Decision


def reasons(s: Situation, backing_off: Sequence[BackingOff] = ()) -> Reasons:
    """Why what is decided in that situation is decided."""
    decision = decide(s.spec, s.record, s.snapshot, s.capabilities, backing_off)
    tried = [Tried(one, _decided_then(one.situation, backing_off)) for one in changes(s)]
    judgements, decided = [], False
    for rule in rules_of(s.capabilities):
        ways = partial(_ways, rule, decision, backing_off, tried)
        judgement = _judged(rule, s, decision, backing_off, ways, decided=decided)
        decided = decided or judgement.standing in (Standing.DECIDED, Standing.HELD_UP)
        judgements.append(judgement)
    evidence = f"{s.evidence.verdict}: {s.evidence.reason}" if s.primary is not None else ""
    return Reasons(decision, evidence, tuple(judgements), _instead(decision, tried))


def _judged(
    rule: Rule,
    s: Situation,
    decision: Decision,
    backing_off: Sequence[BackingOff],
    ways: Callable[[], tuple[str, ...]],
    *,
    decided: bool,
) -> Judgement:
    when = " ".join((rule.decides.__doc__ or "").split())
    if decision.rule == rule.name:
        return Judgement(rule.name, Standing.DECIDED, when, _words(decision))
    own = _asked(rule, s)
    if own is None:
        standing = Standing.NOT_ASKED if decided else Standing.NO
        return Judgement(rule.name, standing, when, would_if=ways())
    if decided:
        return Judgement(rule.name, Standing.OVERRULED, when, _words(own))
    pause = next((one for one in backing_off if one.holds_up(rule.name, own)), None)
    why = f": {pause}" if pause is not None else ""
    standing = Standing.NO if rule.yields or decision.rule != BACKING_OFF else Standing.HELD_UP
    return Judgement(rule.name, standing, when, f"{_words(own)}{why}")


def _asked(rule: Rule, s: Situation) -> Decision | None:
    """What it decides by itself. A later rule may stand on what an earlier one sees to; where it
    cannot be asked without that, it does not apply."""
    try:
        decision = rule.decides(s)
    except (AssertionError, AttributeError, LookupError, TypeError):
        return None
    return replace(decision, rule=rule.name) if decision is not None else None


def _ways(
    rule: Rule,
    present: Decision,
    backing_off: Sequence[BackingOff],
    tried: Sequence[Tried],
) -> tuple[str, ...]:
    """By what it would have decided, or would have applied while the same earlier rule decided: one
    change, or a mishap on top of another one."""
    may = (rule.name, present.rule)

    def applies(then: Situation, decision: Decision) -> bool:
        return decision.rule in may and _asked(rule, then) is not None

    ways = [one.change.words for one in tried if applies(one.change.situation, one.decision)]
    doubles = _double_ways(rule, may, backing_off, tried)
    return tuple(ways[:MOST_CHANGES]) or tuple(islice(doubles, 1))


def _double_ways(
    rule: Rule, may: Sequence[str], backing_off: Sequence[BackingOff], tried: Sequence[Tried]
) -> Iterator[str]:
    for first in tried:
        for second in mishaps(first.change.situation) if first.change.by_chance else ():
            then = second.situation
            if _asked(rule, then) is not None and _decided_then(then, backing_off).rule in may:
                yield f"{first.change.words} and {second.words}"


def _decided_then(then: Situation, backing_off: Sequence[BackingOff]) -> Decision:
    return decide(then.spec, then.record, then.snapshot, then.capabilities, backing_off)


def _instead(decision: Decision, tried: Sequence[Tried]) -> tuple[str, ...]:
    """What would have changed who leads: first by what another one would have led."""
    ways: dict[tuple[bool, str], list[str]] = {}
    for one in tried:
        other = one.decision
        leads = other.urgent and not other.same_as(decision)
        if one.change.by_chance and leads and other.action is not decision.action:
            what = other.action not in LEADING, phrase(other.action, other.instance)
            ways.setdefault(what, []).append(one.change.words)
    told = sorted(ways, key=lambda what: what[0])
    return tuple(f"{what[1]} if {_either(ways[what])}" for what in told)


def _either(words: Sequence[str]) -> str:
    return " or ".join(words[:MOST_CHANGES])


def _words(decision: Decision) -> str:
    return f"{phrase(decision.action, decision.instance)}: {decision.reason}"
