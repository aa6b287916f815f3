"""What a rule decides by: the facts of one service, and what follows from them directly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from hamanager.decide.evidence import Evidence, Verdict, weigh
from hamanager.decide.placement import free_places, shared
from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.host import HostSeen
from hamanager.model.instance import InstanceRecord
from hamanager.model.order import ORDER_SECONDS, Order, OrderKind, pending
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Contact, Observation, Process, Relation, Role, Snapshot
from hamanager.model.spec import Spec
from hamanager.model.sync_set import required_acks

STOP_AGAIN_SECONDS = 35.0
"""A process that was asked to end has done so by then."""
MEMORY_AGAIN_SECONDS = 60.0
"""A limit that could not be changed is tried again after this time."""
RESTART_BOUND_SECONDS = 60.0
"""A planned restart that takes longer is treated as a failure."""


@dataclass(frozen=True)
class Situation:
    """Everything a rule may use."""

    spec: Spec
    record: ServiceRecord
    snapshot: Snapshot
    capabilities: Capabilities
    passed_over: frozenset[str] = frozenset()
    """Instances for which the rule that is asked failed a moment ago: others have their turn."""

    def due(
        self, pairs: Iterable[tuple[InstanceRecord, Observation]]
    ) -> list[tuple[InstanceRecord, Observation]]:
        """Those of them that are not passed over."""
        return [pair for pair in pairs if pair[0].name not in self.passed_over]

    @cached_property
    def primary(self) -> InstanceRecord | None:
        """The primary on record."""
        return self.record.instance(self.record.primary)

    @cached_property
    def primary_seen(self) -> Observation | None:
        """What was seen of it."""
        return self.snapshot.of(self.record.primary)

    @cached_property
    def evidence(self) -> Evidence:
        """Whether the primary on record is dead."""
        if self.primary is None or self.primary_seen is None:
            return Evidence(Verdict.DEAD, "there is none on record")
        return self.evidence_on(self.primary, self.primary_seen)

    def evidence_on(self, instance: InstanceRecord, seen: Observation) -> Evidence:
        """Whether that one is dead, by itself and by what all others see of it."""
        others = [other for one, other in self.all if one.name != instance.name]
        address = instance.replication_address
        host = self.host_of(instance)
        silent_seconds = host.silent_seconds if host is not None else 0.0
        return weigh(seen, address, others, self.spec.down_after_seconds, silent_seconds)

    @cached_property
    def standbys(self) -> list[tuple[InstanceRecord, Observation]]:
        """Every instance except the primary on record, with what was seen of it."""
        return [pair for pair in self.all if pair[0].name != self.record.primary]

    @cached_property
    def all(self) -> list[tuple[InstanceRecord, Observation]]:
        """Every instance with what was seen of it, in order of names."""
        unseen = Observation(Process.UNKNOWN, Contact.SILENT)
        return [(i, self.snapshot.of(i.name) or unseen) for i in self.record.instances]

    @cached_property
    def primary_works(self) -> bool:
        """The primary on record answers and takes itself for the primary."""
        return has_role(self.primary_seen, Role.PRIMARY)

    @cached_property
    def latest_told_term(self) -> tuple[int, list[str]]:
        """The highest term that any server's data tell of, and whose: a primary's name first."""
        told = {i.name: seen.status.term or 0 for i, seen in self.all if seen.status is not None}
        latest = max(told.values(), default=0)
        names = [name for name, term in told.items() if term == latest]
        return latest, sorted(
            names, key=lambda name: not has_role(self.snapshot.of(name), Role.PRIMARY)
        )

    @cached_property
    def majority_is_up(self) -> bool:
        """More than half of the instances give signs of life."""
        return 2 * sum(seen.alive for _, seen in self.all) > len(self.record.instances)

    @cached_property
    def required_acks(self) -> int:
        """For how many standbys each write has to wait."""
        return required_acks(self.spec, self.record, self.capabilities)

    def host_of(self, instance: InstanceRecord | None) -> HostSeen | None:
        """How the host is that it is placed on; None where there is one engine alone."""
        return self.snapshot.hosts.get(instance.placed_on) if instance is not None else None

    def host_is_silent(self, instance: InstanceRecord | None) -> bool:
        """Its host's engine does not answer, or it is on none that is on record: nobody can end it,
        or tell whether it has ended."""
        if instance is None or not instance.placed_on:
            return False
        host = self.host_of(instance)
        return host is None or not host.answers

    @cached_property
    def moving(self) -> frozenset[str]:
        """Instances that are to go to another host: those on one that is to be left, and, when an
        operator asked for it, one of several that share a host while another one is free."""
        hosts = self.snapshot.hosts
        left = [i for i in self.record.instances if (h := hosts.get(i.placed_on)) and h.draining]
        if left or self.pending(OrderKind.REBALANCE) is None:
            return frozenset(i.name for i in left)
        sharing = shared(self.record)
        if len(self.record.instances) <= self.spec.instances:
            # Nothing has been begun: only while there is where to go.
            sharing = sharing if free_places(hosts.values(), self.record) else {}
        names = [name for host in sorted(sharing) for name in sharing[host]]
        others = [name for name in names if name != self.record.primary]
        return frozenset(others[-1:])

    @property
    def strict(self) -> bool:
        """Writes wait rather than go on without a standby."""
        return self.spec.durability is Durability.STRICT

    @property
    def promotion_may_have_led(self) -> bool:
        """The instance whose promotion was begun may have taken writes, which nobody else is known
        to hold: no other may lead without an operator's order. (Where replication is asynchronous
        nobody is ever known to hold everything.)"""
        begun = self.record.promoting is not None and self.record.promoting_may_write
        return begun and self.capabilities.acknowledges

    def pending(self, kind: OrderKind) -> Order | None:
        """The order of that kind that was neither carried out nor refused yet."""
        return pending(self.spec.order, self.record.order_result, kind)

    def expired(self, order: Order) -> bool:
        """Nobody expects it any more."""
        return not 0 <= self.snapshot.at - order.asked_at + 5 < ORDER_SECONDS

    def memory_was_tried(self, instance: InstanceRecord) -> bool:
        """It could not be given another limit a moment ago: not tried all the time."""
        at = instance.memory_tried_at
        return at is not None and 0 <= self.snapshot.at - at < MEMORY_AGAIN_SECONDS

    def restart_wanted(self, instance: InstanceRecord) -> bool:
        """An operator asked for a restart of it that was not begun."""
        return self.spec.restarts.get(instance.name, 0) > instance.restarts_done

    def restart_is_stuck(self, instance: InstanceRecord) -> bool:
        """A planned restart was begun, perhaps by a manager that died before it asked the process
        to end."""
        since = instance.restarting_since
        if since is None or restarted(instance):
            return False
        return not 0 <= self.snapshot.at - since < STOP_AGAIN_SECONDS  # or the clock jumped back

    def restart_runs(self, instance: InstanceRecord | None) -> bool:
        """Whether a planned restart of it is under way and not overdue."""
        since = instance.restarting_since if instance else None
        return since is not None and 0 <= self.snapshot.at - since < RESTART_BOUND_SECONDS


def has_role(seen: Observation | None, role: Role) -> bool:
    """It answers and takes itself for that."""
    return seen is not None and seen.status is not None and seen.status.role is role


def follows(seen: Observation) -> bool:
    """It holds a full copy and replicates from the primary on record."""
    return (
        seen.relation is Relation.ATTACHED and seen.status is not None and seen.status.synchronized
    )


def restarted(instance: InstanceRecord) -> bool:
    """It has been started since its planned restart began (and not merely not stopped yet)."""
    return instance.restarting_since is not None and instance.restart_started
