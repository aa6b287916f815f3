"""Fewer instances. (More: `create.add_instance`.)"""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.snapshot import Relation


def remove_instance(ctx: PlaybookContext) -> Sequence[Step]:
    """Let a standby go: the others forget it first, then its container ends."""
    primary = ctx.records.read().primary
    seen = ctx.snapshot.of(ctx.name)
    instance = ctx.instance()
    proven = seen is not None and seen.relation is Relation.ATTACHED
    errant_writes = seen.errant_writes if seen else ""
    discard = proven or not (instance.joined or errant_writes)
    volume = ctx.runtime.volume_name(ctx.ref())

    def detach() -> None:
        leads = ctx.target(primary) if primary else None
        ctx.replication.detach(ctx.service, ctx.target(), leads)

    def remove() -> str | None:
        ref = ctx.ref()
        ctx.driver.forget(ctx.target())
        ctx.runtime.kill(ref)
        ctx.runtime.remove(ref, discard_data=discard)
        return None if discard else f"its data is kept as volume {volume}"

    def forget() -> None:
        retained = RetainedVolume(
            instance=ctx.name,
            volume=volume,
            generation=instance.generation,
            placed_on=instance.placed_on,
            at=ctx.clock.now(),
            reason="it was removed before its data was proven to be elsewhere",
            writes=errant_writes,
        )

        def change(record: ServiceRecord) -> ServiceRecord:
            left = record.without_instance(ctx.name)
            return left if discard else left.retain(retained)

        ctx.records.change(change)

    return [
        Step(f"detach {ctx.name}", detach),
        Step(f"remove the container of {ctx.name}", remove),
        Step(f"take {ctx.name} off the record", forget),
    ]
