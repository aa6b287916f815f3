"""A new primary.

The order is the safety: the term first (whoever loses the compare-and-swap does nothing), then
the fence, then everything received is applied, and only then does the new primary take writes.
Other standbys are pointed at it afterwards, by the rule `rejoin`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.contracts.playbook import PlaybookContext, Step
from hamanager.values.service import Failover, InstanceRecord, ServiceRecord
from hamanager.values.snapshot import Role


def fail_over(ctx: PlaybookContext) -> Sequence[Step]:
    """Give the primary's role to the decision's instance because the primary failed."""
    old = ctx.records.read().primary
    seen = ctx.snapshot.of(old)
    silent_before = seen.silent_seconds if seen else 0.0
    began = ctx.clock.monotonic()
    losses: list[str] = []

    def promote() -> str:
        others = [t for t in ctx.members() if t.name not in (ctx.name, old)]
        note = ctx.driver.promote(ctx.service, ctx.target(), others)
        losses.append(note)
        return f"lost writes: {note}" if note else ""

    def record() -> str:
        seconds = silent_before + ctx.clock.monotonic() - began
        failover = Failover(
            at=ctx.clock.now(),
            from_instance=old,
            to_instance=ctx.name,
            seconds=round(seconds, 3),
            lost=losses[0] or "unknown: what the standby had not received",
        )
        ctx.records.change(lambda r: with_primary(r, ctx.name, failover))
        return f"{seconds:.3f} s after the first sign of failure"

    steps = [Step("begin a new term", lambda: begin_term(ctx))]
    if old is not None and old != ctx.name and not ctx.driver.capabilities.elects_itself:
        steps.append(Step(f"fence {old}", lambda: fence(ctx, old)))
    return [
        *steps,
        Step(f"apply what {ctx.name} has received", lambda: drain(ctx)),
        Step(f"promote {ctx.name}", promote),
        Step(f"record {ctx.name} as primary", record),
    ]


def resume(ctx: PlaybookContext) -> Sequence[Step]:
    """The primary on record was restarted and takes writes again."""

    def promote() -> None:
        others = [t for t in ctx.members() if t.name != ctx.name]
        ctx.driver.promote(ctx.service, ctx.target(), others)

    def record() -> None:
        ctx.records.change(lambda r: with_primary(r, ctx.name, None))

    return [
        Step("begin a new term", lambda: begin_term(ctx)),
        Step(f"let {ctx.name} take writes", promote),
        Step(f"record {ctx.name} as primary", record),
    ]


def adopt(ctx: PlaybookContext) -> Sequence[Step]:
    """Write down the primary that the servers elected by themselves."""
    old = ctx.records.read().primary
    seen = ctx.snapshot.of(old)

    def record() -> str | None:
        previous = ctx.records.read().instance(old)
        planned = previous is not None and previous.restarting_since is not None
        failover = None
        if old not in (None, ctx.name) and not planned:
            failover = Failover(
                at=ctx.clock.now(),
                from_instance=old,
                to_instance=ctx.name,
                seconds=round(seen.silent_seconds if seen else 0.0, 3),
                lost="nothing that a majority acknowledged",
            )
        ctx.records.change(
            lambda r: with_primary(r.model_copy(update={"term": r.term + 1}), ctx.name, failover)
        )
        return None

    return [Step(f"record {ctx.name} as primary", record)]


def demote(ctx: PlaybookContext) -> Sequence[Step]:
    """Stop an old primary that takes writes: by its own word, else by force."""

    def stop_writes() -> None:
        ctx.driver.demote(ctx.service, ctx.target())

    def check() -> str | None:
        if ctx.driver.probe(ctx.service, ctx.target()).role is Role.STANDBY:
            return None
        ctx.runtime.kill(ctx.place())
        return "it went on taking writes and was killed"

    return [
        Step(f"note that {ctx.name} took writes", lambda: _note_led(ctx)),
        Step(f"make {ctx.name} refuse writes", stop_writes),
        Step("check that it does", check),
    ]


def begin_term(ctx: PlaybookContext) -> str:
    """Advance the term and write down for whom, unless this promotion has begun already."""

    def advance(record: ServiceRecord) -> ServiceRecord:
        if record.promoting == ctx.name:
            return record
        return record.model_copy(update={"term": record.term + 1, "promoting": ctx.name})

    return f"term {ctx.records.change(advance).term}"


def fence(ctx: PlaybookContext, old: str) -> str:
    """Make sure that the old primary's process is gone, by the runtime's word."""
    seen = ctx.snapshot.of(old)
    if seen is not None and seen.gone:
        return "its process has ended already"
    ctx.runtime.kill(ctx.place(old))
    return "killed"


def drain(ctx: PlaybookContext) -> str:
    """Apply everything that the candidate has received, unless it was promoted already."""
    seen = ctx.snapshot.of(ctx.name)
    if seen is not None and seen.status is not None and seen.status.role is Role.PRIMARY:
        return "it takes writes already"
    return ctx.driver.drain(ctx.service, ctx.target())


def with_primary(record: ServiceRecord, name: str, failover: Failover | None) -> ServiceRecord:
    """The record with that instance as primary and no promotion under way."""
    leads = {
        "joined": True,
        "synchronized": True,
        "has_led": True,
        "starts": 0,
        "restarting_since": None,
    }
    changed = record
    for instance in record.instances:
        if instance.name == name:
            changed = changed.with_instance(instance.model_copy(update=leads))
        elif instance.name == record.primary:
            # Its last writes may be missing from the new primary: no candidate until it rejoined.
            changed = changed.with_instance(instance.model_copy(update={"synchronized": False}))
    return changed.model_copy(
        update={
            "primary": name,
            "promoting": None,
            "last_failover": failover or record.last_failover,
        }
    )


def _note_led(ctx: PlaybookContext) -> None:
    def led(instance: InstanceRecord) -> InstanceRecord:
        return instance.model_copy(update={"has_led": True, "synchronized": False})

    ctx.change_instance(led)
