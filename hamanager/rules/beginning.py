"""Before anything else: the end of a service, a person's pause, and its beginning."""

from __future__ import annotations

from hamanager.rules.common import do, start
from hamanager.situation import Situation
from hamanager.values.decision import Action, Decision
from hamanager.values.snapshot import Process


def destroy(s: Situation) -> Decision | None:
    """A person asked for the service to be destroyed."""
    if s.wish.destroy:
        return do(Action.DESTROY, None, "it was asked for")
    return None


def paused(s: Situation) -> Decision | None:
    """A person asked the manager to observe and not to act."""
    if not s.wish.paused:
        return None
    text = f"paused by a person: `hamanager resume {s.wish.name}` lets the manager act again"
    if s.record.initialized and s.evidence.given_up:
        text += f"; {s.record.primary}: {s.evidence.reason}"
    return do(Action.WAIT, None, text)


def blind(s: Situation) -> Decision | None:
    """A manager that sees nothing at all distrusts itself, not the servers."""
    if s.all and all(seen.process is Process.UNKNOWN and not seen.alive for _, seen in s.all):
        return do(
            Action.WAIT,
            None,
            "neither the runtime nor any server answers: the manager may be cut off",
        )
    return None


def first_address(s: Situation) -> Decision | None:
    """A service whose clients are sent to its primary has an address of its own, from the first
    moment on."""
    if s.capabilities.url_names_all or s.record.initialized or s.record.endpoint is not None:
        return None
    return do(Action.RESERVE_ADDRESS, None, "clients need one that never changes")


def first_instance(s: Situation) -> Decision | None:
    """A new service starts with one instance."""
    if not s.record.instances:
        return do(Action.ADD_INSTANCE, f"{s.wish.name}.0", "the service is new")
    return None


def set_up(s: Situation) -> Decision | None:
    """The first server of a new service is set up as its primary."""
    if s.record.initialized:
        return None
    first, seen = s.all[0]
    if seen.gone:
        return start(s, first, seen)
    if seen.status is not None:
        return do(Action.INITIALIZE, first.name, "the first server is up")
    return do(Action.WAIT, first.name, f"{first.name} is starting")
