"""Several hosts: what may be done while one does not answer, and what moves from one to another.

A host that does not answer can end nothing, and may be merely out of sight: its servers may run,
and clients may reach them.
"""

from __future__ import annotations

from hamanager.decide.placement import free_places, usable
from hamanager.decide.rules.common import do
from hamanager.decide.rules.primary import flapping
from hamanager.decide.rules.upgrade import in_place
from hamanager.decide.situation import Situation, follows
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Observation


def left_behind(s: Situation) -> Decision | None:
    """A host answers again that may still run what was made anew elsewhere: that is ended. Of a
    host that an operator has removed as lost it is only forgotten."""
    for left in s.record.left_behind:
        if left.instance in s.passed_over:
            continue
        host = s.snapshot.hosts.get(left.placed_on)
        if host is None or host.answers:
            state = "is no more" if host is None else "answers again"
            reason = f"{left.placed_on} {state}, and {left.instance} was made anew elsewhere"
            return do(Action.CLEAR_LEFT, left.instance, reason)
    return None


def refusal(s: Situation) -> Decision | None:
    """Where replication is asynchronous: the primary is seen to be told to refuse writes while no
    standby is heard of. From then on it may be passed over when nobody can end it."""
    seen = s.primary_seen
    if not s.snapshot.hosts or s.record.refuses_alone or s.capabilities.acknowledges:
        return None
    if not s.primary_works or seen is None or seen.status is None or not seen.status.required_acks:
        return None
    if not s.required_acks or s.capabilities.refuses_alone_after_seconds is None:
        return None
    return do(
        Action.NOTE_REFUSAL, s.record.primary, "it refuses writes while no standby is heard of"
    )


def leave_primary(s: Situation) -> Decision | None:
    """The primary has failed, nobody can end it, and it refuses writes some time after it heard of
    a standby last: so they all leave it, and that time begins now instead of when their links
    end by themselves. Not while one of them is out of sight, which may be with it."""
    if not _cannot_be_ended(s) or not s.snapshot.candidates or _may_go_on(s) or flapping(s):
        return None
    assert s.primary is not None
    if not all(seen.gone or seen.status is not None for _, seen in s.standbys):
        return None
    for instance, seen in s.standbys:
        if seen.status is not None and seen.status.source == s.primary.replication_address:
            reason = f"{s.primary.name}: {s.evidence.reason}, and its host does not answer"
            return do(Action.LEAVE_PRIMARY, instance.name, reason)
    return None


def _cannot_be_ended(s: Situation) -> bool:
    """The primary has failed, and may go on taking writes that count."""
    failed = s.evidence.failed and not s.capabilities.acknowledges
    return failed and s.host_is_silent(s.primary) and not s.promotion_may_have_led


def beyond_reach(s: Situation) -> Decision | None:
    """The primary's host does not answer, so it cannot be ended, and may still take writes. Where
    they wait for standbys that have left it, nobody is told of one. Elsewhere it is passed over
    only when it has begun to refuse them by itself."""
    if not _cannot_be_ended(s) or not (s.snapshot.candidates or s.snapshot.unsafe_candidates):
        return None
    why = not_proven_to_refuse(s)
    if not why:
        return None
    assert s.primary is not None
    silence = f"its host {s.primary.placed_on} does not answer"
    text = f"{s.primary.name}: {s.evidence.reason}, and {silence}: {why}"
    return do(Action.WAIT, s.primary.name, text)


def not_proven_to_refuse(s: Situation) -> str:
    """Why the primary, which nobody can end, may still take writes; '' when it takes none."""
    bound, primary = s.capabilities.refuses_alone_after_seconds, s.primary
    if why := _may_go_on(s):
        return why
    assert primary is not None
    assert bound is not None
    if primary.placed_on and s.primary_seen is not None and s.primary_seen.silent_seconds < bound:
        return f"it refuses writes {bound:g} s after its last word of a standby"
    for instance, seen in s.standbys:
        if not _has_left(seen, primary, bound):
            return (
                f"it is not known that {instance.name} has left it for {bound:g} s, after which it"
                " refuses writes"
            )
    return ""


def _may_go_on(s: Situation) -> str:
    """Why it may take writes for ever, whatever those standbys do that are on record."""
    promised = s.record.refuses_alone and s.capabilities.refuses_alone_after_seconds is not None
    if s.primary is None or not promised or not s.strict:
        best = next(iter([*s.snapshot.candidates, *s.snapshot.unsafe_candidates]), None)
        name = best or "NAME"
        return (
            "it cannot be ended and may still take writes, so its host is waited for; if it is gone"
            f" for good, `hamanager failover {s.spec.name} --to {name} --force` lets {name} lead"
        )
    if s.record.left_behind:
        names = " and ".join(left.placed_on for left in s.record.left_behind)
        return f"what was left on {names} may still be its standby, and it takes writes then"
    return ""


def _has_left(seen: Observation, primary: InstanceRecord, bound: float) -> bool:
    """Whether it is certain that the primary has not heard of that standby for so long. One whose
    link is merely broken is not: it may be heard all the same, or connect again."""
    if seen.gone:
        return seen.silent_seconds >= bound
    if seen.status is None or seen.status.source == primary.replication_address:
        return False
    return seen.same_source_seconds >= bound


def ordered_replacement(s: Situation) -> Decision | None:
    """An operator said that an instance is to be made anew on another host now."""
    order = s.pending(OrderKind.REPLACE)
    if order is None:
        return None
    instance, seen = s.record.instance(order.to), s.snapshot.of(order.to)
    refusal = ""
    if s.expired(order):
        refusal = "it was asked for more than a minute ago"
    elif instance is None or seen is None:
        refusal = f"there is no instance {order.to}"
    elif instance.name == s.record.primary:
        refusal = f"{instance.name} is primary"
    elif not instance.placed_on:
        refusal = f"{instance.name} is placed on no host"
    elif seen.alive or not s.host_is_silent(instance):
        refusal = f"{instance.name} is not lost: `hamanager host drain` moves what works"
    elif not s.primary_works:
        refusal = f"{s.record.primary} does not take writes, so nothing could be copied"
    elif not usable(s.snapshot.hosts.values(), s.record):
        refusal = "no other host answers that could take it"
    if refusal:
        return do(Action.REFUSE, None, f"{refusal}; nothing was changed")
    return _replacement(s, instance, "an operator asked for it")


def lost(s: Situation) -> Decision | None:
    """The host of a standby has not answered for long, nor has the standby: it is made anew on
    another host, if there is one without an instance of the service."""
    if not s.primary_works or not free_places(s.snapshot.hosts.values(), s.record):
        return None
    after = s.spec.replace_after_seconds
    for instance, seen in s.due(s.standbys):
        if not s.host_is_silent(instance) or seen.alive or seen.silent_seconds < after:
            continue
        host = s.host_of(instance)
        if host is not None and host.silent_seconds < after:
            continue
        reason = f"its host {instance.placed_on} has not answered for {seen.silent_seconds:.0f} s"
        return _replacement(s, instance, reason)
    return None


def _replacement(s: Situation, instance: InstanceRecord | None, reason: str) -> Decision:
    assert instance is not None
    if instance.name in s.record.sync_set:
        # (It is the last one of a strict service, or its leaving has not been carried out yet.)
        return do(Action.LEAVE_SYNC_SET, instance.name, f"it is made anew: {reason}")
    return do(Action.REPLACE, instance.name, reason)


def move(s: Situation) -> Decision | None:
    """An instance is to go to another host: a new one is added there first; when all are in place a
    standby elsewhere takes the primary's role, and the rule `surplus` removes the one that is not
    needed any more."""
    if not s.moving or not s.primary_works:
        return None
    stay = [pair for pair in s.all if pair[0].name not in s.moving]
    reason = "it is to leave its host"
    if len(stay) < s.spec.instances and len(s.all) <= s.spec.instances:
        if not free_places(s.snapshot.hosts.values(), s.record):
            return None
        taken = {index_of(instance.name) for instance, _ in s.all}
        index = next(i for i in range(len(taken) + 1) if i not in taken)
        names = " and ".join(sorted(s.moving))
        name = f"{s.spec.name}.{index}"
        return do(Action.ADD_INSTANCE, name, f"{names} is to go to another host")
    if s.record.primary in s.moving and sum(in_place(s, *p) for p in stay) >= s.spec.instances:
        able = [i.name for i, seen in s.due(stay) if follows(seen)]
        target = next((name for name in s.snapshot.candidates if name in able), None)
        if target is not None:
            return do(Action.SWITCHOVER, target, f"{s.record.primary} is primary, and {reason}")
    return None


def rebalanced(s: Situation) -> Decision | None:
    """No two instances share a host any more, or there is no other host."""
    if s.pending(OrderKind.REBALANCE) is None or s.moving or len(s.all) > s.spec.instances:
        return None
    return do(Action.SETTLE, None, "each instance is where it can best be")
