"""The texts of `why` and `what-if`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hamanager import formats
from hamanager.api.reasons import ForecastView, MomentView, ReasonsView, RuleView

ABOUT_LEADING = (
    "paused",
    "blind",
    "older-record",
    "elected",
    "majority-lost",
    "beyond-reach",
    "flapping",
    "primary-dead",
    "no-safe-candidate",
    "primary-cut-off",
    "primary-suspect",
)
"""Told in any case: whoever asks why mostly asks why (not) another instance leads."""


def reasons_text(view: ReasonsView, *, every: bool = False) -> str:
    """The decision, what was seen, and the rules; the ones about who leads, unless `every`."""
    return "".join(f"{line}\n" for line in _reasons(view, every=every))


def _reasons(view: ReasonsView, *, every: bool) -> Iterator[str]:
    when = "now" if view.now else formats.moment(view.at)
    run = f" (run {view.run})" if view.run else ""
    yield f"{view.service}, {when}{run}: {_decided(view)}"
    yield f"    {view.reason}"
    yield ""
    yield "what was seen"
    if view.evidence:
        yield f"    the primary is {view.evidence}"
    for sight in view.seen:
        role = " (primary)" if sight.primary else ""
        yield f"    {sight.instance}{role}: {sight.words}"
    if view.instead_if:
        yield ""
        yield "what would have been done instead"
        yield from (f"    {line}" for line in view.instead_if)
    yield ""
    yield "the rules, in order; the first that applies decides"
    shown = [rule for rule in view.rules if every or (_matters(rule) and not _is_rest(rule))]
    for rule in shown:
        yield from _rule(rule, every=every)
    left = len(view.rules) - len(shown)
    if left:
        does = "does" if left == 1 else "do"
        yield f"    {formats.count(left, 'other rule')} {does} not apply: --all tells them"
    if view.now and view.runs:
        yield ""
        yield "what was done last; `--run` tells why"
        for one in view.runs:
            yield f"    {formats.moment(one.at)}  --run {one.run}  {one.text}"


def _decided(view: ReasonsView) -> str:
    what = f"{view.action} {view.instance}" if view.instance else view.action
    return f"{what}, by the rule `{view.rule}`"


def _matters(rule: RuleView) -> bool:
    return rule.standing in ("decided", "held up", "too late") or rule.rule in ABOUT_LEADING


def _is_rest(rule: RuleView) -> bool:
    """The last one always applies."""
    return rule.rule == "well" and rule.standing == "too late"


def _rule(rule: RuleView, *, every: bool) -> Iterator[str]:
    mark = "->" if rule.standing in ("decided", "held up") else "  "
    yield f" {mark} {rule.rule}: {rule.standing}{f': {rule.reason}' if rule.reason else ''}"
    if rule.would_if:
        yield f"       would apply if {' or '.join(rule.would_if)}"
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
    return f"{moment.action} {moment.instance}" if moment.instance else moment.action
