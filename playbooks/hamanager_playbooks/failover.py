"""A new primary.

The order is the safety: the term first (whoever loses the compare-and-swap does nothing), then
the fence, then everything received is applied, then it is published that the new one alone holds
every acknowledged write, and only then does it take writes. Other standbys are pointed at it
afterwards, by the rule `rejoin`, and enter the sync set by `sync-join`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hamanager.act.context import PlaybookContext, Step, needed
from hamanager.decide.rules.hosts import not_proven_to_refuse
from hamanager.decide.situation import Situation
from hamanager.errors import RuntimeFailedError, ServerError, StepFailedError
from hamanager.model.order import OrderKind, pending
from hamanager.model.primary_change import FailoverResult
from hamanager.model.snapshot import Contact, Process, Role
from hamanager_playbooks.images import unproven
from hamanager_playbooks.orders import settled
from hamanager_playbooks.syncing import silence_non_members

NOTHING_LOST = "nothing that was acknowledged"


def fail_over(ctx: PlaybookContext) -> Sequence[Step]:
    """Give the primary's role to the decision's instance because the primary failed."""
    before = ctx.records.read()
    old = before.primary
    seen = ctx.snapshot.of(old)
    silent_before = seen.silent_seconds if seen else 0.0
    began = ctx.clock.monotonic()
    order = pending(ctx.spec.order, before.order_result, OrderKind.FAILOVER)
    forced = order is not None and order.to in (None, ctx.name)
    lossless = ctx.driver.semisync is not None and ctx.name in before.sync_set and not forced
    losses: list[str] = []

    def promote() -> str:
        others = [t for t in ctx.members() if t.name not in (ctx.name, old)]
        term, waits = ctx.records.read().term, ctx.required_acks(members=0)
        note = ctx.replication.promote(ctx.service, ctx.target(), others, waits, term)
        losses.append(note)
        return f"lost writes: {note}" if note and not lossless else ""

    def record() -> str:
        seconds = silent_before + ctx.clock.monotonic() - began
        lost = losses[0] or "unknown: what the standby had not received"
        if forced:
            lost = ctx.snapshot.missing_writes.get(ctx.name) or lost
        failover = FailoverResult(
            at=ctx.clock.now(),
            from_instance=old,
            to_instance=ctx.name,
            seconds=round(seconds, 3),
            lost=NOTHING_LOST if lossless else lost,
            forced=forced,
        )
        text = f"{ctx.name} is primary; lost: {failover.lost}"
        ctx.records.change(
            lambda r: settled(
                ctx,
                r.finish_promotion(
                    ctx.name,
                    ctx.clock.now(),
                    acknowledges=ctx.driver.capabilities.acknowledges,
                    lossless=lossless,
                    failover=failover,
                ),
                [OrderKind.FAILOVER, OrderKind.SWITCHOVER],
                ok=True,
                text=text,
            )
        )
        return f"{seconds:.3f} s after the first sign of failure"

    steps = [
        *_half_promoted(ctx),
        Step("begin a new term", lambda: begin_term(ctx)),
        # Whoever comes from now on waits at the address. What is open ends with the server.
        Step("send no client to anybody", lambda: ctx.send_clients_to(None, cut=False)),
    ]
    if old is not None and old != ctx.name and ctx.driver.election is None:
        steps.append(
            Step(f"fence {old}", lambda: fence(ctx, old, lossless=lossless, forced=forced))
        )
    return [
        *steps,
        Step(f"apply what {ctx.name} has received", lambda: apply_received(ctx)),
        Step(f"publish that {ctx.name} may take writes", lambda: publish(ctx)),
        Step(f"promote {ctx.name}", promote),
        send_clients(ctx),
        Step(f"record {ctx.name} as primary", record),
        *settle(ctx),
        *_end_hung(ctx, old),
    ]


def resume(ctx: PlaybookContext) -> Sequence[Step]:
    """The primary on record was restarted and takes writes again; they wait for the same standbys
    as before."""

    def promote() -> None:
        others = [t for t in ctx.members() if t.name != ctx.name]
        term = ctx.records.read().term
        ctx.replication.promote(ctx.service, ctx.target(), others, ctx.required_acks(), term)

    def record() -> None:
        ctx.records.change(
            lambda r: settled(
                ctx,
                r.finish_promotion(
                    ctx.name,
                    ctx.clock.now(),
                    acknowledges=ctx.driver.capabilities.acknowledges,
                ),
                [OrderKind.FAILOVER],
                ok=True,
                text=f"{ctx.name} is primary again",
            )
        )

    silence = []
    if ctx.records.read().sync_set:
        # A manager that died may have taken one out of the set and not told it.
        silence = [Step("let no other standby acknowledge", lambda: silence_non_members(ctx))]
    return [
        *unproven(ctx),
        *_half_promoted(ctx),
        Step("begin a new term", lambda: begin_term(ctx)),
        *silence,
        Step(f"let {ctx.name} take writes", promote),
        send_clients(ctx),
        Step(f"record {ctx.name} as primary", record),
        *settle(ctx),
    ]


def adopt(ctx: PlaybookContext) -> Sequence[Step]:
    """Write down the primary that the servers elected by themselves."""
    old = ctx.records.read().primary
    seen = ctx.snapshot.of(old)

    def record() -> str | None:
        before = ctx.records.read()
        previous = before.instance(old)
        planned = previous is not None and previous.restarting_since is not None
        failover = None
        if old not in (None, ctx.name) and not planned and before.switching_to != ctx.name:
            failover = FailoverResult(
                at=ctx.clock.now(),
                from_instance=old,
                to_instance=ctx.name,
                seconds=round(seen.silent_seconds if seen else 0.0, 3),
                lost="nothing that a majority acknowledged",
            )
        ctx.records.change(
            lambda r: settled(
                ctx,
                r.elect(
                    ctx.name,
                    ctx.clock.now(),
                    acknowledges=ctx.driver.capabilities.acknowledges,
                    failover=failover,
                ),
                [OrderKind.SWITCHOVER],
                ok=before.switching_to in (None, ctx.name),
                text=f"the members elected {ctx.name}",
            )
        )
        return None

    return [Step(f"record {ctx.name} as primary", record)]


def force(ctx: PlaybookContext) -> Sequence[Step]:
    """An operator decided who leads a set that has lost its majority. The members that do not
    answer are left out of it; they may merely be cut off, and many enough to elect another primary
    among themselves, so they are fenced first."""
    old = ctx.records.read().primary
    began = ctx.clock.monotonic()
    answering = {
        name for name, seen in ctx.snapshot.observations.items() if seen.status is not None
    }
    survivors = [target for target in ctx.members() if target.name in answering]
    left_out = [target.name for target in ctx.members() if target.name not in answering]
    lost = f"whatever only {' and '.join(left_out) or 'nobody'} had"

    def lead() -> str:
        needed(ctx.driver.election).force(ctx.service, ctx.target(), survivors)
        return lost

    def record() -> None:
        failover = FailoverResult(
            at=ctx.clock.now(),
            from_instance=old,
            to_instance=ctx.name,
            seconds=round(ctx.clock.monotonic() - began, 3),
            lost=lost,
            forced=True,
        )
        ctx.records.change(
            lambda r: settled(
                ctx,
                r.finish_promotion(
                    ctx.name,
                    ctx.clock.now(),
                    acknowledges=ctx.driver.capabilities.acknowledges,
                    failover=failover,
                ),
                [OrderKind.FAILOVER],
                ok=True,
                text=f"{ctx.name} is primary; lost: {lost}",
            )
        )

    return [
        *[Step(f"fence {name}", partial(fence_left_out, ctx, name)) for name in left_out],
        Step("begin a new term", lambda: begin_term(ctx)),
        Step(f"let {ctx.name} lead without asking the others", lead),
        Step(f"record {ctx.name} as primary", record),
    ]


def demote(ctx: PlaybookContext) -> Sequence[Step]:
    """Stop an old primary that takes writes: by its own word, else by force."""

    def stop_writes() -> None:
        ctx.replication.demote(ctx.service, ctx.target())

    def check() -> str | None:
        if ctx.driver.probe(ctx.service, ctx.target()).role is Role.STANDBY:
            return None
        ctx.runtime.kill(ctx.ref())
        return "it went on taking writes and was killed"

    return [
        Step(f"note that {ctx.name} took writes", lambda: _note_led(ctx)),
        Step(f"make {ctx.name} refuse writes", stop_writes),
        Step("check that it does", check),
    ]


def send_clients(ctx: PlaybookContext) -> Step:
    """Before it is on record: every millisecond counts, and who is being promoted is written down
    already. Connections to others are cut in the next pass: clients that came meanwhile and wait
    are not yet told apart from those that have a former primary."""
    return Step(f"send clients to {ctx.name}", lambda: ctx.send_clients_to(ctx.name, cut=False))


def settle(ctx: PlaybookContext) -> list[Step]:
    """Last, when clients can write again: nothing depends on it."""

    settling = ctx.driver.settling
    if settling is None:
        return []

    def do() -> str | None:
        try:
            settling.settle(ctx.service, ctx.target())
        except ServerError as error:
            return f"left for later: {error}"
        return None

    return [Step(f"clear away what {ctx.name} needed as a standby", do)]


def _end_hung(ctx: PlaybookContext, old: str | None) -> list[Step]:
    """Members that elect need no fence. Yet clients go on waiting for the answer of a process that
    hangs, for as long as their own time-outs are: they are set free by its end, and it is taken
    back (the rule `hung` does it where this fails). Not one that the others need for a majority."""
    seen = ctx.snapshot.of(old)
    if old is None or old == ctx.name or seen is None or ctx.driver.election is None:
        return []
    hangs = seen.process is Process.RUNNING and seen.contact is Contact.SILENT
    if not hangs or seen.silent_seconds < ctx.spec.down_after_seconds:
        return []
    answering = [o for o in ctx.snapshot.observations.values() if o.status is not None]
    if len(answering) <= len(ctx.snapshot.observations) // 2:
        return []

    def end() -> str | None:
        try:
            ctx.runtime.kill(ctx.ref(old))
        except RuntimeFailedError as error:
            return f"left as it is: {error}"
        return None

    return [Step(f"end {old}, which does not answer", end)]


def leave_primary(ctx: PlaybookContext) -> Sequence[Step]:
    """Nobody can end the primary: it refuses writes some time after this. Whoever comes next sees
    how far it has come, and needs no record of it."""
    old = ctx.records.read().primary

    def leave() -> None:
        needed(ctx.driver.leaving).leave(ctx.service, ctx.target(), ctx.target(old))

    return [Step(f"let {ctx.name} leave {old}", leave)]


def begin_term(ctx: PlaybookContext) -> str:
    """Advance the term and write down for whom, unless this promotion has begun already."""
    told = [seen.status.term or 0 for seen in ctx.snapshot.observations.values() if seen.status]
    begun = ctx.records.change(lambda r: r.begin_promotion(ctx.name, max(told, default=0)))
    return f"term {begun.term}"


def _half_promoted(ctx: PlaybookContext) -> list[Step]:
    """Another one's promotion got so far that it may take writes: it is fenced too, and before the
    new term, which forgets it."""
    record = ctx.records.read()
    other = record.promoting
    if (
        ctx.driver.election is not None
        or not record.promoting_may_write
        or other in (None, ctx.name, record.primary)
        or record.instance(other) is None
    ):
        return []
    assert other is not None
    return [Step(f"fence {other}", lambda: fence(ctx, other, lossless=False))]


def publish(ctx: PlaybookContext) -> None:
    """From here on nobody but this instance is known to hold every acknowledged write."""
    acknowledges = ctx.driver.capabilities.acknowledges
    ctx.records.change(lambda r: r.publish_promotion(ctx.name, acknowledges=acknowledges))


def fence(ctx: PlaybookContext, old: str, *, lossless: bool, forced: bool = False) -> str:
    """Make sure that the old primary can take no more writes, by the runtime's word.

    One that cannot be reached by the runtime either is passed over only if none of its writes can
    be acknowledged: it waits for every member of the sync set, and the one that is promoted
    ceases to acknowledge before it leads; or, where replication is asynchronous, no standby has
    been heard of by it for so long that it refuses them by itself; or if its host does not answer
    and an operator has decided to do without it.
    """
    seen = ctx.snapshot.of(old)
    if seen is not None and seen.gone:
        return "its process has ended already"
    if seen is not None and seen.status is not None and seen.status.role is Role.STANDBY:
        return "it refuses writes already"
    try:
        ctx.runtime.kill(ctx.ref(old))
    except RuntimeFailedError as error:
        if not lossless:
            return _passed_over(ctx, old, error, forced=forced)
        return f"passed over: none of its writes is acknowledged without {ctx.name} ({error})"
    return "killed"


def _passed_over(ctx: PlaybookContext, old: str, error: RuntimeFailedError, *, forced: bool) -> str:
    s = Situation(ctx.spec, ctx.records.read(), ctx.snapshot, ctx.driver.capabilities)
    if not s.host_is_silent(s.record.instance(old)):
        raise error
    if forced:
        return f"passed over, as an operator decided it ({error})"
    if old != s.record.primary or not_proven_to_refuse(s):
        raise error
    return f"passed over: it has heard of no standby for long, and refuses writes ({error})"


def fence_left_out(ctx: PlaybookContext, name: str) -> str:
    """Make sure that a member which the others are to do without takes no part in elections.

    Raises:
        StepFailedError: nobody knows whether it runs; the operator's order is refused.
    """
    seen = ctx.snapshot.of(name)
    if seen is not None and seen.gone:
        return "its process has ended already"
    try:
        ctx.runtime.kill(ctx.ref(name))
    except RuntimeFailedError as error:
        text = (
            f"{name} neither answers nor can be killed ({error}), so it may be cut off and help to"
            f" elect another primary: end it, or have the runtime answer, and repeat"
            f" `hamanager failover {ctx.spec.name} --to {ctx.name} --force`; no primary was made"
        )
        ctx.records.change(
            lambda record: settled(ctx, record, [OrderKind.FAILOVER], ok=False, text=text)
        )
        raise StepFailedError(text) from error
    return "killed"


def apply_received(ctx: PlaybookContext) -> str:
    """Apply everything that the candidate has received, unless it was promoted already."""
    seen = ctx.snapshot.of(ctx.name)
    if seen is not None and seen.status is not None and seen.status.role is Role.PRIMARY:
        return "it takes writes already"
    return ctx.replication.apply_received(ctx.service, ctx.target())


def _note_led(ctx: PlaybookContext) -> None:
    seen = ctx.snapshot.of(ctx.name)
    # What waits for standbys that have left it cannot have been acknowledged.
    waits = seen is not None and seen.status is not None and bool(seen.status.required_acks)
    ctx.change_instance(lambda i: i.took_writes(acknowledged_by_nobody=waits))
