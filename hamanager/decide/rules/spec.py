"""Make what an operator wants true."""

from __future__ import annotations

from hamanager.decide.rules.common import do
from hamanager.decide.situation import Situation, follows
from hamanager.formats import size
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.memory_limit import grows_to
from hamanager.model.order import OrderKind
from hamanager.model.snapshot import Observation, Relation

ROOM_SECONDS = 30.0
"""How long a server may take to give memory back."""
SAMPLE_SECONDS = 2.5
"""What it uses was measured no longer ago than that."""
ROOM_SHARE = 0.97
"""The part of a new limit under which a server's use has to come: a limit that is reached at once
would end it."""


def discard(s: Situation) -> Decision | None:
    """An operator said that a retained volume is not needed any more."""
    if s.pending(OrderKind.DISCARD) is None:
        return None
    return do(Action.DISCARD, None, "an operator asked for it")


def switchover(s: Situation) -> Decision | None:
    """An operator asked for a planned change of primary: it is done now, or refused."""
    order = s.pending(OrderKind.SWITCHOVER)
    if order is None:
        return None
    refusal = ""
    to = order.to or (s.snapshot.candidates[0] if s.snapshot.candidates else None)
    if s.expired(order):
        refusal = "it was asked for more than a minute ago"
    elif to is None:
        refusal = "no standby could take over"
    elif to == s.record.primary:
        refusal = f"{to} is primary already"
    elif s.record.instance(to) is None:
        refusal = f"there is no instance {to}"
    elif to not in s.snapshot.candidates:
        refusal = f"{to} is not in step with {s.record.primary}"
    elif not follows(s.snapshot.observations[to]):
        refusal = f"{to} does not follow {s.record.primary}"
    if refusal:
        return do(Action.REFUSE, None, f"{refusal}; nothing was changed")
    return do(Action.SWITCHOVER, to, f"an operator asked for it, and {to} is in step")


def refuse_switchover(s: Situation) -> Decision | None:
    """A planned change needs a primary that works: it does not replace a failover."""
    if s.primary_works or s.pending(OrderKind.SWITCHOVER) is None:
        return None
    return do(
        Action.REFUSE,
        None,
        f"{s.record.primary} does not take writes, so nothing can be handed over; nothing was"
        " changed",
    )


def restart(s: Situation) -> Decision | None:
    """An operator asked for an instance to be restarted."""
    for instance, seen in s.due(s.all):
        if seen.gone:
            continue
        if s.restart_wanted(instance):
            return do(Action.RESTART, instance.name, "an operator asked for it")
        if s.restart_is_stuck(instance):
            return do(Action.RESTART, instance.name, "its restart was begun, and it did not stop")
    return None


def address(s: Situation) -> Decision | None:
    """An address for reading was asked for, or the service is older than addresses are."""
    if s.capabilities.url_names_all:
        return None
    present = s.record.endpoint
    reads = s.spec.reads_max_lag_seconds is not None
    if present is not None and (present.reads_port is not None or not reads):
        return None
    what = "an address for reading was asked for" if present else "clients need an address"
    return do(Action.RESERVE_ADDRESS, None, what)


def memory(s: Situation) -> Decision | None:
    """Another memory limit is wanted: standbys get a larger one first, the primary a smaller one,
    so that no standby ever has less than what it may have to take over."""
    wanted = s.spec.memory_bytes
    others = [
        (instance, seen)
        for instance, seen in s.all
        if instance.memory_bytes != wanted and not seen.gone and not s.memory_was_tried(instance)
    ]
    if not others:
        return None
    grows = grows_to(others[0][0].memory_bytes, wanted)
    instance, seen = min(others, key=lambda pair: (pair[0].name == s.record.primary) == grows)
    if grows:
        return do(Action.SET_MEMORY, instance.name, "a larger limit is wanted")
    return _shrink(s, instance, seen)


def _shrink(s: Situation, instance: InstanceRecord, seen: Observation) -> Decision:
    since, used = instance.memory_shrinks_since, seen.memory_used_bytes
    assert s.spec.memory_bytes is not None
    if since is None:
        return do(Action.SHRINK, instance.name, "a smaller limit is wanted")
    waited = s.snapshot.at - since
    if used is None or used <= s.spec.memory_bytes * ROOM_SHARE:
        if 0 <= waited < SAMPLE_SECONDS:
            return do(Action.WAIT, instance.name, f"{instance.name} gives memory back")
        return do(Action.SET_MEMORY, instance.name, "it uses less than its new limit")
    text = f"it uses {size(used)}, too much for a limit of {size(s.spec.memory_bytes)}"
    if 0 <= waited < ROOM_SECONDS:
        return do(Action.WAIT, instance.name, f"{instance.name} gives memory back: {text}")
    return do(Action.KEEP_MEMORY, instance.name, text)


def missing(s: Situation) -> Decision | None:
    """Fewer instances than wanted: one is added."""
    if len(s.all) >= s.spec.instances:
        return None
    taken = {index_of(instance.name) for instance, _ in s.all}
    index = next(i for i in range(len(taken) + 1) if i not in taken)
    return do(
        Action.ADD_INSTANCE,
        f"{s.spec.name}.{index}",
        f"{s.spec.instances} instances are wanted, there are {len(s.all)}",
    )


def well(s: Situation) -> Decision | None:
    """Nothing to do."""
    following = [i.name for i, seen in s.standbys if follows(seen)]
    copying = [i.name for i, seen in s.standbys if seen.relation is Relation.SEEDING]
    text = f"{s.record.primary} is primary"
    if s.standbys:
        text += f", standbys following: {len(following)} of {len(s.standbys)}"
    if copying:
        text += f", {' and '.join(copying)} {'copies' if len(copying) == 1 else 'copy'} the data"
    return do(Action.NOTHING, None, text)
