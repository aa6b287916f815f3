"""Another memory limit, while the server runs.

Growing: the container first, then the server. Shrinking: the server first; when later passes see
that it has given the memory back, the container. Nothing waits here: a failover must not either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import HamanagerError
from hamanager.formats import size
from hamanager.model.memory_limit import grows_to


def set_memory(ctx: PlaybookContext) -> Sequence[Step]:
    """The container's limit, and the server's own where it grows."""
    wanted, present = ctx.spec.memory_bytes, ctx.instance().memory_bytes

    def limit() -> None:
        ctx.runtime.set_memory(ctx.ref(), wanted)

    def record() -> None:
        ctx.change_instance(lambda i: i.memory_set(wanted))

    steps = [_or_keep(ctx, f"set the memory limit of {ctx.name}", limit)]
    if grows_to(present, wanted):
        steps.append(_or_keep(ctx, f"let {ctx.name} use it", lambda: _resize(ctx, wanted)))
    return [*steps, Step("record the limit", record)]


def shrink(ctx: PlaybookContext) -> Sequence[Step]:
    """Let the server give memory back."""

    def begin() -> None:
        ctx.change_instance(lambda i: i.memory_shrinks(ctx.clock.now()))

    return [
        _or_keep(ctx, f"let {ctx.name} use less", lambda: _resize(ctx, ctx.spec.memory_bytes)),
        Step("record that its memory shrinks", begin),
    ]


def keep(ctx: PlaybookContext) -> Sequence[Step]:
    """It did not give enough back: it keeps the limit that it has, until it is tried again."""

    def undo() -> None:
        _resize(ctx, ctx.instance().memory_bytes)

    def record() -> None:
        _keep(ctx, ctx.decision.reason)

    return [Step(f"let {ctx.name} use as much as before", undo), Step("record why", record)]


def _or_keep(ctx: PlaybookContext, name: str, change: Callable[[], None]) -> Step:
    """A step after whose failure everything is as before, and not tried again at once."""

    def run() -> None:
        try:
            change()
        except HamanagerError as error:
            with suppress(HamanagerError):
                _resize(ctx, ctx.instance().memory_bytes)
            _keep(ctx, str(error))
            raise

    return Step(name, run)


def _resize(ctx: PlaybookContext, memory_bytes: int | None) -> None:
    if ctx.driver.cache is not None:
        ctx.driver.cache.resize(ctx.service, ctx.target(), memory_bytes)


def _keep(ctx: PlaybookContext, problem: str) -> None:
    present = ctx.instance().memory_bytes
    limit = "no limit" if present is None else size(present)
    why = f"{problem}; it keeps {limit}"
    ctx.change_instance(lambda i: i.memory_not_set(why, ctx.clock.now()))
