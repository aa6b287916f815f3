"""The playbook contract: what is done about a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint, Listener
from hamanager.contracts.replication import Replication, SemiSync
from hamanager.contracts.runtime import Container, InstanceRef, Runtime
from hamanager.decide.routing import listeners
from hamanager.errors import HamanagerError, StaleVersionError
from hamanager.model.decision import BackingOff, Decision
from hamanager.model.host import Occupant
from hamanager.model.instance import InstanceRecord
from hamanager.model.kept import Facts
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from hamanager.model.sync_set import required_acks
from hamanager.model.upgrade import runs_from, sources

Part = TypeVar("Part")


def needed(part: Part | None) -> Part:
    """That part of a driver, in a playbook that is for engines which have it."""
    assert part is not None, "the rules chose a playbook that the engine's driver has no part for"
    return part


@dataclass(frozen=True)
class Step:
    """One named thing to do. The runner numbers, times and journals it.

    `run` is idempotent, bounded in time, and returns a short note for the history or None;
    it raises a `HamanagerError` when the goal is not reached, which ends the playbook.
    """

    name: str
    run: Callable[[], str | None]


class Records(Protocol):
    """The service's record, changed only by compare-and-swap against what this run last saw."""

    def read(self) -> ServiceRecord:
        """As this run last saw or wrote it."""
        ...

    def change(self, change: Callable[[ServiceRecord], ServiceRecord]) -> ServiceRecord:
        """Write what the function makes of the present record.

        Raises:
            StaleVersionError: somebody else changed it: this run is over.
        """
        ...

    def is_present(self) -> bool:
        """Nobody has changed it since."""
        ...

    def forget_service(self) -> None:
        """Delete everything kept about the service except its history."""
        ...

    def taken_ports(self) -> frozenset[int]:
        """The ports of all instances of all services."""
        ...

    def occupants(self) -> Sequence[Occupant]:
        """All instances of all services, for placing another one."""
        ...


@dataclass(frozen=True)
class PlaybookContext:
    """Everything a playbook works with."""

    spec: Spec
    service: ServiceContext
    decision: Decision
    snapshot: Snapshot
    records: Records
    driver: Driver
    runtime: Runtime
    clock: Clock
    endpoint: Endpoint
    backing_off: tuple[BackingOff, ...] = ()
    """What was not tried again when it was decided."""

    @property
    def facts(self) -> Facts:
        """What it was decided by."""
        return Facts(self.spec, self.records.read(), self.snapshot, self.backing_off)

    @property
    def replication(self) -> Replication:
        """The driver's part for servers with data."""
        return needed(self.driver.replication)

    @property
    def semisync(self) -> SemiSync:
        """The driver's part for standbys that acknowledge."""
        return needed(self.driver.semisync)

    def wanted_listeners(self, name: str | None) -> tuple[Listener, ...]:
        """The service's addresses, leading to that instance or to nobody."""
        return listeners(
            self.spec, self.records.read(), self.snapshot, self.driver.capabilities, name
        )

    def send_clients_to(self, name: str | None, *, cut: bool = True) -> str | None:
        """Let the service's address lead to that instance, or to nobody: then new connections
        wait. Whatever the endpoint says, no failover may depend on it: what could not be done is
        told, and the loop does it later.

        Raises:
            StaleVersionError: another manager may have taken over: this run is over.
        """
        try:
            self.endpoint.publish(self.spec.name, self.wanted_listeners(name), cut=cut)
        except StaleVersionError:
            raise
        except HamanagerError as error:
            return f"not in force yet: {error}"
        return None

    def required_acks(self, members: int | None = None) -> int:
        """For how many standbys each write has to wait, by the present record (or with another
        number of members of the sync set)."""
        return required_acks(self.spec, self.records.read(), self.driver.capabilities, members)

    @property
    def name(self) -> str:
        """The instance that the decision is for."""
        assert self.decision.instance is not None
        return self.decision.instance

    def instance(self, name: str | None = None) -> InstanceRecord:
        """The present record of an instance (the decision's when none is named)."""
        found = self.records.read().instance(name or self.name)
        assert found is not None, f"{name or self.name} is not on record"
        return found

    def target(self, name: str | None = None) -> Target:
        """Where an instance is (the decision's when none is named)."""
        return Target.of(self.instance(name))

    def members(self) -> list[Target]:
        """All instances on record."""
        return [Target.of(instance) for instance in self.records.read().instances]

    def ref(self, name: str | None = None) -> InstanceRef:
        """How the runtime calls an instance."""
        return InstanceRef.of(self.spec.name, self.instance(name))

    def kept(self, volume: RetainedVolume) -> InstanceRef:
        """How the runtime calls the place of data that were set aside."""
        return InstanceRef(self.spec.name, volume.instance, volume.generation, volume.placed_on)

    def container(self, name: str | None = None) -> Container:
        """What to run for an instance."""
        instance = self.instance(name)
        image = runs_from(self.spec, instance)
        return Container(
            image=image.id,
            image_sources=sources(image),
            host=instance.host,
            port=instance.port,
            launch=self.driver.launch_spec(self.service, Target.of(instance)),
            memory_bytes=self.spec.memory_bytes,
            admin_port=instance.admin_port,
        )

    def change_instance(self, change: Callable[[InstanceRecord], InstanceRecord]) -> None:
        """Change the record of the decision's instance."""
        self.records.change(lambda record: record.with_instance(change(self.instance())))


Playbook = Callable[[PlaybookContext], Sequence[Step]]
