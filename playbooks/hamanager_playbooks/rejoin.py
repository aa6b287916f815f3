"""Make an instance a full standby: its first copy, its link, or everything anew."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import ServerError
from hamanager.model.record import RETAINED_LIMIT, RetainedVolume, ServiceRecord
from hamanager.model.snapshot import Relation
from hamanager_playbooks.images import unproven
from hamanager_playbooks.syncing import take_out


def seed(ctx: PlaybookContext) -> Sequence[Step]:
    """Begin its first full copy; the loop watches the progress."""

    def begin() -> None:
        primary = ctx.records.read().primary
        ctx.replication.seed(ctx.service, ctx.target(), ctx.target(primary))

    return [Step(f"begin to copy the data to {ctx.name}", begin)]


def attach(ctx: PlaybookContext) -> Sequence[Step]:
    """Let it follow the primary, or take the next step towards that."""
    primary = ctx.records.read().primary

    def link() -> None:
        ctx.replication.attach(ctx.service, ctx.target(), ctx.target(primary), ctx.members())

    return [*unproven(ctx), Step(f"make {ctx.name} a standby of {primary}", link)]


def mark_synchronized(ctx: PlaybookContext) -> Sequence[Step]:
    """Put on record that it holds a full copy: from now on it may be promoted."""

    def record() -> None:
        ctx.records.change(lambda r: r.mark_synchronized(ctx.name))

    return [
        *unproven(ctx),
        Step(f"record {ctx.name} as a synchronized standby", record),
        *_straighten(ctx),
        *_checkpoint(ctx),
    ]


def _straighten(ctx: PlaybookContext) -> list[Step]:
    """Last, and nothing depends on it."""
    chaining = ctx.driver.chaining
    primary = ctx.records.read().primary
    if chaining is None or primary is None:
        return []

    def do() -> str | None:
        try:
            return chaining.straighten(ctx.service, ctx.target(), ctx.target(primary)) or None
        except ServerError as error:
            return f"it does not yet: {error}"

    return [Step(f"let {ctx.name} replicate from {primary} itself", do)]


def _checkpoint(ctx: PlaybookContext) -> list[Step]:
    """Its next crash would begin where this one did."""
    checkpointing = ctx.driver.checkpointing
    if checkpointing is None:
        return []

    def do() -> str | None:
        try:
            checkpointing.checkpoint(ctx.service, ctx.target())
        except ServerError as error:
            return f"it goes on without: {error}"
        return None

    return [Step(f"let {ctx.name} make a checkpoint", do)]


def rebuild(ctx: PlaybookContext) -> Sequence[Step]:
    """Start over with an empty volume; one whose data is not proven to be elsewhere is retained."""
    instance = ctx.instance()
    old_place = ctx.ref()
    volume = ctx.runtime.volume_name(old_place)
    seen = ctx.snapshot.of(ctx.name)
    errant_writes = seen.errant_writes if seen else ""
    # A copy that was never completed holds nothing of its own, unless somebody wrote to it; nor
    # does one whose data are gone.
    empty = seen is not None and seen.relation is Relation.EMPTY
    keep = bool(errant_writes) or (not empty and (instance.joined or instance.was_primary))
    in_the_way = _in_the_way(ctx) if keep else None

    def take_down() -> str:
        ctx.driver.forget(ctx.target())
        ctx.runtime.kill(old_place)
        ctx.runtime.remove(old_place, discard_data=not keep)
        return f"its data is kept as volume {volume}" if keep else "it held no data of its own"

    def renew() -> None:
        def change(record: ServiceRecord) -> ServiceRecord:
            retained = RetainedVolume(
                instance=ctx.name,
                volume=volume,
                generation=old_place.generation,
                placed_on=old_place.placed_on,
                at=ctx.clock.now(),
                reason=ctx.decision.reason,
                writes=errant_writes,
                unacknowledged=bool(errant_writes) and instance.unacknowledged_only,
            )
            changed = record.rebuild(ctx.name)
            return changed.retain(retained) if keep else changed

        ctx.records.change(change)

    def make_room() -> str:
        assert in_the_way is not None
        ref = ctx.kept(in_the_way)
        ctx.runtime.discard_volume(ref)
        ctx.records.change(lambda r: r.let_go([in_the_way]))
        if in_the_way.unacknowledged:
            return f"{in_the_way.volume} held {in_the_way.writes}, which nobody was promised"
        return f"{in_the_way.volume} was the oldest of {RETAINED_LIMIT}: {in_the_way.reason}"

    steps = [
        # It holds no copy from here on: nobody may count on it.
        Step(f"take {ctx.name} out of the sync set", lambda: take_out(ctx, ctx.name)),
        Step(f"take {ctx.name} down", take_down),
        Step(f"record {ctx.name} as empty", renew),
    ]
    if in_the_way is not None:
        steps.append(Step("make room for the data set aside", make_room))
    return steps


def _in_the_way(ctx: PlaybookContext) -> RetainedVolume | None:
    """When there are many: the oldest retained volume that holds nothing anybody was promised;
    where a standby is never known to hold everything, just the oldest."""
    retained = sorted(ctx.records.read().retained, key=lambda v: v.at)
    if len(retained) < RETAINED_LIMIT:
        return None
    anything_goes = not ctx.driver.capabilities.acknowledges
    return next((v for v in retained if v.unacknowledged or anything_goes), None)
