"""An application's view of a Redis server: numbered rows as members of a set."""

from __future__ import annotations

import os

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.redis.config import APPLICATION
from hamanager_drivers.redis.connections import connect, told_apart

ROWS = "hamanager:workload"
BLOCK_BYTES = 256 * 1024
CONFIRMED_IN = 0.8
"""The share of a client's patience that a standby's word may take."""


class RedisWriter:
    """Writes with the application's password."""

    def __init__(
        self,
        service: ServiceContext,
        target: Target,
        timeout_seconds: float,
        confirmed_by: int = 0,
    ) -> None:
        """`confirmed_by`: how many standbys have to confirm a write before it counts."""
        self._target = target
        self._confirmed_by = confirmed_by
        self._confirmed_in_ms = int(CONFIRMED_IN * timeout_seconds * 1000)
        password = service.secrets["password"]
        self._client = connect(service, target, APPLICATION, password, timeout_seconds)

    def prepare(self) -> None:
        """A set needs no preparation."""

    def write(self, number: int) -> None:
        """Add the number to the set."""
        with told_apart(self._target):
            self._client.sadd(ROWS, str(number))
            if not self._confirmed_by:
                return
            confirmed = int(self._client.wait(self._confirmed_by, self._confirmed_in_ms))
        if confirmed < self._confirmed_by:
            raise ServerError(
                f"{self._target.name} took a write that {confirmed} of {self._confirmed_by}"
                " standbys confirmed: it may be lost"
            )

    def numbers(self) -> set[int]:
        """All members of the set."""
        with told_apart(self._target):
            return {int(str(member)) for member in self._client.smembers(ROWS)}

    def fill(self, total_bytes: int) -> None:
        """Random blocks under keys of their own."""
        for begin in range(0, total_bytes, BLOCK_BYTES):
            size = min(BLOCK_BYTES, total_bytes - begin)
            with told_apart(self._target):
                self._client.set(f"{ROWS}:ballast:{os.urandom(8).hex()}", os.urandom(size))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class RedisWorkload:
    """Clients with the application's account."""

    def __init__(self, confirmed_by: int = 0) -> None:
        """With a number they ask `WAIT` after each write, and count it only when so many standbys
        have it."""
        self._confirmed_by = confirmed_by

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> RedisWriter:
        """A client of this one server."""
        return RedisWriter(service, target, timeout_seconds, self._confirmed_by)
