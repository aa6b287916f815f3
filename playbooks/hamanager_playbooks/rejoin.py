"""Make an instance a full standby: its first copy, its link, or everything anew."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.contracts.playbook import PlaybookContext, Step
from hamanager.values.service import InstanceRecord, KeptData, ServiceRecord


def seed(ctx: PlaybookContext) -> Sequence[Step]:
    """Begin its first full copy; the loop watches the progress."""

    def begin() -> None:
        primary = ctx.records.read().primary
        ctx.driver.seed(ctx.service, ctx.target(), ctx.target(primary))

    return [Step(f"begin to copy the data to {ctx.name}", begin)]


def attach(ctx: PlaybookContext) -> Sequence[Step]:
    """Let it follow the primary, or take the next step towards that."""
    primary = ctx.records.read().primary

    def link() -> None:
        ctx.driver.attach(ctx.service, ctx.target(), ctx.target(primary), ctx.members())

    return [Step(f"make {ctx.name} a standby of {primary}", link)]


def mark_synchronized(ctx: PlaybookContext) -> Sequence[Step]:
    """Put on record that it holds a full copy: from now on it may be promoted."""

    def mark(instance: InstanceRecord) -> InstanceRecord:
        return instance.model_copy(
            update={"joined": True, "synchronized": True, "has_led": False, "starts": 0}
        )

    return [Step(f"record {ctx.name} as a synchronized standby", lambda: ctx.change_instance(mark))]


def rebuild(ctx: PlaybookContext) -> Sequence[Step]:
    """Start over with an empty volume; data that is not proven to be elsewhere is kept."""
    instance = ctx.instance()
    old_place = ctx.place()
    # A copy that was never completed holds nothing of its own.
    keep = instance.joined or instance.has_led
    volume = ctx.runtime.volume_name(old_place)

    def take_down() -> str:
        ctx.driver.forget(ctx.target())
        ctx.runtime.kill(old_place)
        ctx.runtime.remove(old_place, discard_data=not keep)
        return f"its data is kept as volume {volume}" if keep else "it held no data of its own"

    def renew() -> None:
        def change(record: ServiceRecord) -> ServiceRecord:
            renewed = ctx.instance().model_copy(
                update={
                    "generation": record.next_generation,
                    "joined": False,
                    "synchronized": False,
                    "has_led": False,
                    "starts": 0,
                }
            )
            kept = KeptData(
                instance=ctx.name,
                volume=volume,
                at=ctx.clock.now(),
                reason=ctx.decision.reason,
            )
            changed = record.with_instance(renewed).model_copy(
                update={"next_generation": record.next_generation + 1}
            )
            return changed.keeping(kept) if keep else changed

        ctx.records.change(change)

    return [
        Step(f"take {ctx.name} down", take_down),
        Step(f"record {ctx.name} as empty", renew),
    ]
