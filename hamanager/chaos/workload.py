"""A client that writes all the time and remembers what was acknowledged.

It behaves like an application with a reconnect loop: when a write fails it tries the other
instances until one accepts. Used by the demo, the benchmarks and the tests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hamanager.contracts.driver import Driver
from hamanager.contracts.workload import Writer
from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target

CLIENT_TIMEOUT_SECONDS = 0.5
RETRY_SECONDS = 0.002


def open_writer(
    driver: Driver, service: ServiceContext, target: Target, timeout_seconds: float
) -> Writer:
    """A client of that server.

    Raises:
        ServerError: it cannot be reached, or its engine's driver knows of no clients.
    """
    if driver.workload is None:
        raise ServerError(
            f"the driver of {driver.engine} has no test workload: nothing was written"
        )
    return driver.workload.open_writer(service, target, timeout_seconds)


@dataclass(frozen=True)
class Acknowledged:
    """One write that a server acknowledged."""

    number: int
    at: float
    """Monotonic seconds."""
    instance: str


class LoadWriter(threading.Thread):
    """Writes numbered rows, one after the other, until it is stopped."""

    def __init__(
        self,
        driver: Driver,
        service: ServiceContext,
        members: Callable[[], Sequence[Target]],
        pause_seconds: float = 0.0,
        written_before: int = 0,
    ) -> None:
        """`written_before` is the highest number that the data may hold already."""
        super().__init__(name="load-writer", daemon=True)
        self._driver = driver
        self._service = service
        self._members = members
        self._pause_seconds = pause_seconds
        self._written_before = written_before
        self._stopping = threading.Event()
        self._acknowledged: list[Acknowledged] = []

    def run(self) -> None:
        """The thread's life."""
        number = self._written_before
        turn = 0
        while not self._stopping.is_set():
            if members := self._members():  # there are none while a service is destroyed
                number = self._write_to(members[turn % len(members)], number)
            turn += 1
            time.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stopping.set()
        self.join(timeout=10)

    def acknowledged(self) -> list[Acknowledged]:
        """Everything acknowledged so far."""
        return list(self._acknowledged)

    def wait_for_write(
        self, *, after: float, not_on: str, timeout_seconds: float
    ) -> Acknowledged | None:
        """The first write acknowledged after that (monotonic) moment by another instance than
        `not_on`; None when there is none in time."""
        deadline = time.monotonic() + timeout_seconds
        looked_at = len(self._acknowledged)
        while looked_at and self._acknowledged[looked_at - 1].at > after:
            looked_at -= 1
        while time.monotonic() < deadline:
            for write in self._acknowledged[looked_at:]:
                looked_at += 1
                if write.at > after and write.instance != not_on:
                    return write
            time.sleep(0.002)
        return None

    def lost(self, held: set[int]) -> int:
        """How many acknowledged writes are not among those that a server holds."""
        return sum(write.number not in held for write in self._acknowledged)

    def _write_to(self, target: Target, number: int) -> int:
        """Write to one instance until it fails; the next number to use (one that failed may have
        been written all the same, so it is not used again)."""
        writer: Writer | None = None
        try:
            writer = open_writer(self._driver, self._service, target, CLIENT_TIMEOUT_SECONDS)
            while not self._stopping.is_set():
                number += 1
                writer.write(number)
                self._acknowledged.append(Acknowledged(number, time.monotonic(), target.name))
                if self._pause_seconds:
                    time.sleep(self._pause_seconds)
        except ServerError:
            return number
        finally:
            if writer is not None:
                writer.close()
        return number


def count_lost(writer: LoadWriter, driver: Driver, service: ServiceContext, primary: Target) -> int:
    """How many acknowledged writes the primary does not hold."""
    reader = open_writer(driver, service, primary, timeout_seconds=10)
    try:
        return writer.lost(reader.numbers())
    finally:
        reader.close()
