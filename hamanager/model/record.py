"""What has been done for a service: written by the loop and never by commands."""

from __future__ import annotations

from collections.abc import Collection

from hamanager.model.endpoint import EndpointRecord
from hamanager.model.frozen import Frozen
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.order import OrderResult


class Failover(Frozen):
    """The last change of primary that nobody asked for."""

    at: float
    from_instance: str | None
    to_instance: str
    seconds: float
    """From the first evidence of death in this manager to the new primary accepting writes."""
    lost: str
    """What may have been lost, in words; an honest 'unknown' where it cannot be known."""
    forced: bool = False
    """An operator decided it, although writes could be lost."""


class Switchover(Frozen):
    """The last planned change of primary."""

    at: float
    from_instance: str
    to_instance: str
    seconds: float
    """From its first step to the new primary accepting writes."""
    note: str
    """What the engine's driver told about it."""


KEPT_LIMIT = 5
"""So many sets of data are set aside for a service. Then those that hold nothing but writes that
were never acknowledged make room, oldest first; when there is none of these, an operator has to.
Where standbys do not acknowledge, each failover sets one aside, and the oldest makes room."""


class KeptData(Frozen):
    """Data set aside when an instance was rebuilt: nothing is discarded unproven."""

    instance: str
    volume: str
    generation: int = 0
    """Of the volume."""
    at: float
    reason: str
    writes: str = ""
    """What it alone has, in the engine's terms, where that is known."""
    unacknowledged: bool = False
    """None of these writes was ever acknowledged."""


class ServiceRecord(Frozen):
    """What the loop has done so far for one service."""

    runs: int = 0
    """Grows with each playbook that is begun: so that a run which another one has overtaken fails
    to write the record."""
    term: int = 0
    """Grows by one at every promotion."""
    primary: str | None = None
    promoting: str | None = None
    """The instance a promotion of this term began for and has not finished."""
    promoting_may_write: bool = False
    """From here on that instance may have taken writes, whoever else is on record."""
    switching_to: str | None = None
    """The instance that a planned change of primary began for and has not finished."""
    sync_set: tuple[str, ...] = ()
    """Standbys that hold every acknowledged write on disk. Always a subset of those that truly
    do: one is added after the engine waits for it, and taken out before the engine ceases to."""
    sync_lost_at: float | None = None
    """When the last standby left the sync set (seconds since the epoch); None while it has
    members, and before it had any."""
    guarded: bool = False
    """There has been a synchronized standby: from then on strict durability is in force."""
    initialized: bool = False
    """The first primary has been set up; from here on the service holds data."""
    endpoint: EndpointRecord | None = None
    """The service's own address, the same for ever; None for engines whose clients know all
    instances."""
    instances: tuple[InstanceRecord, ...] = ()
    next_serial: int = 0
    next_generation: int = 1
    last_failover: Failover | None = None
    last_switchover: Switchover | None = None
    order_result: OrderResult | None = None
    """What became of the last order that was carried out or refused."""
    kept: tuple[KeptData, ...] = ()

    def letting_go(self, kept: Collection[KeptData]) -> ServiceRecord:
        """A copy that no longer names these data as set aside."""
        left = tuple(k for k in self.kept if k not in kept)
        return self.model_copy(update={"kept": left})

    def keeping(self, kept: KeptData) -> ServiceRecord:
        """A copy that names that data as set aside."""
        return self.model_copy(update={"kept": (*self.kept, kept)})

    def instance(self, name: str | None) -> InstanceRecord | None:
        """The record of that instance, or None."""
        return next((i for i in self.instances if i.name == name), None)

    def with_instance(self, changed: InstanceRecord) -> ServiceRecord:
        """A copy in which the instance of that name is replaced, or added."""
        others = tuple(i for i in self.instances if i.name != changed.name)
        ordered = sorted((*others, changed), key=lambda i: index_of(i.name))
        return self.model_copy(update={"instances": tuple(ordered)})

    def without_instance(self, name: str) -> ServiceRecord:
        """A copy that no longer has the instance of that name, nor waits for its promotion."""
        update: dict[str, object] = {
            "instances": tuple(i for i in self.instances if i.name != name)
        }
        if self.promoting == name:
            update |= {"promoting": None, "promoting_may_write": False}
        return self.model_copy(update=update)
