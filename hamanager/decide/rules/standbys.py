"""Keep the instances running, and make the standbys follow."""

from __future__ import annotations

from dataclasses import replace

from hamanager.decide.rules.common import do, start
from hamanager.decide.rules.sync_set import leaver
from hamanager.decide.rules.upgrade import is_too_old, stopped
from hamanager.decide.situation import Situation, follows, has_role, restarted
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import RETAINED_LIMIT
from hamanager.model.snapshot import Contact, Observation, Process, Relation, Role
from hamanager.model.upgrade import runs_from

SOURCES_SECONDS = 1.0
"""So long at the most a former primary is not started while others look for another source."""
UNDOING_SECONDS = 60.0
"""So long a standby may take back writes before it is started anew."""
HUNG_SECONDS, HUNG_GRACE_SECONDS = 10.0, 60.0
"""So long nobody has heard of a standby that is ended, whose start is so long ago at the least."""
STARTS_BEFORE_REBUILD = 5
"""A standby that does not come up after so many starts is rebuilt from nothing."""


def surplus(s: Situation) -> Decision | None:
    """More instances than wanted: one standby goes, a broken one first, the primary never; one that
    moves to another host when as many as are wanted are in place elsewhere."""
    if not s.primary_works:
        return None
    name = leaver(s)
    if name is None:
        return None
    reason = f"{s.spec.instances} of {len(s.all)} instances are wanted"
    if name in s.moving:
        reason = f"{reason}, and another host has taken its place"
    return do(Action.REMOVE_INSTANCE, name, reason)


def start_gone(s: Situation) -> Decision | None:
    """A process that ended is started again, the primary's first (no standby could take over,
    or we would not be here). Where the servers elect by themselves a former primary has to wait a
    moment, while the others look for whom to replicate from."""
    waiting: Decision | None = None
    for instance, seen in sorted(s.due(s.all), key=lambda pair: pair[0].name != s.record.primary):
        if not seen.gone or _others_come_first(s, instance):
            continue
        if (reason := _why_rebuilt(s, instance, seen)) and _has_room(s):
            return do(Action.REBUILD, instance.name, reason)
        decision = start(s, instance, seen)
        if decision.action is Action.START_INSTANCE:
            return decision
        waiting = waiting or decision
    if waiting is None or s.primary_works:
        return None
    told = stopped(s)
    return replace(waiting, reason=f"{waiting.reason}; {told}") if told else waiting


def _others_come_first(s: Situation, instance: InstanceRecord) -> bool:
    """They ask their former source again and again, each time seeing whether the new primary is a
    better one; one that is just being started may accept the question and not answer it."""
    last = s.record.last_failover
    if not s.capabilities.elects_itself or last is None or last.from_instance != instance.name:
        return False
    if s.primary is None or not 0 <= s.snapshot.at - last.at < SOURCES_SECONDS:
        return False
    primary = s.primary.replication_address
    statuses = [seen.status for one, seen in s.standbys if one.name != instance.name]
    return any(status is not None and status.source != primary for status in statuses)


def primary_not_ready(s: Situation) -> Decision | None:
    """What follows needs a working primary."""
    if s.primary_works:
        return None
    detail = s.primary_seen.detail if s.primary_seen else ""
    return do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary or 'no instance'} is not ready to take writes"
        + (f": {detail}" if detail else ""),
    )


def restart_done(s: Situation) -> Decision | None:
    """A restarted instance is back in its place."""
    for instance, seen in s.all:
        back = has_role(seen, Role.PRIMARY) or follows(seen)
        if instance.restarting_since is not None and back and restarted(instance):
            return do(Action.FINISH_RESTART, instance.name, "it is back in its place")
    return None


def synchronized(s: Situation) -> Decision | None:
    """A standby that was seen to hold a full copy and to follow becomes a candidate; where neither
    a sync set nor the members themselves tell whom it followed, in each term anew."""
    told = s.capabilities.acknowledges or s.capabilities.elects_itself
    for instance, seen in s.due(s.standbys):
        settled = instance.synchronized and not instance.was_primary and instance.starts == 0
        settled = settled and (told or instance.synchronized_term >= s.record.term)
        if follows(seen) and not settled:
            return do(Action.MARK_SYNCHRONIZED, instance.name, "it holds a full copy and follows")
    return None


def rejoin(s: Situation) -> Decision | None:
    """A standby that does not follow the primary is seeded, attached or rebuilt."""
    for instance, seen in s.due(s.standbys):
        if decision := _rejoin_one(s, instance, seen):
            return decision
    return None


def stuck_undoing(s: Situation) -> Decision | None:
    """A standby that takes back writes and comes to no end is started anew: it does that from the
    beginning, and is given longer. One that comes to no end then either is rebuilt."""
    for instance, seen in s.due(s.standbys):
        if seen.status is None or not seen.status.undoes or seen.broken_since is None:
            continue
        anew = instance.starts > 1
        limit = 2 * UNDOING_SECONDS if anew else UNDOING_SECONDS
        since = max(seen.broken_since, instance.started_at or 0.0)
        if s.snapshot.at - since < limit or seen.process is not Process.RUNNING:
            continue
        reason = f"it has been undoing writes for {limit:g} s and comes to no end"
        if not anew:
            return do(Action.END_INSTANCE, instance.name, reason)
        if _has_room(s):
            return do(Action.REBUILD, instance.name, f"{reason}, as before its last start")
    return None


def hung(s: Situation) -> Decision | None:
    """A standby that has a process and that nobody has heard of for long, neither the manager nor
    any other member, is ended; the rule `start` takes it back. Those others go on without it."""
    others = [seen.status for _, seen in s.all if seen.status is not None]
    if len(others) <= len(s.all) // 2:
        return None
    for instance, seen in s.due(s.standbys):
        if seen.process is not Process.RUNNING or seen.contact is not Contact.SILENT:
            continue
        started_at = instance.started_at
        if started_at is not None and 0 <= s.snapshot.at - started_at < HUNG_GRACE_SECONDS:
            continue
        address = f"{instance.host}:{instance.port}"
        heard = [status.heard_seconds.get(address, 0.0) for status in others]
        silent_seconds = min(seen.silent_seconds, *heard)
        if silent_seconds < max(HUNG_SECONDS, s.spec.down_after_seconds):
            continue
        reason = f"nobody has heard of it for {silent_seconds:.0f} s, and its process runs"
        return do(Action.END_INSTANCE, instance.name, reason)
    return None


def _rejoin_one(s: Situation, instance: InstanceRecord, seen: Observation) -> Decision | None:
    name = instance.name
    reason = _why_rebuilt(s, instance, seen)
    if is_too_old(s, instance) and not reason:
        return None  # the rule `upgrade` comes first
    if seen.relation is Relation.EMPTY and _copies_from_another_image(s, instance):
        what = "a first copy is made by what its primary runs from, and it runs from another image"
        return do(Action.REBUILD, name, what)
    if seen.relation is Relation.EMPTY:
        return do(Action.SEED, name, "it has no data yet")
    if seen.relation is Relation.DETACHED:
        return do(Action.ATTACH, name, f"it is not yet a full standby of {s.record.primary}")
    if seen.relation is Relation.UNPROVEN and not instance.was_primary:
        what = "its data came from a primary and is replaced by a new copy"
        return do(Action.ATTACH, name, what)
    return do(Action.REBUILD, name, reason) if reason and _has_room(s) else None


def _copies_from_another_image(s: Situation, instance: InstanceRecord) -> bool:
    """Engines that do not elect copy between servers of one version only."""
    if s.capabilities.elects_itself or s.primary is None:
        return False
    return runs_from(s.spec, instance).id != runs_from(s.spec, s.primary).id


def no_room(s: Situation) -> Decision | None:
    """A standby has to be rebuilt, and so many volumes are retained already that an operator has to
    let go of some first. Nothing else waits for that."""
    for instance, seen in s.standbys:
        if _why_rebuilt(s, instance, seen) and not _has_room(s):
            return do(
                Action.WAIT,
                instance.name,
                f"{instance.name} is not rebuilt, as {len(s.record.retained)} sets of data are kept"
                " already: look at `kept_data` and let go of one with"
                f" `hamanager discard {s.spec.name} VOLUME`",
            )
    return None


def _why_rebuilt(s: Situation, instance: InstanceRecord, seen: Observation) -> str:
    """Why that standby has to be made anew, its volume retained; '' when it need not."""
    if instance.name == s.record.primary or not s.primary_works:
        return ""
    unproven = instance.former_image is not None  # it is the image's fault rather than the data's
    if seen.gone and instance.starts >= STARTS_BEFORE_REBUILD and not unproven:
        return f"it did not come up after {instance.starts} starts"
    if seen.relation is Relation.UNPROVEN and instance.was_primary:
        return "it was primary, and its data cannot be proven to be elsewhere"
    if seen.relation is Relation.DIVERGED:
        reason = f"its data is not a part of what {s.record.primary} can send"
        if seen.errant_writes:
            what = "never acknowledged" if instance.unacknowledged_only else "missing there"
            reason += f": it alone has {seen.errant_writes} ({what})"
        return reason
    return ""


def _has_room(s: Situation) -> bool:
    """Whether one more volume may be retained."""
    replaceable = not s.capabilities.acknowledges or any(
        v.unacknowledged for v in s.record.retained
    )
    return len(s.record.retained) < RETAINED_LIMIT or replaceable
