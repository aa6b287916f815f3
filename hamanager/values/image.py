"""An image that can no longer change under a service's feet."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PinnedImage(BaseModel):
    """What a name, which may name another image tomorrow, stood for when the service was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    """The runtime's own word for exactly this content; every instance runs from it."""
    digest: str | None = None
    """Where a registry has it, under a name that cannot move; None for one built locally."""
