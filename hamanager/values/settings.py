"""What a person can choose for a service, and change later."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hamanager.values.durability import Durability


class Settings(BaseModel):
    """Choices; None leaves one as it is (or at its default)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    durability: Durability | None = None
    down_after_seconds: float | None = None
    """How long a primary must be silent, unproven dead, before it is given up."""
    failover_period_seconds: float | None = None
    """How long after a fail-over another one needs proof of death."""
    allow_drills: bool | None = None
    """Whether failures may be injected on purpose."""
