"""Let every instance run from the image that is wanted: the standbys first, one at a time, and the
primary last, when one of them can take its place.

That order is what engines ask for: a standby may be newer than its primary, never older.
"""

from __future__ import annotations

from hamanager.decide.rules.common import do
from hamanager.decide.situation import Situation, follows
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.snapshot import Observation, Relation
from hamanager.model.upgrade import may_not_follow, outdated, runs_from, wanted_image

STARTS_BEFORE_STOPPED = 3
STOPPED_SECONDS = 600.0
"""One that has not come up from a new image after so many starts, or so long after its start, is
what the upgrade has stopped at. (A new version may have to go through all data first.)"""


def upgrade(s: Situation) -> Decision | None:
    """Another image is wanted: the standbys get it first, one at a time and each while everybody
    else is in place; then one of them takes the primary's place, who is the last. A service of one
    instance is restarted for it."""
    to = wanted_image(s.spec).words
    due = s.due(s.all)
    chosen = next_to_upgrade(s)
    if chosen is not None and any(instance.name == chosen for instance, _ in due):
        reason = f"it is to run from {to}"
        if chosen == s.record.primary:
            reason += "; there is no standby, so nothing can be written until it is back"
        return do(Action.UPGRADE, chosen, reason)
    able = [instance.name for instance, seen in due if follows(seen)]
    target = next((name for name in s.snapshot.candidates if name in able), None)
    if target is not None and _only_the_primary_is_left(s):
        return do(
            Action.SWITCHOVER,
            target,
            f"every standby runs from {to}, and {s.record.primary} is to",
        )
    return None


def upgrade_undone(s: Situation) -> Decision | None:
    """The primary hangs since it was given an image from which nobody has seen it work, and another
    one is wanted instead."""
    primary, seen = s.primary, s.primary_seen
    if s.primary_works or primary is None or seen is None or seen.gone:
        return None
    begun = primary.upgrading and not s.restart_is_stuck(primary)
    if primary.former_image is None or not outdated(s.spec, primary) or begun:
        return None
    return do(
        Action.UPGRADE, primary.name, f"it is to run from {wanted_image(s.spec).words} instead"
    )


def upgrade_stopped(s: Situation) -> Decision | None:
    """An instance does not come up from the image that it was given: no other is given it."""
    text = stopped(s)
    return do(Action.WAIT, None, text) if text else None


def next_to_upgrade(s: Situation) -> str | None:
    """The instance that is to be made anew from another image now. A standby that is too old to
    follow its primary goes first, whoever else is missing: nobody misses it. Then one that is not
    in its place, and then the one with the highest number, while everybody else is."""
    if not s.primary_works:
        return None
    due = [(i, seen) for i, seen in s.standbys if outdated(s.spec, i) and not i.upgrading]
    for instance, seen in due:
        # One that is attached can follow: it may only have missed a moment of it.
        if is_too_old(s, instance) and seen.relation is not Relation.ATTACHED:
            return instance.name
    due.sort(key=lambda pair: (in_place(s, *pair), -index_of(pair[0].name)))
    if due:
        instance, _ = due[0]
        return instance.name if instance.joined and _others_in_place(s, instance.name) else None
    alone = len(s.all) == s.spec.instances == 1
    if alone and s.primary is not None and outdated(s.spec, s.primary):
        return None if s.primary.upgrading else s.primary.name
    return None


def is_too_old(s: Situation, instance: InstanceRecord) -> bool:
    """A standby that has to be upgraded before it follows. (Members that elect find their primary
    by themselves, and their engines have them run side by side.)"""
    return not s.capabilities.elects_itself and may_not_follow(s.spec, s.record, instance)


def in_place(s: Situation, instance: InstanceRecord, seen: Observation) -> bool:
    """It does what it is there for, and nothing is under way with it."""
    if instance.restarting_since is not None or instance.former_image is not None:
        return False
    if instance.name == s.record.primary:
        return s.primary_works
    acknowledges = not s.capabilities.acknowledges or instance.name in s.record.sync_set
    return follows(seen) and instance.synchronized and instance.starts == 0 and acknowledges


def stopped(s: Situation) -> str:
    """Where an upgrade has stopped, and what to do; '' when it has not."""
    for instance, seen in s.all:
        before, started_at = instance.former_image, instance.started_at
        if before is None or outdated(s.spec, instance) or follows(seen):
            continue
        if seen.relation is Relation.SEEDING:
            continue
        waited = 0.0 if started_at is None else s.snapshot.at - started_at
        fails = instance.starts >= STARTS_BEFORE_STOPPED and not seen.alive
        if not fails and waited < STOPPED_SECONDS:
            continue
        others = [i.name for i, _ in s.all if outdated(s.spec, i)]
        left = f", and no other was touched: {' and '.join(others)}" if others else ""
        why = seen.detail or "it does not follow"
        return (
            f"the upgrade has stopped: {instance.name} does not come up from"
            f" {runs_from(s.spec, instance).words} ({why}; `hamanager logs {instance.name}`){left};"
            f" `hamanager upgrade {s.spec.name} --image {before.name or before.id}` goes back"
        )
    return ""


def _others_in_place(s: Situation, name: str) -> bool:
    others = [pair for pair in s.all if pair[0].name != name]
    # Where members elect, all but one of three or five are a majority.
    return len(s.all) >= s.spec.instances and all(in_place(s, *pair) for pair in others)


def _only_the_primary_is_left(s: Situation) -> bool:
    if s.primary is None or not outdated(s.spec, s.primary) or len(s.all) < s.spec.instances:
        return False
    standbys = [instance for instance, _ in s.standbys]
    return all(in_place(s, *pair) for pair in s.all) and not any(
        outdated(s.spec, instance) for instance in standbys
    )
