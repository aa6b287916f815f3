"""Which addresses a service has for its clients, as kept in its record."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class EndpointRecord(BaseModel):
    """Reserved once and never changed while the service lives."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    port: int
    """Leads to the primary."""
    reads_port: int | None = None
    """Leads to the standbys; None until it was first asked for."""

    @property
    def ports(self) -> tuple[int, ...]:
        """All of them."""
        return (self.port,) if self.reads_port is None else (self.port, self.reads_port)
