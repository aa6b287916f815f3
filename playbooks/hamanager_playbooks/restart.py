"""A restart that a person asked for: nobody takes the primary's place meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.contracts.playbook import PlaybookContext, Step


def restart(ctx: PlaybookContext) -> Sequence[Step]:
    """Ask the process to end; the rules `planned-restart` and `start` bring it back."""

    def plan() -> None:
        update = {
            "restarting_since": ctx.clock.now(),
            "restarts_done": ctx.wish.restarts.get(ctx.name, 0),
        }
        ctx.change_instance(lambda i: i.model_copy(update=update))

    def stop() -> None:
        ctx.runtime.request_stop(ctx.place())

    return [
        Step(f"record the planned restart of {ctx.name}", plan),
        Step(f"ask {ctx.name} to stop", stop),
    ]


def finish_restart(ctx: PlaybookContext) -> Sequence[Step]:
    """The restarted instance is back in its place."""

    def finish() -> None:
        update = {"restarting_since": None, "starts": 0}
        ctx.change_instance(lambda i: i.model_copy(update=update))

    return [Step(f"record that {ctx.name} is back", finish)]
