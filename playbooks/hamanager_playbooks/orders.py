"""An operator's orders that change nothing in the servers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.model.order import OrderKind, OrderResult
from hamanager.model.record import RetainedVolume, ServiceRecord


def settled(
    ctx: PlaybookContext,
    record: ServiceRecord,
    kinds: Collection[OrderKind],
    *,
    ok: bool,
    text: str,
) -> ServiceRecord:
    """The record with the result of the pending order, if there is one of these kinds."""
    order, last = ctx.spec.order, record.order_result
    if order is None or order.kind not in kinds:
        return record
    if last is not None and last.number >= order.number:
        return record
    result = OrderResult(number=order.number, ok=ok, text=text, at=ctx.clock.now())
    return record.settle_order(result)


def refuse(ctx: PlaybookContext) -> Sequence[Step]:
    """Say why it is not carried out."""

    def record() -> None:
        ctx.records.change(
            lambda r: settled(ctx, r, list(OrderKind), ok=False, text=ctx.decision.reason)
        )

    return [Step("record the refusal", record)]


def settle(ctx: PlaybookContext) -> Sequence[Step]:
    """Say that it has been carried out."""

    def record() -> None:
        ctx.records.change(
            lambda r: settled(ctx, r, list(OrderKind), ok=True, text=ctx.decision.reason)
        )

    return [Step("record that it is done", record)]


def discard(ctx: PlaybookContext) -> Sequence[Step]:
    """Delete retained volumes: an operator said that they are not needed."""
    order = ctx.spec.order
    wanted: list[RetainedVolume] = [
        retained
        for retained in ctx.records.read().retained
        if order is not None and retained.volume in (order.to, *order.volumes)
    ]

    def delete() -> str:
        for retained in wanted:
            if not retained.placed_on or retained.placed_on in ctx.snapshot.hosts:
                ctx.runtime.discard_volume(ctx.kept(retained))
        return ", ".join(retained.volume for retained in wanted) or "none"

    def record() -> None:
        names = " and ".join(retained.volume for retained in wanted)
        text = f"deleted {names}" if wanted else "no such data are kept; nothing was changed"
        ctx.records.change(
            lambda r: settled(
                ctx, r.let_go(wanted), [OrderKind.DISCARD], ok=bool(wanted), text=text
            )
        )

    return [Step("delete the data set aside", delete), Step("record that", record)]
