"""Services as a test sees them: through what is in the store and what `info` shows, wherever the
managers and the servers are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from hamanager.chaos.workload import LoadWriter, count_lost, open_writer
from hamanager.contracts.driver import Driver
from hamanager.contracts.store import Store
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.stores.repository import (
    load_context,
    load_record,
    load_spec,
    service_names,
    spec_key,
)


class Services:
    """All services of one installation."""

    store: Store

    def __init__(self) -> None:
        self.drivers: Mapping[str, Driver] = load_drivers()

    def ask(self, what: Literal["info", "history"], service: str | None = None) -> Any:
        """What such a command prints as JSON; None when no manager answers."""
        raise NotImplementedError

    def wait_for_state(
        self, service: str, state: str, seconds: float, instances: int | None = None
    ) -> Any:
        """Until `info` shows that state (and so many instances); what it shows then."""
        last: list[Any] = [None]

        def reached() -> bool:
            view = last[0] = self.ask("info", service)
            return (
                view is not None
                and view["state"] == state
                and (instances is None or len(view["instances"]) == instances)
            )

        try:
            wait_for(f"{service} to be {state}", seconds, reached)
        except HamanagerError as error:
            raise HamanagerError(f"{error}; last seen: {last[0]}") from None
        return last[0]

    def driver(self, service: str) -> Driver:
        """The driver of that service's engine."""
        return self.drivers[self.context(service).engine]

    def context(self, service: str) -> ServiceContext:
        """The service with its credentials, as its applications have them."""
        loaded = load_spec(self.store, service)
        assert loaded is not None, f"there is no service {service}"
        return load_context(self.store, loaded[0])

    def record(self, service: str) -> ServiceRecord:
        """What the loop has written down."""
        return load_record(self.store, service)[0]

    def specs(self) -> list[str]:
        """Every spec as it is written down."""
        kept = (self.store.get(spec_key(name)) for name in service_names(self.store))
        return [entry.value for entry in kept if entry is not None]

    def members(self, service: str) -> list[Target]:
        """All instances of a service."""
        return [Target.of(instance) for instance in self.record(service).instances]

    def primary(self, service: str) -> Target:
        """The primary on record."""
        record = self.record(service)
        found = record.instance(record.primary)
        assert found is not None, f"{service} has no primary"
        return Target.of(found)

    def in_step(self, service: str) -> bool:
        """Whether on record there is a primary, and every other instance is its full standby:
        where standbys acknowledge, a member of the sync set."""
        record = self.record(service)
        others = [instance for instance in record.instances if instance.name != record.primary]
        if record.primary is None or record.promoting is not None:
            return False
        if self.driver(service).capabilities.acknowledges:
            return {instance.name for instance in others} == set(record.sync_set)
        return all(instance.synchronized for instance in others)

    def wait_until_in_step(self, service: str, after_term: int, seconds: float) -> float:
        """Until all are in step in a term later than that one; when it was (monotonic seconds)."""
        wait_for(
            f"{service} to be in step",
            seconds,
            lambda: self.record(service).term > after_term and self.in_step(service),
            pause_seconds=0.01,
        )
        return time.monotonic()

    def fill(self, service: str, total_bytes: int) -> None:
        """Write ballast to the primary."""
        writer = open_writer(
            self.driver(service), self.context(service), self.primary(service), timeout_seconds=30
        )
        try:
            writer.prepare()
            writer.fill(total_bytes)
        finally:
            writer.close()

    def start_writer(
        self, service: str, pause_seconds: float = 0.001, driver: Driver | None = None
    ) -> LoadWriter:
        """A client that writes numbered rows from now on; of the driver's workload, where it is not
        the usual one."""
        driver = driver or self.driver(service)
        context = self.context(service)
        preparing = open_writer(driver, context, self.primary(service), timeout_seconds=10)
        preparing.prepare()
        written_before = max(preparing.numbers(), default=0)
        preparing.close()
        writer = LoadWriter(driver, context, self.followed(service), pause_seconds, written_before)
        writer.start()
        return writer

    def followed(self, service: str) -> Callable[[], Sequence[Target]]:
        """How a client knows all instances of a service."""
        return lambda: self.members(service)

    def lost(self, service: str, writer: LoadWriter) -> int:
        """How many acknowledged writes the present primary does not hold."""
        return count_lost(
            writer, self.driver(service), self.context(service), self.primary(service)
        )


def wait_for(
    what: str, seconds: float, condition: Callable[[], bool], pause_seconds: float = 0.1
) -> None:
    """Until the condition holds.

    Raises:
        HamanagerError: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise HamanagerError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(pause_seconds)
