"""What is done to services without data."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import HamanagerError
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord


def mark_ready(ctx: PlaybookContext) -> Sequence[Step]:
    """From now on it gets requests."""

    def record() -> None:
        ready = {"joined": True, "starts": 0, "draining_since": None, "former_image": None}

        def change(record: ServiceRecord) -> ServiceRecord:
            instance = ctx.instance().model_copy(update=ready)
            return record.with_instance(instance).model_copy(update={"initialized": True})

        ctx.records.change(change)

    return [Step(f"record that {ctx.name} is ready", record), _share_out(ctx)]


def drain(ctx: PlaybookContext) -> Sequence[Step]:
    """No new requests; those that it has may end."""

    def record() -> None:
        _note(ctx, draining_since=ctx.clock.now())

    return [Step(f"record that {ctx.name} gets no more requests", record), _share_out(ctx)]


def take_out(ctx: PlaybookContext) -> Sequence[Step]:
    """Off the record, so that nobody is sent there; then its container."""

    def forget() -> None:
        ctx.records.change(lambda record: record.without_instance(ctx.name))

    ref = ctx.ref()
    return [
        Step(f"ask {ctx.name} to stop", lambda: ctx.runtime.request_stop(ref)),
        Step(f"take {ctx.name} off the record", forget),
        _share_out(ctx),
        Step(
            f"remove the container of {ctx.name}",
            lambda: ctx.runtime.remove(ref, discard_data=True),
        ),
    ]


def restart(ctx: PlaybookContext) -> Sequence[Step]:
    """End it; the rule `start` brings it back, and `ready` gives it requests again."""

    def plan() -> None:
        done = ctx.spec.restarts.get(ctx.name, 0)
        _note(ctx, restarts_done=done, draining_since=None, joined=False)

    return [
        Step(f"record the restart of {ctx.name}", plan),
        Step(f"ask {ctx.name} to stop", lambda: ctx.runtime.request_stop(ctx.ref())),
    ]


def upgrade(ctx: PlaybookContext) -> Sequence[Step]:
    """The same, and it comes back from the image that is wanted."""

    def plan() -> None:
        since = ctx.clock.now()  # when it is asked to stop again
        _note(ctx, upgrading=True, draining_since=since, joined=False, starts=0)

    asked_before = ctx.instance().upgrading

    def stop() -> str | None:
        if not asked_before:
            ctx.runtime.request_stop(ctx.ref())
            return None
        ctx.runtime.kill(ctx.ref())
        return "killed, as it did not stop when it was asked"

    return [
        Step(f"record the upgrade of {ctx.name}", plan),
        Step(f"ask {ctx.name} to stop", stop),
    ]


def end_instance(ctx: PlaybookContext) -> Sequence[Step]:
    """Kill one that hangs."""
    return [Step(f"kill {ctx.name}", lambda: ctx.runtime.kill(ctx.ref()))]


def set_memory(ctx: PlaybookContext) -> Sequence[Step]:
    """The container's limit."""
    wanted = ctx.spec.memory_bytes

    def limit() -> None:
        try:
            ctx.runtime.set_memory(ctx.ref(), wanted)
        except HamanagerError as error:
            _note(ctx, memory_problem=str(error), memory_tried_at=ctx.clock.now())
            raise
        _note(ctx, memory_bytes=wanted, memory_problem="", memory_tried_at=None)

    return [Step(f"set the memory limit of {ctx.name}", limit)]


def _share_out(ctx: PlaybookContext) -> Step:
    return Step("share requests out anew", lambda: ctx.send_clients_to(None))


def _note(ctx: PlaybookContext, **fields: object) -> None:
    def noted(instance: InstanceRecord) -> InstanceRecord:
        return instance.model_copy(update=fields)

    ctx.change_instance(noted)
