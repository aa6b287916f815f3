"""What is done to services without data."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import HamanagerError


def mark_ready(ctx: PlaybookContext) -> Sequence[Step]:
    """From now on it gets requests."""

    def record() -> None:
        ctx.records.change(lambda r: r.mark_ready(ctx.name))

    return [Step(f"record that {ctx.name} is ready", record), _share_out(ctx)]


def drain(ctx: PlaybookContext) -> Sequence[Step]:
    """No new requests; those that it has may end."""

    def record() -> None:
        ctx.change_instance(lambda i: i.drains(ctx.clock.now()))

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
        asked = ctx.spec.restarts.get(ctx.name, 0)
        ctx.change_instance(lambda i: i.left_for_restart(asked))

    return [
        Step(f"record the restart of {ctx.name}", plan),
        Step(f"ask {ctx.name} to stop", lambda: ctx.runtime.request_stop(ctx.ref())),
    ]


def upgrade(ctx: PlaybookContext) -> Sequence[Step]:
    """The same, and it comes back from the image that is wanted."""

    def plan() -> None:
        since = ctx.clock.now()  # when it is asked to stop again
        ctx.change_instance(lambda i: i.left_for_upgrade(since))

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


def set_memory(ctx: PlaybookContext) -> Sequence[Step]:
    """The container's limit."""
    wanted = ctx.spec.memory_bytes

    def limit() -> None:
        try:
            ctx.runtime.set_memory(ctx.ref(), wanted)
        except HamanagerError as error:
            why = str(error)
            ctx.change_instance(lambda i: i.memory_not_set(why, ctx.clock.now()))
            raise
        ctx.change_instance(lambda i: i.memory_set(wanted))

    return [Step(f"set the memory limit of {ctx.name}", limit)]


def _share_out(ctx: PlaybookContext) -> Step:
    return Step("share requests out anew", lambda: ctx.send_clients_to(None))
