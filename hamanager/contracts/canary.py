"""A write of the manager's own, through a service's address, to see that writes go through."""

from __future__ import annotations

from typing import Protocol

from hamanager.model.service import ServiceContext, Target


class Canary(Protocol):
    """One number in a place of its own, beside the application's data."""

    def beat(
        self, service: ServiceContext, target: Target, number: int, timeout_seconds: float
    ) -> int | None:
        """Write the number by a connection of its own to `target` (the service's address, or the
        primary where clients know all instances); returns when the engine has acknowledged it as it
        does for applications, with the number that was there before: None for none. A server that
        waits for a standby may go on waiting when this has timed out.

        Raises:
            ServerError: it was not acknowledged in time.
        """
        ...
