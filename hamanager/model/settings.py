"""What an operator can choose for a service, and change later."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hamanager.model.durability import Durability


class Settings(BaseModel):
    """Choices; None leaves one as it is (or at its default)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    durability: Durability | None = None
    down_after_seconds: float | None = None
    """How long a primary must be silent, unproven dead, before it counts as failed."""
    failover_period_seconds: float | None = None
    """How long after a failover another one needs proof of death."""
    replace_after_seconds: float | None = None
    """How long an instance's host must have been silent before it is made anew elsewhere."""
    reads: bool | None = None
    """Whether a second address offers the standbys for reading."""
    reads_max_lag_seconds: float | None = None
    """How far behind they may be; given without `reads` it means that they are wanted."""
    allow_drills: bool | None = None
    """Whether failures may be injected on purpose."""
    canary: bool | None = None
    """Whether the manager writes something small once a second, to see that writes go through."""
