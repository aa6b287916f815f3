"""Who acknowledges writes: keep the sync set a subset of the standbys that hold all of them."""

from __future__ import annotations

from hamanager.decide.evidence import OWN_SILENCE_SECONDS
from hamanager.decide.rules.common import do
from hamanager.decide.rules.upgrade import in_place, next_to_upgrade
from hamanager.decide.situation import Situation, follows
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.snapshot import Observation, Relation

RECONNECT_SECONDS = 2.0
"""A standby finds a primary that was just started within this time."""

UNHEARD_SECONDS = 1.0
"""An acknowledgement takes as long as a disk needs; in that time it has come or was lost."""


def leave(s: Situation) -> Decision | None:
    """A member of the sync set that does not follow any more leaves it, so that writes need not
    wait for it. In strict mode the last one stays, and they do wait."""
    if not s.capabilities.acknowledges or not s.primary_works:
        return None
    for name in s.record.sync_set:
        if reason := _holds_no_more(s, name):
            return do(Action.LEAVE_SYNC_SET, name, reason)
        last_of_strict = s.strict and len(s.record.sync_set) == 1 and s.spec.instances > 1
        if not last_of_strict and (reason := _does_not_follow(s, name)):
            return do(Action.LEAVE_SYNC_SET, name, reason)
    return None


def _holds_no_more(s: Situation, name: str) -> str:
    """Why it is no member of the set, whatever the mode: its data is not what it was."""
    seen = s.snapshot.of(name)
    if seen is None or s.record.instance(name) is None or name == s.record.primary:
        return "it is no standby"
    if seen.relation is Relation.DIVERGED:
        return f"its data is not {s.record.primary}'s" + (
            f": it alone has {seen.errant_writes}" if seen.errant_writes else ""
        )
    if seen.relation in (Relation.EMPTY, Relation.SEEDING, Relation.UNPROVEN):
        return "it holds no full copy"
    return ""


def _does_not_follow(s: Situation, name: str) -> str:
    """Why writes should not wait for it."""
    instance, seen = s.record.instance(name), s.snapshot.of(name)
    assert instance is not None
    assert seen is not None
    if seen.gone:
        return "its process has ended"
    if s.restart_wanted(instance):
        return "it is to be restarted"
    if name == next_to_upgrade(s):
        return "it is to be upgraded"
    if name == leaver(s):
        return "it is to be removed"
    silent_seconds = _silent_seconds(s, instance, seen)
    if not seen.alive and silent_seconds >= s.spec.down_after_seconds:
        return f"no sign of life for {silent_seconds:.1f} s"
    if seen.status is None:
        return ""
    if seen.relation is Relation.DETACHED:
        return f"it does not replicate from {s.record.primary}"
    age = seen.status.link_age_seconds
    if seen.status.link_up is False and not _primary_just_started(s):
        if age is None:
            return "its link is down"
        if age >= s.spec.down_after_seconds:
            return f"its link has been silent for {age:.1f} s"
    return ""


def _silent_seconds(s: Situation, instance: InstanceRecord, seen: Observation) -> float:
    """For how long. A manager that has only just taken over has never heard of it; but how long its
    host has been silent it knows, as it asks each host whatever it leads."""
    host = s.host_of(instance)
    own = seen.silent_seconds
    if host is None or seen.answered_seconds is not None or own < OWN_SILENCE_SECONDS:
        return own
    return max(own, host.silent_seconds)


def _primary_just_started(s: Situation) -> bool:
    started = s.primary.started_at if s.primary else None
    grace = s.spec.down_after_seconds + RECONNECT_SECONDS
    return started is not None and 0 <= s.snapshot.at - started < grace


def adjust(s: Situation) -> Decision | None:
    """The primary waits for as many standbys as the record and the durability say; it may not
    after a manager died half-way, or when an operator changed the durability."""
    if not s.primary_works or s.primary_seen is None or s.primary_seen.status is None:
        return None
    present = s.primary_seen.status.required_acks
    falls = present is not None and 0 < s.required_acks < present
    # A lower number needs every member's word: while one is silent this is not its turn.
    if present is not None and present != s.required_acks and not (falls and _member_is_silent(s)):
        return do(
            Action.SET_REQUIRED_ACKS,
            s.record.primary,
            f"its writes wait for {present} standbys, and should for {s.required_acks}",
        )
    for instance, seen in s.standbys:
        is_member = instance.name in s.record.sync_set
        if is_member or seen.status is None or not seen.status.acknowledges:
            continue
        if s.record.sync_set:
            reason = f"{instance.name} acknowledges writes and is no member of the sync set"
            return do(Action.SET_REQUIRED_ACKS, s.record.primary, reason)
        if not follows(seen) and seen.status.link_up:
            # One that acknowledges has to put every event on its disk first. One without a link
            # has nothing to catch up with yet: it is told when it has one.
            reason = f"{instance.name} acknowledges writes, which keeps it from catching up"
            return do(Action.SET_REQUIRED_ACKS, s.record.primary, reason)
    return None


def stuck(s: Situation) -> Decision | None:
    """Clients whose writes wait hold every connection, and nobody is there to acknowledge them.
    Many may be gone: a server does not notice that while it waits. They are ended, none of them
    acknowledged, so that others can connect, to read at least."""
    seen = s.primary_seen
    if not s.primary_works or seen is None or seen.status is None:
        return None
    if seen.status.turns_clients_away:
        reason = "it turns all clients away, as one that has not finished ending them"
        return do(Action.END_WAITING, s.record.primary, reason)
    if not seen.status.stuck_clients:
        return None
    members = [s.snapshot.of(name) for name in s.record.sync_set]
    if members and all(member is not None and follows(member) for member in members):
        return None  # in a moment they will have been acknowledged
    return do(
        Action.END_WAITING,
        s.record.primary,
        f"the writes of {seen.status.stuck_clients} clients wait for a standby and leave no"
        " connection to others",
    )


def unheard(s: Situation) -> Decision | None:
    """Every member of the sync set follows, and yet writes wait: the acknowledgement was lost with
    a link, or was not asked for when the write was received. A later write's counts for it as
    well, and a client that is the only one writes none."""
    seen = s.primary_seen
    if not s.primary_works or seen is None or seen.status is None or not s.record.sync_set:
        return None
    waiting_seconds = seen.status.waiting_seconds
    if waiting_seconds < UNHEARD_SECONDS or seen.status.required_acks != s.required_acks:
        return None
    members = [s.snapshot.of(name) for name in s.record.sync_set]
    if not all(member and _acknowledges_since(member, waiting_seconds) for member in members):
        return None
    return do(
        Action.PROMPT,
        s.record.primary,
        f"writes have waited for {waiting_seconds:.1f} s, and every member of the sync set follows",
    )


def _acknowledges_since(member: Observation, waiting_seconds: float) -> bool:
    """It follows and acknowledges, and has heard of the primary since writes began to wait: a link
    that was cut then seems to be up for a while."""
    status = member.status
    if status is None or not follows(member) or not status.acknowledges:
        return False
    age = status.link_age_seconds
    return age is not None and age < waiting_seconds


def _member_is_silent(s: Situation) -> bool:
    members = [s.snapshot.of(name) for name in s.record.sync_set]
    return any(seen is None or seen.status is None or not seen.status.link_up for seen in members)


def join(s: Situation) -> Decision | None:
    """A standby that follows closely enters the sync set: from then on it may be promoted."""
    if not s.capabilities.acknowledges:
        return None
    for instance, seen in s.due(s.standbys):
        if not follows(seen) or seen.status is None or not instance.synchronized:
            continue
        leaves = instance.name == leaver(s)
        upgrades = instance.upgrading or instance.name == next_to_upgrade(s)
        if s.restart_wanted(instance) or leaves or upgrades:
            continue
        if instance.name not in s.record.sync_set:
            return do(Action.JOIN_SYNC_SET, instance.name, "it follows closely")
        if not seen.status.acknowledges:
            return do(Action.JOIN_SYNC_SET, instance.name, "it does not acknowledge writes")
        if not seen.status.acknowledges_from_disk:
            reason = "it acknowledges writes that are not on its disk yet"
            return do(Action.JOIN_SYNC_SET, instance.name, reason)
    return None


def leaver(s: Situation) -> str | None:
    """Who goes when there are more instances than wanted: one that moves to another host, once as
    many as are wanted are in place elsewhere; else a broken one first, then the one with the
    highest number. None: nobody, or nobody yet."""
    if len(s.all) <= s.spec.instances:
        return None
    moving = s.moving
    standbys = [pair for pair in s.standbys if pair[0].name not in moving]
    if moving:
        stay = [pair for pair in s.all if pair[0].name not in moving]
        movers = [i.name for i, _ in s.standbys if i.name in moving]
        if movers and sum(in_place(s, *pair) for pair in stay) >= s.spec.instances:
            return movers[-1]
        if len(stay) <= s.spec.instances:
            return None
    order = sorted(
        standbys,
        key=lambda pair: (pair[1].relation is Relation.ATTACHED, -index_of(pair[0].name)),
    )
    return order[0][0].name if order else None
