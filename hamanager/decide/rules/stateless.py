"""Services without data: no primary, nothing to copy, any instance as good as any other."""

from __future__ import annotations

from hamanager.decide.rules.common import do, start
from hamanager.decide.situation import STOP_AGAIN_SECONDS, Situation
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.snapshot import Observation
from hamanager.model.upgrade import outdated, wanted_image

DRAIN_SECONDS = 30.0
"""How long requests that are under way may take when an instance is to stop."""
HUNG_SECONDS = 10.0
"""An instance that has not passed its check for so long is ended and started again."""
GRACE_SECONDS = 60.0
"""So long it may take after its start before it passes its check."""


def first_address(s: Situation) -> Decision | None:
    """Clients have one address, from the first moment on."""
    if s.record.endpoint is not None:
        return None
    return do(Action.RESERVE_ADDRESS, None, "clients need one that never changes")


def ready(s: Situation) -> Decision | None:
    """A new instance that passes its check for the first time gets requests."""
    for instance, seen in s.due(s.all):
        if seen.status is not None and not instance.joined and not instance.upgrading:
            return do(Action.MARK_READY, instance.name, "it passes its check")
    return None


def recovered(s: Situation) -> Decision | None:
    """One that came back is not counted as a failing one any more."""
    for instance, seen in s.due(s.all):
        if seen.status is not None and instance.joined and instance.starts > 0:
            return do(Action.MARK_READY, instance.name, "it passes its check again")
    return None


def surplus(s: Situation) -> Decision | None:
    """More instances than wanted: the one with the highest number gets no more requests, ends
    those that it has, and goes."""
    if len(s.all) <= s.spec.instances:
        return None
    instance, seen = max(s.all, key=lambda pair: index_of(pair[0].name))
    reason = f"{s.spec.instances} of {len(s.all)} instances are wanted"
    return _drained(s, instance, seen, Action.TAKE_OUT, reason)


def restart(s: Situation) -> Decision | None:
    """An operator asked for an instance to be restarted: after its requests have ended."""
    for instance, seen in s.due(s.all):
        if s.restart_wanted(instance) and not seen.gone:
            return _drained(s, instance, seen, Action.RESTART, "an operator asked for it")
    return None


def upgrade(s: Situation) -> Decision | None:
    """Another image is wanted: one instance after the other gets it, after its requests have ended
    and while all others pass their check; one that does not goes first."""
    due = [(i, seen) for i, seen in s.due(s.all) if outdated(s.spec, i)]
    due.sort(key=lambda pair: (pair[0].draining_since is None, _serves(*pair)))
    for instance, seen in due[:1]:
        if instance.upgrading:
            return _stop_again(s, instance, seen)
        others = [pair for pair in s.all if pair[0].name != instance.name]
        if instance.draining_since is not None or all(_serves(*pair) for pair in others):
            reason = f"it is to run from {wanted_image(s.spec).words}"
            if not others:
                reason += "; there is no other, so requests wait until it is back"
            return _drained(s, instance, seen, Action.UPGRADE, reason)
    return None


def _serves(instance: InstanceRecord, seen: Observation) -> bool:
    settled = instance.draining_since is None and instance.former_image is None
    return seen.status is not None and instance.joined and settled


def _stop_again(s: Situation, instance: InstanceRecord, seen: Observation) -> Decision | None:
    """It was asked to stop, perhaps by a manager that died before it did."""
    since = instance.draining_since
    if seen.gone:
        return None
    if since is not None and 0 <= s.snapshot.at - since < STOP_AGAIN_SECONDS:
        return do(Action.WAIT, instance.name, f"{instance.name} stops")
    return do(Action.UPGRADE, instance.name, "its upgrade was begun, and it did not stop")


def _drained(
    s: Situation, instance: InstanceRecord, seen: Observation, then: Action, reason: str
) -> Decision:
    since = instance.draining_since
    if since is None:
        return do(Action.DRAIN, instance.name, reason)
    busy = seen.connections is None or seen.connections > 0
    if busy and not seen.gone and 0 <= s.snapshot.at - since < DRAIN_SECONDS:
        number = "its" if seen.connections is None else f"{seen.connections}"
        return do(Action.WAIT, instance.name, f"{instance.name} still serves {number} requests")
    return do(then, instance.name, reason)


def start_gone(s: Situation) -> Decision | None:
    """One that ended is started again, after growing pauses."""
    waiting = None
    for instance, seen in s.due(s.all):
        if seen.gone:
            decision = start(s, instance, seen)
            if decision.action is Action.START_INSTANCE:
                return decision
            waiting = waiting or decision
    healthy = any(seen.status is not None for _, seen in s.all)
    return None if healthy else waiting


def hung(s: Situation) -> Decision | None:
    """One that does not pass its check any more is ended; the rule `start` brings it back."""
    for instance, seen in s.due(s.all):
        if seen.gone or seen.status is not None or seen.silent_seconds < HUNG_SECONDS:
            continue
        started = instance.started_at
        if started is not None and 0 <= s.snapshot.at - started < GRACE_SECONDS:
            continue
        return do(
            Action.END_INSTANCE,
            instance.name,
            f"it has not passed its check for {seen.silent_seconds:.0f} s: {seen.detail}",
        )
    return None


def memory(s: Situation) -> Decision | None:
    """Another memory limit is wanted; an instance that does not fit keeps its own."""
    for instance, seen in s.due(s.all):
        tried = s.memory_was_tried(instance)
        if instance.memory_bytes != s.spec.memory_bytes and not seen.gone and not tried:
            return do(Action.SET_MEMORY, instance.name, "another limit is wanted")
    return None


def well(s: Situation) -> Decision | None:
    """Nothing to do."""
    healthy = sum(seen.status is not None and i.joined for i, seen in s.all)
    return do(Action.NOTHING, None, f"{healthy} of {s.spec.instances} pass their check")
