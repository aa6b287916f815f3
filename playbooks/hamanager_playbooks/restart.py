"""A restart that an operator asked for, or that an upgrade needs: nobody takes the primary's place
meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import ServerError
from hamanager_playbooks.images import unproven


def upgrade(ctx: PlaybookContext) -> Sequence[Step]:
    """A restart at whose start the container is made anew, from the image that is wanted and on the
    same volume. The record says so first: whoever brings it back does that."""
    return restart(ctx, upgrading=True)


def restart(ctx: PlaybookContext, *, upgrading: bool = False) -> Sequence[Step]:
    """Ask the process to end; the rules `planned-restart` and `start` bring it back."""

    def plan() -> None:
        now, asked = ctx.clock.now(), ctx.spec.restarts.get(ctx.name, 0)
        ctx.change_instance(
            lambda i: i.upgrade_began(now, asked) if upgrading else i.restart_began(now, asked)
        )

    ends_by_itself = [False]

    def prepare() -> str | None:
        if ctx.driver.shutdown is None:
            return None
        try:
            ctx.driver.shutdown.shut_down(ctx.service, ctx.target())
            ends_by_itself[0] = True
        except ServerError as error:
            return f"it is stopped all the same: {error}"
        return None

    def stop() -> str | None:
        if ends_by_itself[0]:
            return "it shuts itself down"
        seen = ctx.snapshot.of(ctx.name)
        if ctx.instance().former_image is not None and seen is not None and not seen.alive:
            ctx.runtime.kill(ctx.ref())
            return "killed, as it never answered from the image that it was given"
        ctx.runtime.request_stop(ctx.ref())
        return None

    return [
        Step(f"record the planned {'upgrade' if upgrading else 'restart'} of {ctx.name}", plan),
        Step(f"let go of the clients of {ctx.name}", prepare),
        Step(f"ask {ctx.name} to stop", stop),
    ]


def end_instance(ctx: PlaybookContext) -> Sequence[Step]:
    """Kill one that hangs; a rule starts it again."""
    return [Step(f"kill {ctx.name}", lambda: ctx.runtime.kill(ctx.ref()))]


def finish_restart(ctx: PlaybookContext) -> Sequence[Step]:
    """The restarted instance is back in its place."""

    def finish() -> None:
        ctx.change_instance(lambda i: i.restart_finished())

    return [*unproven(ctx), Step(f"record that {ctx.name} is back", finish)]
