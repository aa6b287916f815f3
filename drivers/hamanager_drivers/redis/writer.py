"""An application's view of a Redis server: numbered rows as members of a set."""

from __future__ import annotations

import os

from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.redis.config import APPLICATION
from hamanager_drivers.redis.connections import connect, told_apart

ROWS = "hamanager:workload"
BLOCK_BYTES = 256 * 1024


class RedisWriter:
    """Writes with the application's password."""

    def __init__(self, service: ServiceContext, target: Target, timeout_seconds: float) -> None:
        self._target = target
        self._client = connect(target, APPLICATION, service.secrets["password"], timeout_seconds)

    def prepare(self) -> None:
        """A set needs no preparation."""

    def write(self, number: int) -> None:
        """Add the number to the set."""
        with told_apart(self._target):
            self._client.sadd(ROWS, str(number))

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

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> RedisWriter:
        """A client of this one server."""
        return RedisWriter(service, target, timeout_seconds)
