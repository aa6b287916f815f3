"""A planned change of primary: without loss, and undone when it fails half-way."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.contracts.replication import HandOver
from hamanager.decide.routing import leader
from hamanager.errors import HamanagerError, ServerError
from hamanager.model.order import PATIENCE_SECONDS, OrderKind, pending
from hamanager.model.primary_change import SwitchoverResult
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Role
from hamanager_playbooks.failover import send_clients, settle
from hamanager_playbooks.orders import settled


def switch_over(ctx: PlaybookContext) -> Sequence[Step]:
    """Stop the writes, let the standby apply all of them, publish the new term, let it lead."""
    before = ctx.records.read()
    old = before.primary
    assert old is not None
    order = pending(ctx.spec.order, before.order_result, OrderKind.SWITCHOVER)
    seen = ctx.snapshot.of(old)
    hurried = seen is not None and seen.asked_to_end_seconds is not None
    patience = 0.0 if hurried else PATIENCE_SECONDS
    began = ctx.clock.monotonic()
    acknowledges = ctx.driver.capabilities.acknowledges
    notes: list[str] = []

    def plan() -> None:
        ctx.records.change(lambda r: r.begin_switchover(ctx.name))

    def publish() -> None:
        """Between the last write of the old primary and the first of the new one."""
        ctx.records.change(lambda r: r.publish_switchover(ctx.name, acknowledges=acknowledges))

    def stop_clients() -> None:
        confirm(ctx)
        problem = ctx.send_clients_to(None, cut=False)
        if problem is not None:
            notes.append(f"clients may not have waited: {problem}")

    def hand_over() -> str:
        terms = HandOver(
            before_stop=stop_clients,
            before_promotion=publish,
            before_undo=lambda: confirm(ctx),
            required_acks=ctx.required_acks(members=0),
            term=ctx.records.read().term + 1,
            patience_seconds=order.patience_seconds if order else patience,
            kill=order.kill if order else True,
            hurried=hurried,
        )
        try:
            note = ctx.replication.hand_over(ctx.service, ctx.target(), ctx.target(old), terms)
        except HamanagerError as error:
            _give_up(ctx, before, str(error))
            ctx.send_clients_to(leader(ctx.records.read()), cut=False)
            raise
        notes.append(note)
        return note

    def record() -> str:
        seconds = round(ctx.clock.monotonic() - began, 3)
        switchover = SwitchoverResult(
            at=ctx.clock.now(),
            from_instance=old,
            to_instance=ctx.name,
            seconds=seconds,
            note="; ".join(notes),
        )
        text = f"{ctx.name} is primary instead of {old}: {'; '.join(notes)}"
        ctx.records.change(
            lambda r: settled(
                ctx,
                r.finish_switchover(switchover, acknowledges=acknowledges),
                [OrderKind.SWITCHOVER],
                ok=True,
                text=text,
            )
        )
        return f"{seconds:.3f} s"

    return [
        Step(f"record the planned change from {old} to {ctx.name}", plan),
        Step(f"hand over from {old} to {ctx.name}", hand_over),
        send_clients(ctx),
        Step(f"record {ctx.name} as primary", record),
        *settle(ctx),
    ]


def confirm(ctx: PlaybookContext) -> None:
    """A hand-over takes a while: whoever was suspended in it may have been overtaken.

    Raises:
        StaleVersionError: it was.
    """
    ctx.records.change(lambda r: r.begin_run())


def abandon(ctx: PlaybookContext) -> Sequence[Step]:
    """A planned change that cannot be finished: who leads is decided as if it had never begun."""

    def record() -> None:
        ctx.records.change(lambda r: _refused(ctx, r.abandon_switchover(), ctx.decision.reason))

    return [Step("record that it was abandoned", record)]


def _give_up(ctx: PlaybookContext, before: ServiceRecord, reason: str) -> None:
    """Once the new term was published the standby may lead, whatever its answer was: then the
    plan is only dropped when it says itself that it does not."""
    if ctx.records.read().promoting is not None:
        try:
            if ctx.driver.probe(ctx.service, ctx.target()).role is Role.PRIMARY:
                return
        except ServerError:
            return
    ctx.records.change(lambda r: _refused(ctx, r.undo_switchover(before.sync_set), reason))


def _refused(ctx: PlaybookContext, record: ServiceRecord, reason: str) -> ServiceRecord:
    return settled(ctx, record, [OrderKind.SWITCHOVER], ok=False, text=reason)
