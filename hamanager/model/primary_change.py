"""A change of primary: while it is under way, and what became of the last ones."""

from __future__ import annotations

from typing import Literal

from hamanager.model.frozen import Frozen


class Promotion(Frozen):
    """One that began for this term because there is no primary, or it is to be primary again."""

    kind: Literal["promotion"] = "promotion"
    to: str
    may_write: bool = False
    """From here on that instance may have taken writes, whoever else is on record."""


class Switchover(Frozen):
    """A planned one."""

    kind: Literal["switchover"] = "switchover"
    to: str
    may_write: bool = False
    """The new term was published: that instance may have taken writes."""


class FailoverResult(Frozen):
    """The last change of primary that nobody asked for."""

    at: float
    from_instance: str | None
    to_instance: str
    seconds: float
    """From the first evidence of death in this manager to the new primary accepting writes."""
    lost: str
    """What may have been lost, in words; an honest 'unknown' where it cannot be known."""
    forced: bool = False
    """An operator decided it, although writes could be lost."""


class SwitchoverResult(Frozen):
    """The last planned change of primary."""

    at: float
    from_instance: str
    to_instance: str
    seconds: float
    """From its first step to the new primary accepting writes."""
    note: str
    """What the engine's driver told about it."""
