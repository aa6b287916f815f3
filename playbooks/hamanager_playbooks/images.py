"""Whether an instance runs from the image that is on record."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import StepFailedError


def end_one_of_another_image(ctx: PlaybookContext) -> None:
    """What the record says it was started from it need not be: after a start that failed somebody
    else may have started its former container.

    Raises:
        StepFailedError: it was so; that one was ended, and a rule starts it again.
    """
    made_from = ctx.runtime.started_from(ctx.ref())
    if made_from not in (None, ctx.container().image):
        ctx.runtime.kill(ctx.ref())
        raise StepFailedError(
            f"somebody else started {ctx.name} from its former image; it was ended, and is"
            " started again"
        )


def unproven(ctx: PlaybookContext) -> Sequence[Step]:
    """A step for one that was not yet seen to work from the image on record, before that counts as
    proven."""
    if ctx.instance().former_image is None:
        return []

    def look() -> None:
        end_one_of_another_image(ctx)

    return [Step(f"see what {ctx.name} was started from", look)]
