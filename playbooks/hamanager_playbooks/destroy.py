"""The end of a service."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step


def destroy(ctx: PlaybookContext) -> Sequence[Step]:
    """Remove every container and volume of it, then what is kept about it."""

    def remove() -> None:
        for target in ctx.members():
            ctx.driver.forget(target)
        ctx.runtime.destroy_service(ctx.spec.name)

    return [
        Step("close its address", lambda: ctx.send_clients_to(None)),
        Step("remove its containers and volumes", remove),
        Step("forget it", ctx.records.forget_service),
    ]
