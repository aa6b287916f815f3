"""Which addresses a service has for its clients, as kept in its record."""

from __future__ import annotations

from hamanager.model.frozen import Frozen


class EndpointRecord(Frozen):
    """Reserved once and never changed while the service lives."""

    host: str
    port: int
    """Leads to the primary."""
    reads_port: int | None = None
    """Leads to the standbys; None until it was first asked for."""

    @property
    def ports(self) -> tuple[int, ...]:
        """All of them."""
        return (self.port,) if self.reads_port is None else (self.port, self.reads_port)

    def reading_at(self, port: int) -> EndpointRecord:
        """With an address for reading, too."""
        return self._with(reads_port=port)
