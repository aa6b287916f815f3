"""The texts of `why` and `what-if`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from hamanager import formats
from hamanager.api.reasons import ForecastView, MomentView, ReasonsView, RuleView, RunView
from hamanager.model.decision import LEADING, Action, phrase

ABOUT_LEADING = (
    "elected",
    "majority-lost",
    "flapping",
    "primary-dead",
    "no-safe-candidate",
    "primary-cut-off",
    "primary-suspect",
)
"""Of the rules that were asked and do not apply these are told: whoever asks why mostly asks why
(not) another instance leads."""
REST = ("primary-not-ready", "well")
"""They apply to whatever the earlier ones have left: that they were overruled says nothing."""
QUIET_SECONDS = 60.0
"""What was decided longer before the time that was asked about may have been done with by then."""
DECIDING = ("decided", "held up")


def reasons_text(
    view: ReasonsView, *, every: bool = False, asked_about: float | None = None
) -> str:
    """The decision, what was seen, and the rules; the ones about who leads, unless `every`.
    `asked_about`: the time that was named (seconds since the epoch)."""
    return "".join(f"{line}\n" for line in _reasons(view, every, asked_about))


def _reasons(view: ReasonsView, every: bool, asked_about: float | None) -> Iterator[str]:
    when = "now" if view.now else formats.moment(view.at)
    run = f" (run {view.run})" if view.run else ""
    yield f"{view.service}, {when}{run}: {_decided(view)}, by the rule `{view.rule}`"
    yield f"    {view.reason}"
    if asked_about is not None and (passed := asked_about - view.at) > QUIET_SECONDS:
        until = formats.moment(asked_about)
        yield f"    from then to {until} ({formats.duration(passed)}) nothing else was decided"
    yield ""
    yield "what was seen"
    if view.evidence:
        yield f"    the primary is {view.evidence}"
    for sight in view.seen:
        role = " (primary)" if sight.primary else ""
        yield f"    {sight.instance}{role}: {sight.words}"
    if view.instead_if:
        yield ""
        yield "what would be done instead" if view.now else "what would have been done instead"
        yield from (f"    {line}" for line in view.instead_if)
    yield ""
    yield "the rules, in order; the first that applies decides"
    shown = [rule for rule in view.rules if every or _matters(rule)]
    for rule in shown:
        yield from _rule(rule, every=every)
    left = len(view.rules) - len(shown)
    if left:
        was = "was" if left == 1 else "were"
        yield f"    {formats.count(left, 'other rule')} {was} not concerned: --all tells them"
    if view.now and view.runs:
        yield ""
        yield "what was decided last; with its option `why` tells why"
        for one in view.runs:
            yield f"    {_option(one)}  {one.text}"


def _decided(view: ReasonsView) -> str:
    """`no failover: wait`, `decided to fail over to db.1`."""
    action = Action(view.action)
    if action is Action.NOTHING:
        return "nothing to do"
    what = phrase(action, view.instance)
    text = what if view.now else f"decided to {what}"
    failed = view.evidence and not view.evidence.startswith("alive:")
    return f"no failover: {text}" if failed and action not in LEADING else text


def _option(one: RunView) -> str:
    """A run has a number; a wait is found by its time, to the millisecond and not earlier."""
    if one.run:
        return f"{formats.moment(one.at)}  --run {one.run}"
    at = datetime.fromtimestamp(one.at + 0.000_999, UTC)
    return f"{formats.moment(one.at)}  --at {at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}"


def _matters(rule: RuleView) -> bool:
    if rule.standing == "overruled":
        return rule.rule not in REST
    spared = rule.standing == "does not apply" and rule.rule in ABOUT_LEADING
    return rule.standing in DECIDING or (spared and bool(rule.would_if))


def _rule(rule: RuleView, *, every: bool) -> Iterator[str]:
    mark = "->" if rule.standing in DECIDING else "  "
    would = "would " if rule.standing == "overruled" else ""
    # What was decided, and why, stands above.
    told = rule.reason if rule.standing != "decided" else ""
    yield f" {mark} {rule.rule}: {rule.standing}{f': {would}{told}' if told else ''}"
    if rule.would_if:
        # Of a later rule than the one that decides it takes more than that.
        would = "would apply" if rule.standing == "not asked" else "would decide"
        yield f"       {would} if {' or '.join(rule.would_if)}"
    elif every and not rule.reason:
        yield f"       applies when: {rule.when}"


def forecast_text(view: ForecastView) -> str:
    """What would be decided and when, who would lead, what would be lost."""
    return "".join(f"{line}\n" for line in _forecast(view))


def _forecast(view: ForecastView) -> Iterator[str]:
    faults = " and ".join(f"{fault.kind} {fault.instance}" for fault in view.faults)
    yield f"{view.service}, {faults}: nothing is touched; as seen {formats.moment(view.at)}"
    for moment in view.moments:
        yield f"    {_time(moment)}: {_done(moment)} ({moment.rule}: {moment.reason})"
    others = f", or {' or '.join(view.may_lead)} if more has reached it by then"
    yield f"    leads: {view.leads or 'nobody'}{others if view.may_lead else ''}"
    yield f"    lost: {view.lost}"


def _time(moment: MomentView) -> str:
    if moment.after_seconds == 0:
        return "at once"
    return f"after {moment.after_seconds:g} s of silence"


def _done(moment: MomentView) -> str:
    return phrase(Action(moment.action), moment.instance)
