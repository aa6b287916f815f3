"""What several rules use."""

from __future__ import annotations

from hamanager.decide.situation import Situation
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord
from hamanager.model.snapshot import Observation, Process

LONGEST_START_PAUSE_SECONDS = 60.0


def do(action: Action, instance: str | None, reason: str) -> Decision:
    """A decision; the table adds the rule's name."""
    return Decision("", action, reason, instance)


def start(s: Situation, instance: InstanceRecord, seen: Observation) -> Decision:
    """Start it, unless it was started again and again: then pause longer and longer."""
    pause = min(LONGEST_START_PAUSE_SECONDS, 2.0 ** max(0, instance.starts - 2))
    if instance.starts > 2 and instance.started_at is not None:
        remaining = instance.started_at + pause - s.snapshot.at
        if 0 < remaining <= pause:  # more is a clock that jumped back
            return do(
                Action.WAIT,
                instance.name,
                f"{instance.name} ended after each of {instance.starts} starts, next try within"
                f" {pause:g} s",
            )
    missing = seen.process is Process.MISSING
    return do(
        Action.START_INSTANCE,
        instance.name,
        "it has no container" if missing else "its process has ended",
    )


def start_one_that_ended(s: Situation) -> Decision | None:
    """Start one whose process is gone and whose pause is over, the primary's first."""
    for instance, seen in sorted(s.all, key=lambda pair: pair[0].name != s.record.primary):
        if seen.gone and (decision := start(s, instance, seen)).action is Action.START_INSTANCE:
            return decision
    return None
