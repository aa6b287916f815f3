"""What happens, as hooks hear of it: made of the history's entries and of states. Pure."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hamanager.api.views import ServiceState
from hamanager.model.decision import Action
from hamanager.model.drill import NOTED
from hamanager.model.history import HistoryEntry


class EventKind(StrEnum):
    """The names by which hooks are subscribed."""

    FAILOVER_BEGINS = "failover-begins"
    FAILOVER = "failover"
    """Another instance leads, which nobody had planned."""
    FAILOVER_FAILED = "failover-failed"
    SWITCHOVER_BEGINS = "switchover-begins"
    SWITCHOVER = "switchover"
    SWITCHOVER_FAILED = "switchover-failed"
    COPIED = "copied"
    """A standby has become a full copy and follows."""
    DEGRADED = "degraded"
    """The primary works, and fewer instances than wanted are up."""
    DOWN = "down"
    """Nothing can be written."""
    CANARY = "canary"
    """Its canary says that no write goes through although the primary answers, that they do again,
    or that an acknowledged write is lost."""
    HEALTHY = "healthy"
    """All is well again."""
    DRILL = "drill"
    """A drill by schedule has ended, was refused, or was missed."""


class Event(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(frozen=True)

    event: EventKind
    service: str
    at: float
    """Seconds since the epoch."""
    text: str
    """One sentence."""
    manager: str = ""
    run: str = ""
    """For `hamanager why SERVICE --run`."""
    seconds: float | None = None
    """How long it took."""

    @property
    def sentence(self) -> str:
        """For people who did not ask."""
        took = f" ({self.seconds:.3f} s)" if self.seconds is not None else ""
        why = f"; `hamanager why {self.service} --run {self.run}`" if self.run else ""
        return f"{self.service}: {self.event}: {self.text}{took}{why}"


CANARY = "canary"
"""In the place of a rule's name: what the canary notes in the history."""
_CHANGES = {
    Action.FAIL_OVER.value: ("failover", EventKind.FAILOVER_BEGINS),
    Action.ADOPT.value: ("failover", EventKind.FAILOVER_BEGINS),
    Action.FORCE.value: ("failover", EventKind.FAILOVER_BEGINS),
    Action.SWITCHOVER.value: ("switchover", EventKind.SWITCHOVER_BEGINS),
}
_STATES = {
    ServiceState.RUNNING: EventKind.HEALTHY,
    ServiceState.DEGRADED: EventKind.DEGRADED,
    ServiceState.DOWN: EventKind.DOWN,
    ServiceState.FAILING_OVER: EventKind.DOWN,
}


def event_of(entry: HistoryEntry, manager: str) -> Event | None:
    """What an entry of the history tells hooks; None for nothing."""
    kind = _kind(entry)
    if kind is None:
        return None
    return Event(
        event=kind,
        service=entry.service,
        at=entry.at,
        text=entry.text,
        manager=manager,
        run=entry.run,
        seconds=entry.seconds,
    )


def _kind(entry: HistoryEntry) -> EventKind | None:
    if entry.rule == CANARY:
        return EventKind.CANARY
    if entry.rule == NOTED:
        return EventKind.DRILL
    if entry.playbook == Action.MARK_SYNCHRONIZED.value:
        return EventKind.COPIED if entry.kind == "outcome" and entry.ok else None
    if entry.playbook not in _CHANGES:
        return None
    name, begins = _CHANGES[entry.playbook]
    if entry.kind == "decision":
        return begins
    if entry.kind != "outcome":
        return None
    return EventKind(name) if entry.ok else EventKind(f"{name}-failed")


def event_of_state(
    service: str, before: ServiceState | None, now: ServiceState, at: float, text: str, manager: str
) -> Event | None:
    """What a service's state tells hooks, when it is another one than before (None: the manager has
    just begun to look); None for nothing."""
    kind = _STATES.get(now)
    known = _STATES.get(before) if before is not None else EventKind.HEALTHY
    if kind is None or kind is known:
        return None
    return Event(event=kind, service=service, at=at, text=text, manager=manager)
