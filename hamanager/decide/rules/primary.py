"""Who is primary? "What happens when the primary dies" is `primary_dead` and its neighbours."""

from __future__ import annotations

from dataclasses import replace

from hamanager.decide.evidence import Verdict
from hamanager.decide.rules.common import do, start_one_that_ended
from hamanager.decide.situation import Situation, follows, has_role
from hamanager.model.decision import Action, Decision
from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Process, Role

STARTS_BEFORE_OTHERS = 3
"""An instance whose promotion was begun gets so many starts before others are considered."""
HURRY_SECONDS = 0.7
"""Somebody else asked the primary to end, which is held back for a second: a planned change that
began later would be overtaken."""
CLOSE_SECONDS = 1.0
"""Standbys that are no further behind are all alike for that: the heir catches up."""


def second_primary(s: Situation) -> Decision | None:
    """Nobody but the primary on record may take writes: an old one that woke up is stopped."""
    for instance, seen in s.standbys:
        on_its_way = instance.name in (s.record.promoting, s.record.switching_to)
        if not on_its_way and has_role(seen, Role.PRIMARY):
            return do(
                Action.DEMOTE,
                instance.name,
                f"{instance.name} takes writes, but {s.record.primary} is primary in term"
                f" {s.record.term}",
            )
    return None


def unfinished_promotion(s: Situation) -> Decision | None:
    """A promotion that this or another manager began in this term is finished first. If its
    instance ended meanwhile it is started: it may have taken writes already; one that hangs is
    ended for that. But one that came back without its data, or has left the sync set since, is not
    what was to be promoted; before it may have written, others lead as well, and a primary that
    works after all goes on (where replication is asynchronous, also instead of one that does not
    answer any more)."""
    instance, seen = s.record.instance(s.record.promoting), s.snapshot.of(s.record.promoting)
    if instance is None or seen is None:
        return None
    unfinished = f"its promotion in term {s.record.term} was begun and not finished"
    itself, may_write = instance.name == s.record.primary, s.record.promoting_may_write
    holds_all = itself or not s.capabilities.acknowledges or instance.name in s.record.sync_set
    goes_on = do(
        Action.RESUME, s.record.primary, f"{unfinished}, and {s.record.primary} takes writes"
    )
    if s.primary_works and not itself and not (may_write and holds_all):
        # It was never fenced, and may have acknowledged what the other one lacks.
        return goes_on
    if seen.status is not None and not seen.status.empty and holds_all:
        return do(Action.RESUME if itself else Action.FAIL_OVER, instance.name, unfinished)
    if not may_write:
        return None
    if seen.alive and seen.status is None:
        return do(Action.WAIT, instance.name, f"{unfinished}, and it does not answer")
    verdict = s.evidence_on(instance, seen).verdict
    if instance.starts < STARTS_BEFORE_OTHERS:
        if seen.gone:
            return do(Action.START_INSTANCE, instance.name, unfinished)
        can_be_ended = seen.process is Process.RUNNING and s.promotion_may_have_led
        if can_be_ended and verdict is Verdict.SILENT:
            reason = f"{unfinished}, and it hangs: it is started anew, as nobody else may lead"
            return do(Action.END_INSTANCE, instance.name, reason)
    if itself or not s.primary_works or s.promotion_may_have_led:
        return None
    # Nobody is ever known to hold everything: the one that works does for one that does not.
    if seen.status is None and verdict not in (Verdict.DEAD, Verdict.SILENT):
        return None
    return goes_on


def elected(s: Situation) -> Decision | None:
    """An engine that elects by itself chose another primary: write that down."""
    if s.primary_works:
        if s.record.promoting is None:
            return None
        return do(Action.ADOPT, s.record.primary, f"{s.record.primary} stayed primary")
    leading = [i.name for i, seen in s.standbys if has_role(seen, Role.PRIMARY)]
    if len(leading) != 1:
        return None
    return do(Action.ADOPT, leading[0], f"the servers elected {leading[0]}")


def unfinished_switchover(s: Situation) -> Decision | None:
    """A planned change that a manager began and did not finish is finished, while both servers
    answer; if the old primary is gone it depends on how far it had come."""
    to = s.record.instance(s.record.switching_to)
    if s.record.switching_to is None:
        return None
    seen = s.snapshot.of(s.record.switching_to)
    unfinished = "its switchover was begun and not finished"
    if to is None or seen is None or seen.status is None:
        return do(Action.ABANDON_SWITCHOVER, s.record.switching_to, f"{unfinished}: no answer")
    if seen.status.empty:
        if s.promotion_may_have_led and not s.primary_works:
            return None  # what it took is gone with its disk: an operator's decision
        return do(
            Action.ABANDON_SWITCHOVER, to.name, f"{unfinished}: it was restarted without its data"
        )
    if s.primary_seen is not None and s.primary_seen.status is not None:
        return do(Action.SWITCHOVER, to.name, unfinished)
    if has_role(seen, Role.PRIMARY) and not s.capabilities.elects_itself:
        return do(Action.FAIL_OVER, to.name, f"{unfinished}, and it takes writes already")
    return do(
        Action.ABANDON_SWITCHOVER, to.name, f"{unfinished}: {s.record.primary} does not answer"
    )


def planned_restart(s: Situation) -> Decision | None:
    """While an operator's restart of the primary runs, nobody takes its place."""
    primary, seen = s.primary, s.primary_seen
    if primary is None or seen is None or s.primary_works or not s.restart_runs(primary):
        return None
    if seen.gone:
        return do(Action.START_INSTANCE, primary.name, "its planned restart has stopped it")
    if seen.status is not None and not s.capabilities.elects_itself:
        if not s.snapshot.primary_has_all:
            return None  # it came back with less than it had: no planned restart any more
        return do(Action.RESUME, primary.name, "its planned restart is through")
    return do(Action.WAIT, primary.name, f"{primary.name} is being restarted as planned")


def primary_is_ending(s: Situation) -> Decision | None:
    """Somebody else asked the primary's process to end, which its guard holds back for a moment:
    the best standby takes over as planned meanwhile. If it does not succeed a failover follows."""
    primary, seen = s.primary, s.primary_seen
    if primary is None or seen is None or not s.primary_works or s.restart_runs(primary):
        return None
    asked = seen.asked_to_end_seconds
    if asked is None or asked > HURRY_SECONDS:
        return None
    heirs = [
        (seen.lag_seconds is None or seen.lag_seconds > CLOSE_SECONDS, instance.name)
        for instance, seen in s.due(s.standbys)
        if instance.name in s.snapshot.candidates
        and follows(seen)
        and seen.asked_to_end_seconds is None
    ]
    if not heirs:
        return None
    # Not simply the first candidate: under load another one is ahead in every observation.
    heir = min(heirs)[1]
    reason = f"somebody else asked {primary.name} to end {asked:.1f} s ago, and {heir} is in step"
    return do(Action.SWITCHOVER, heir, reason)


def forced_failover(s: Situation) -> Decision | None:
    """An operator decided who leads, although acknowledged writes may be lost by it."""
    order = s.pending(OrderKind.FAILOVER)
    if order is None:
        return None
    if s.expired(order):
        return do(Action.REFUSE, None, "it was asked for more than a minute ago")
    if s.primary_works and order.to != s.record.primary:
        return do(
            Action.REFUSE,
            None,
            f"{s.record.primary} takes writes: `hamanager switchover` changes the primary without"
            " loss; nothing was changed",
        )
    known = [*s.snapshot.candidates, *s.snapshot.unsafe_candidates]
    target = order.to or (known[0] if known else None)
    if s.record.instance(target) is None:
        names = " and ".join(known) or "none answers"
        return do(Action.REFUSE, None, f"there is no such standby ({names}); nothing was changed")
    seen = s.snapshot.of(target)
    if seen is None or seen.status is None:
        return do(Action.REFUSE, None, f"{target} does not answer; nothing was changed")
    if seen.status.empty:
        return do(Action.REFUSE, None, f"{target} holds no data; nothing was changed")
    if target == s.record.primary and not s.capabilities.elects_itself:
        return do(Action.RESUME, target, "an operator decided it")
    action = Action.FORCE if s.capabilities.elects_itself else Action.FAIL_OVER
    return do(action, target, "an operator decided it")


def majority_lost(s: Situation) -> Decision | None:
    """Without a majority no election is possible, and none is forced: only processes that
    ended are started again (by the rule `start`, further down)."""
    if s.evidence.failed and not s.majority_is_up:
        up = [instance.name for instance, seen in s.all if seen.alive]
        text = (
            f"the majority is lost: {len(up)} of {len(s.all)} members"
            f" {'is' if len(up) == 1 else 'are'} up, so no primary can be elected and nothing can"
            f" be written before {len(s.all) // 2 + 1} are"
        )
        if decision := start_one_that_ended(s):
            return replace(decision, reason=f"{decision.reason}, and {text}")
        if up:
            text += (
                f"; if the others are gone for good, `hamanager failover {s.spec.name} --force`"
                f" lets {up[0]} lead, and what only the others have is lost"
            )
        return do(Action.WAIT, None, text)
    return None


def flapping(s: Situation) -> Decision | None:
    """Soon after a failover silence is not enough for another one: it takes proof of death."""
    last = s.record.last_failover
    if s.evidence.verdict is not Verdict.SILENT or last is None or not s.snapshot.candidates:
        return None
    since, period = s.snapshot.at - last.at, s.spec.failover_period_seconds
    if last.forced or not 0 <= since < period:
        return None
    return do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary}: {s.evidence.reason}, but the last failover was {since:.0f} s ago:"
        f" within {period:g} s another one needs proof of death, lest the primary's role flaps;"
        f" silence is enough again in {period - since:.0f} s",
    )


def primary_dead(s: Situation) -> Decision | None:
    """The primary is proven dead, or silent for too long: the best standby takes over. (The
    playbook makes sure first that a silent one can take no more writes.)"""
    if not s.evidence.failed or not s.snapshot.candidates or s.promotion_may_have_led:
        return None
    stood_in_vain = s.capabilities.elects_itself and s.record.promoting is not None
    if stood_in_vain and (decision := start_one_that_ended(s)):
        return decision  # it may take the ended ones to reach a majority
    return do(
        Action.FAIL_OVER, s.snapshot.candidates[0], f"{s.record.primary}: {s.evidence.reason}"
    )


def no_safe_candidate(s: Situation) -> Decision | None:
    """The primary is dead, and no standby is known to hold every acknowledged write: nobody is
    promoted unless an operator decides it. What ended is started again: the primary may return."""
    if not s.evidence.failed or (s.snapshot.candidates and not s.promotion_may_have_led):
        return None
    if s.promotion_may_have_led:
        reason = (
            f"{s.record.promoting} may have taken writes in term {s.record.term} and"
            f" {_why_it_cannot_lead(s)}"
        )
    elif s.snapshot.unsafe_candidates:
        reason = "no standby is known to hold every acknowledged write"
        if not s.capabilities.acknowledges:
            reason = "no standby is known to have been in step"
    else:
        reason = ""
    if decision := start_one_that_ended(s):
        why = f"{reason}: {unsafe_candidate_words(s)}" if reason else "no standby could take over"
        return replace(decision, reason=f"{decision.reason}, and {why}") if s.standbys else decision
    if not reason:
        return None
    return do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary}: {s.evidence.reason}; {reason}: {unsafe_candidate_words(s)}",
    )


def primary_cut_off(s: Situation) -> Decision | None:
    """We cannot reach the primary, but its standbys can: it is we who are cut off."""
    if s.evidence.verdict is not Verdict.CUT_OFF:
        return None
    silent_seconds = s.primary_seen.silent_seconds if s.primary_seen else 0.0
    since = f" (for {silent_seconds:.1f} s)" if silent_seconds > 0 else ""
    unreached = f"{s.record.primary} does not answer the manager{since}"
    reason = f"{unreached}, but {_who_hears_it(s)}: no failover"
    return do(Action.WAIT, s.record.primary, reason)


def _who_hears_it(s: Situation) -> str:
    """`db.1 still replicates from it (last heard 0.4 s ago)`."""
    told = []
    address = s.primary.replication_address if s.primary else ""
    for instance, seen in s.standbys:
        status = seen.status
        if status is None or not status.link_up:
            continue
        if status.is_standby_of(address):
            age = status.link_age_seconds
            heard = f" (last heard {age:.1f} s ago)" if age is not None else ""
            told.append(f"{instance.name} still replicates from it{heard}")
    return " and ".join(told) or s.evidence.reason


def primary_suspect(s: Situation) -> Decision | None:
    """Silence is not proof: wait for `down_after`."""
    if s.evidence.verdict is not Verdict.SUSPECT:
        return None
    return do(Action.WAIT, s.record.primary, f"{s.record.primary}: {s.evidence.reason}")


def another_may_have_led(s: Situation) -> Decision | None:
    """The primary on record answers, but another one's promotion came so far that it may have taken
    writes, and that one cannot go on: it may come back with them, or an operator decides. Until
    then it stays in the sync set, so that none of the primary's writes is acknowledged."""
    if s.primary_seen is None or s.primary_seen.status is None or not s.promotion_may_have_led:
        return None
    if decision := start_one_that_ended(s):
        return decision
    told = "" if s.primary_works else f" {unsafe_candidate_words(s)};"
    return do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.promoting} may have taken writes in term {s.record.term} and"
        f" {_why_it_cannot_lead(s)}:{told}"
        f" `hamanager failover {s.spec.name} --to {s.record.primary} --force` lets"
        f" {s.record.primary} go on with what it has",
    )


def primary_restarted(s: Situation) -> Decision | None:
    """The primary crashed and was started again before anybody saw it dead. It refuses writes
    (every server starts so) and resumes only if no standby has what it lacks."""
    seen = s.primary_seen
    if seen is None or not has_role(seen, Role.STANDBY):
        return None
    if s.snapshot.primary_has_all:
        return do(Action.RESUME, s.record.primary, "it was restarted and has all the data")
    if s.snapshot.candidates:
        return do(
            Action.FAIL_OVER,
            s.snapshot.candidates[0],
            f"{s.record.primary} was restarted and may lack what its standby has",
        )
    if decision := start_one_that_ended(s):
        return decision
    empty = seen.status is not None and seen.status.empty
    problem = "without its data" if empty else "and cannot be compared with any standby"
    return do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary} was restarted {problem}: {unsafe_candidate_words(s)}",
    )


def _why_it_cannot_lead(s: Situation) -> str:
    seen = s.snapshot.of(s.record.promoting)
    empty = seen is not None and seen.status is not None and seen.status.empty
    return "was restarted without its data" if empty else "does not answer"


def unsafe_candidate_words(s: Situation) -> str:
    """Who could be promoted by an operator's order, what would be lost, and the order's words."""
    if not s.snapshot.unsafe_candidates:
        return "no other instance could lead, so it is waited for"
    told = []
    for name in s.snapshot.unsafe_candidates:
        lacks = s.snapshot.missing_writes.get(name) or "an unknown number of acknowledged writes"
        if s.record.sync_lost_at is not None:
            ago = max(0.0, s.snapshot.at - s.record.sync_lost_at)
            lacks += f", all of them from the last {ago:.0f} s"
        told.append(f"{name} may lack {lacks}")
    best = s.snapshot.unsafe_candidates[0]
    return (
        f"{'; '.join(told)}; `hamanager failover {s.spec.name} --to {best} --force` promotes"
        f" {best} and loses that"
    )
