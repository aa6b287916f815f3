"""What has been done for a service: written by the loop and never by commands.

Each change is a method that says what happens, and refuses what cannot happen.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AliasChoices, Field, model_validator

from hamanager.errors import TransitionError
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.frozen import Frozen
from hamanager.model.host import LeftBehind
from hamanager.model.instance import InstanceRecord, index_of
from hamanager.model.order import OrderResult
from hamanager.model.primary_change import (
    FailoverResult,
    Promotion,
    Switchover,
    SwitchoverResult,
)

RETAINED_LIMIT = 5
"""So many volumes are retained for a service. Then those that hold nothing but writes that
were never acknowledged make room, oldest first; when there is none of these, an operator has to.
Where standbys do not acknowledge, each failover adds one, and the oldest makes room."""


class RetainedVolume(Frozen):
    """Data set aside when an instance was rebuilt or removed: nothing is discarded unproven."""

    instance: str
    volume: str
    generation: int = 0
    """Of the volume."""
    placed_on: str = ""
    """The host that it lies on; '' is the one engine of an installation without hosts."""
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
    under_way: Annotated[Promotion | Switchover, Field(discriminator="kind")] | None = None
    """The change of primary that was begun and has not finished."""
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
    last_failover: FailoverResult | None = None
    last_switchover: SwitchoverResult | None = None
    order_result: OrderResult | None = None
    """What became of the last order that was carried out or refused."""
    left_behind: tuple[LeftBehind, ...] = ()
    """What may still run on hosts that do not answer."""
    refuses_alone: bool = False
    """Where replication is asynchronous: the primary is known to refuse writes while no standby is
    heard of. Noted after it was told so, and forgotten before it is told otherwise."""
    retained: tuple[RetainedVolume, ...] = Field(
        default=(), validation_alias=AliasChoices("retained", "kept")
    )

    @model_validator(mode="before")
    @classmethod
    def _as_written_before(cls, stored: Any) -> Any:
        """What is under way was three keys once, which could contradict each other. Then a
        promotion comes first: it began after the switchover, or is the switchover's own."""
        if not isinstance(stored, dict) or "under_way" in stored:
            return stored
        promoting, switching_to = stored.get("promoting"), stored.get("switching_to")
        # Nobody wrote a promotion without the other key; then it may have got as far as that.
        may_write = stored.get("promoting_may_write", True)
        if promoting is None:
            found = None if switching_to is None else Switchover(to=switching_to)
            return {**stored, "under_way": found}
        kind = Switchover if switching_to == promoting and may_write else Promotion
        return {**stored, "under_way": kind(to=promoting, may_write=may_write)}

    # --- What is under way -------------------------------------------------------------------

    @property
    def promoting(self) -> str | None:
        """The instance a promotion of this term began for and has not finished."""
        change = self.under_way
        if isinstance(change, Switchover) and not change.may_write:
            return None
        return change.to if change is not None else None

    @property
    def promoting_may_write(self) -> bool:
        """From here on that instance may have taken writes, whoever else is on record."""
        return self.under_way is not None and self.under_way.may_write

    @property
    def switching_to(self) -> str | None:
        """The instance that a planned change of primary began for and has not finished."""
        return self.under_way.to if isinstance(self.under_way, Switchover) else None

    # --- A new primary -----------------------------------------------------------------------

    def initialize(self, name: str) -> ServiceRecord:
        """That instance was set up as the first server: it is the primary of term 1."""
        self._refuse_unless(not self.initialized, "it has been initialized already")
        changed = self.with_instance(self._known(name).set_up())
        return changed._with(term=self.term + 1, primary=name, initialized=True)

    def begin_promotion(self, name: str, told_term: int = 0) -> ServiceRecord:
        """A new term, for that instance, unless its promotion in this term has begun already.
        `told_term`: the latest that the servers know of, later than ours when the store was
        restored from an older copy. Whatever else was under way is over."""
        self._known(name)
        if self.promoting == name:
            return self
        return self._with(
            term=max(self.term, told_term) + 1,
            under_way=Promotion(to=name),
            # It is told anew for how many standbys its writes wait.
            refuses_alone=self.refuses_alone and name != self.primary,
        )

    def begin_switchover(self, name: str) -> ServiceRecord:
        """A planned change to that instance."""
        self._known(name)
        self._refuse_unless(name != self.primary, f"{name} is primary already")
        if self.switching_to == name:
            return self
        half = self.promoting if self.promoting_may_write else None
        self._refuse_unless(
            half in (None, name), f"{half} may have taken writes in a promotion that is unfinished"
        )
        return self._with(under_way=Switchover(to=name, may_write=half == name))

    def publish_promotion(self, name: str, *, acknowledges: bool) -> ServiceRecord:
        """From here on that instance may have taken writes, and where standbys acknowledge nobody
        else is known to hold every acknowledged one."""
        change = type(self._begun(name))(to=name, may_write=True)
        return self._with(under_way=change, sync_set=self._alone(name, acknowledges))

    def publish_switchover(self, name: str, *, acknowledges: bool) -> ServiceRecord:
        """The same between the last write of the old primary and the first of the new one, with a
        new term."""
        self._planned(name)
        return self._with(
            term=self.term + 1,
            under_way=Switchover(to=name, may_write=True),
            sync_set=self._alone(name, acknowledges),
            refuses_alone=False,
        )

    def finish_promotion(
        self,
        name: str,
        at: float,
        *,
        acknowledges: bool,
        lossless: bool = False,
        failover: FailoverResult | None = None,
    ) -> ServiceRecord:
        """That instance is primary. `lossless`: the former one had nothing acknowledged that it
        lacks; `failover`: None when it was primary before."""
        self._begun(name)
        changed = self._led_by(name, at, acknowledges=acknowledges, lossless=lossless)
        return changed._with(last_failover=failover or self.last_failover)

    def finish_switchover(self, result: SwitchoverResult, *, acknowledges: bool) -> ServiceRecord:
        """The planned change went through."""
        name = self._planned(result.to_instance).to
        changed = self._led_by(name, result.at, acknowledges=acknowledges, lossless=True)
        return changed._with(last_switchover=result)

    def undo_switchover(self, sync_set: tuple[str, ...]) -> ServiceRecord:
        """The planned change was taken back: that instance did not become primary, and the sync
        set is as before."""
        self._planned()
        return self._with(under_way=None, sync_set=sync_set)

    def abandon_switchover(self) -> ServiceRecord:
        """The planned change is not gone on with; who leads is decided as if it had never begun,
        except that its instance may have taken writes once the new term was published."""
        plan = self._planned()
        left = Promotion(to=plan.to, may_write=True) if plan.may_write else None
        return self._with(under_way=left)

    def elect(
        self, name: str, at: float, *, acknowledges: bool, failover: FailoverResult | None
    ) -> ServiceRecord:
        """The servers elected that instance by themselves, whatever was under way."""
        changed = self._led_by(name, at, acknowledges=acknowledges, lossless=False)
        return changed._with(term=self.term + 1, last_failover=failover or self.last_failover)

    def _led_by(self, name: str, at: float, *, acknowledges: bool, lossless: bool) -> ServiceRecord:
        changed = self.with_instance(self._known(name).became_primary())
        former = self.instance(self.primary)
        if former is not None and former.name != name:
            changed = changed.with_instance(former.was_replaced(lossless=lossless))
        if name != self.primary and acknowledges:
            changed = changed._with(sync_set=(), sync_lost_at=at)
        return changed._with(primary=name, under_way=None, refuses_alone=False)

    def _alone(self, name: str, acknowledges: bool) -> tuple[str, ...]:
        return (name,) if acknowledges else self.sync_set

    # --- Standbys ----------------------------------------------------------------------------

    def mark_synchronized(self, name: str) -> ServiceRecord:
        """That instance was seen to hold a full copy and to follow."""
        instance = self._known(name).seen_synchronized(self.term)
        return self.with_instance(instance)._with(guarded=True)

    def join_sync_set(self, name: str) -> ServiceRecord:
        """That one holds every acknowledged write, too. (The set is in the order of the record.)"""
        self._known(name)
        self._refuse_unless(name != self.primary, f"{name} is no standby")
        ordered = tuple(i.name for i in self.instances if i.name in {*self.sync_set, name})
        return self._with(sync_set=ordered, sync_lost_at=None, guarded=True)

    def leave_sync_set(self, name: str, at: float) -> ServiceRecord:
        """That one is no longer counted on."""
        if name not in self.sync_set:
            return self
        left = tuple(member for member in self.sync_set if member != name)
        return self._with(sync_set=left, sync_lost_at=self.sync_lost_at if left else at)

    # --- Instances ---------------------------------------------------------------------------

    def add_instance(
        self,
        name: str,
        host: str,
        port: int,
        admin_port: int | None,
        *,
        memory_bytes: int | None,
        restarts_done: int,
        placed_on: str = "",
    ) -> ServiceRecord:
        """A new one, with a serial and a generation that nobody had before."""
        self._refuse_unless(self.instance(name) is None, f"{name} is on record already")
        added = InstanceRecord(
            name=name,
            serial=self.next_serial,
            generation=self.next_generation,
            host=host,
            port=port,
            admin_port=admin_port,
            placed_on=placed_on,
            memory_bytes=memory_bytes,
            restarts_done=restarts_done,
        )
        return self.with_instance(added)._with(
            next_serial=self.next_serial + 1, next_generation=self.next_generation + 1
        )

    def rebuild(self, name: str) -> ServiceRecord:
        """That one starts over with an empty volume, whose number nobody had before."""
        renewed = self._known(name).rebuilt(self.next_generation)
        return self.with_instance(renewed)._with(next_generation=self.next_generation + 1)

    def replace(
        self,
        name: str,
        address: tuple[str, int, int | None],
        placed_on: str,
        left: LeftBehind,
    ) -> ServiceRecord:
        """That one starts over on another host, as a server that nobody has heard of; what it was
        is left where it was."""
        self._refuse_unless(name != self.primary, f"{name} is primary")
        self._refuse_unless(name not in self.sync_set, f"{name} is in the sync set")
        renewed = self._known(name).replaced(
            self.next_serial, self.next_generation, address, placed_on
        )
        return self.with_instance(renewed)._with(
            next_serial=self.next_serial + 1,
            next_generation=self.next_generation + 1,
            left_behind=(*self.left_behind, left),
        )

    def clear_left(self, left: LeftBehind, retained: RetainedVolume | None) -> ServiceRecord:
        """That is ended; its data are set aside, or gone."""
        changed = self._with(left_behind=tuple(one for one in self.left_behind if one != left))
        return changed if retained is None else changed.retain(retained)

    def note_refusal(self) -> ServiceRecord:
        """The primary is known to refuse writes while no standby is heard of."""
        return self._with(refuses_alone=True)

    def forget_refusal(self) -> ServiceRecord:
        """It is about to be told otherwise, or is another one."""
        return self._with(refuses_alone=False)

    def mark_ready(self, name: str) -> ServiceRecord:
        """Of a service without data: that one passed its check."""
        ready = self._known(name).passed_its_check()
        return self.with_instance(ready)._with(initialized=True)

    def instance(self, name: str | None) -> InstanceRecord | None:
        """The record of that instance, or None."""
        return next((i for i in self.instances if i.name == name), None)

    def with_instance(self, changed: InstanceRecord) -> ServiceRecord:
        """A copy in which the instance of that name is replaced, or added."""
        others = tuple(i for i in self.instances if i.name != changed.name)
        ordered = sorted((*others, changed), key=lambda i: index_of(i.name))
        return self._with(instances=tuple(ordered))

    def without_instance(self, name: str) -> ServiceRecord:
        """A copy that no longer has the instance of that name, nor waits for its promotion. (A
        switchover to it is abandoned by its rule.)"""
        left = tuple(i for i in self.instances if i.name != name)
        change = self.under_way
        if change is not None and change.to == name:
            change = Switchover(to=name) if isinstance(change, Switchover) else None
        return self._with(instances=left, under_way=change)

    # --- The rest ----------------------------------------------------------------------------

    def begin_run(self) -> ServiceRecord:
        """Whoever is in the middle of another run can write nothing any more."""
        return self._with(runs=self.runs + 1)

    def with_endpoint(self, endpoint: EndpointRecord) -> ServiceRecord:
        """These addresses are reserved for its clients."""
        return self._with(endpoint=endpoint)

    def settle_order(self, result: OrderResult) -> ServiceRecord:
        """That became of the order.

        Raises:
            TransitionError: it is known already what became of it, or of a later one.
        """
        last = self.order_result
        known = last is not None and last.number >= result.number
        self._refuse_unless(not known, f"order {result.number} is settled")
        return self._with(order_result=result)

    def retain(self, volume: RetainedVolume) -> ServiceRecord:
        """That volume is set aside."""
        return self._with(retained=(*self.retained, volume))

    def let_go(self, volumes: Collection[RetainedVolume]) -> ServiceRecord:
        """These are no more."""
        return self._with(retained=tuple(v for v in self.retained if v not in volumes))

    # --- Refusals ----------------------------------------------------------------------------

    def _begun(self, name: str) -> Promotion | Switchover:
        if self.under_way is None or self.promoting != name:
            raise TransitionError(f"no promotion of {name} has begun; nothing was changed")
        return self.under_way

    def _planned(self, name: str | None = None) -> Switchover:
        plan = self.under_way
        if not isinstance(plan, Switchover) or name not in (None, plan.to):
            to = f" to {name}" if name else ""
            raise TransitionError(f"no switchover{to} has begun; nothing was changed")
        return plan

    def _known(self, name: str) -> InstanceRecord:
        found = self.instance(name)
        if found is None:
            raise TransitionError(f"there is no {name} on record; nothing was changed")
        return found

    def _refuse_unless(self, allowed: bool, reason: str) -> None:
        if not allowed:
            raise TransitionError(f"{reason}; nothing was changed")
