"""Before anything else: the end of a service, an operator's pause, and its beginning."""

from __future__ import annotations

from hamanager.decide.rules.common import do, start
from hamanager.decide.situation import Situation
from hamanager.model.decision import Action, Decision
from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Process


def destroy(s: Situation) -> Decision | None:
    """An operator asked for the service to be destroyed."""
    if s.spec.destroy:
        return do(Action.DESTROY, None, "it was asked for")
    return None


def paused(s: Situation) -> Decision | None:
    """An operator asked the manager to observe and not to act."""
    if not s.spec.paused:
        return None
    text = f"paused by an operator: `hamanager resume {s.spec.name}` lets the manager act again"
    if s.record.initialized and s.evidence.failed:
        text += f"; {s.record.primary}: {s.evidence.reason}"
    return do(Action.WAIT, None, text)


def blind(s: Situation) -> Decision | None:
    """A manager that sees nothing at all distrusts itself, not the servers."""
    if s.all and all(seen.process is Process.UNKNOWN and not seen.alive for _, seen in s.all):
        return do(
            Action.WAIT,
            None,
            "neither the runtime nor any server answers: the manager may be cut off, and nothing is"
            " done before it sees something",
        )
    return None


def older_record(s: Situation) -> Decision | None:
    """The servers' data tell of a later term than the record: the store was restored from a copy
    that is older than they are. What it says of the primary and of who holds everything is not
    true any more, so nothing is done before an operator has named the instance to go on with."""
    latest, names = s.latest_told_term
    order = s.pending(OrderKind.FAILOVER)
    if latest <= s.record.term or (order is not None and order.to is not None):
        return None
    return do(
        Action.WAIT,
        None,
        f"the store is older than the servers: {' and '.join(names)} knows of term {latest}, the"
        f" record of {s.record.term}, as after restoring an old copy of it; nothing is done, and"
        " the servers go on as they are: put a later copy in place, or `hamanager failover"
        f" {s.spec.name} --to {names[0]} --force` goes on with what {names[0]} holds",
    )


def first_address(s: Situation) -> Decision | None:
    """A service whose clients are sent to its primary has an address of its own, from the first
    moment on."""
    if s.capabilities.url_names_all or s.record.initialized or s.record.endpoint is not None:
        return None
    return do(Action.RESERVE_ADDRESS, None, "clients need one that never changes")


def first_instance(s: Situation) -> Decision | None:
    """A new service starts with one instance."""
    if not s.record.instances:
        return do(Action.ADD_INSTANCE, f"{s.spec.name}.0", "the service is new")
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
