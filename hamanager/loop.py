"""The loop of one service: observe, decide, act, record; one pass at a time.

A pass may be started by the scheduler, a tripwire, the runtime's events or an operator's command;
all take the same path, and nothing else changes a service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hamanager.act.backoff import Retries
from hamanager.act.context import Playbook, PlaybookContext
from hamanager.act.lock import ServiceLock
from hamanager.act.runner import Runner
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.decide.pace import unfinished
from hamanager.decide.situation import Situation
from hamanager.decide.table import BACKING_OFF, decide
from hamanager.errors import (
    EndpointFailedError,
    HamanagerError,
    NotFoundError,
    StaleVersionError,
    StoreError,
    UnmanageableError,
)
from hamanager.model.decision import Action, BackingOff, Decision
from hamanager.model.history import HistoryEntry
from hamanager.model.host import Occupant
from hamanager.model.kept import Facts, packed
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from hamanager.stores.repository import (
    at_one_moment,
    forget_service,
    load_context,
    load_record,
    load_spec,
    save_record,
    service_names,
)

IDLE = (Action.NOTHING, Action.WAIT)
CLOSE_PASS_SECONDS = 0.05
CLOSE_PASSES_FOR_SECONDS = 2.0
UNTOLD = ("set-up", "planned-restart", "primary-not-ready", BACKING_OFF)
"""Waits that the steps around them tell already."""


@dataclass(frozen=True)
class Pass:
    """What the last pass saw and decided."""

    snapshot: Snapshot
    decision: Decision
    message: str
    """One sentence for people: what is being done, or why nothing is."""
    acted: bool
    """A playbook was carried out: another pass should follow at once."""
    failed: bool = False
    """It did not reach its goal: it is not tried again at once, and others may have their turn."""
    decided_in_seconds: float | None = None
    """When the time that a silent primary is given runs out."""
    versions: tuple[int, int] = (0, 0)
    """Of the spec and of the record that it began with."""
    facts: Facts | None = None
    """What it was decided by."""
    unfinished_seconds: float | None = None
    """For how long some instance has not been where it belongs without anything being done about
    it; None when all are."""


class KeptRecords:
    """The service's record in the store, as one playbook run sees it."""

    def __init__(self, store: Store, name: str, record: ServiceRecord, version: int) -> None:
        self._store, self._name = store, name
        self._record, self._version = record, version

    def read(self) -> ServiceRecord:
        """As this run last saw or wrote it."""
        return self._record

    def change(self, change: Callable[[ServiceRecord], ServiceRecord]) -> ServiceRecord:
        """Compare-and-swap what the function makes of the present record."""
        changed = change(self._record)
        if changed != self._record:
            self._version = save_record(self._store, self._name, changed, self._version)
            self._record = changed
        return changed

    def is_present(self) -> bool:
        """Whether the store still has it in the version that this run last saw or wrote."""
        return load_record(self._store, self._name)[1] == self._version

    def forget_service(self) -> None:
        """Delete everything but the history."""
        forget_service(self._store, self._name)

    def taken_ports(self) -> frozenset[int]:
        """The ports of all instances and addresses of all services. Of one whose record is damaged
        nobody knows them; the runtime sees those that are in use."""
        ports: set[int] = set()
        for name in service_names(self._store):
            with suppress(UnmanageableError):
                ports.update(_ports(load_record(self._store, name)[0]))
        return frozenset(ports)

    def occupants(self) -> Sequence[Occupant]:
        """All instances of all services; those of a damaged record are nowhere."""
        found = []
        for name in service_names(self._store):
            with suppress(UnmanageableError):
                record, _ = load_record(self._store, name)
                found += [Occupant(name, i.placed_on, i.memory_bytes) for i in record.instances]
        return found


def _decided_in(ctx: PlaybookContext) -> float | None:
    """A standby's link to a hung primary ends about when `down_after` does: that is awaited, and so
    is the moment at which a primary that all have left refuses writes."""
    seen = ctx.snapshot.of(ctx.decision.instance)
    bound = ctx.driver.capabilities.refuses_alone_after_seconds
    if seen is None:
        return None
    if ctx.decision.rule in ("primary-suspect", "primary-cut-off"):
        left = ctx.spec.down_after_seconds - seen.silent_seconds
    elif ctx.decision.rule == "beyond-reach" and bound is not None:
        others = ctx.snapshot.observations.items()
        since = [o.same_source_seconds for name, o in others if name != ctx.decision.instance]
        left = bound - min(since, default=0.0)
    else:
        return None
    return None if left < -CLOSE_PASSES_FOR_SECONDS else max(CLOSE_PASS_SECONDS, left)


def _ports(record: ServiceRecord) -> list[int]:
    own = record.endpoint.ports if record.endpoint else ()
    return [*own, *(port for instance in record.instances for port in instance.ports)]


class ServiceLoop:
    """Runs the passes of one service."""

    def __init__(
        self,
        name: str,
        store: Store,
        driver: Driver,
        runtime: Runtime,
        endpoint: Endpoint,
        clock: Clock,
        threads: Threads,
        lock: ServiceLock,
        playbooks: Mapping[Action, Playbook],
    ) -> None:
        self.name = name
        self.driver = driver
        self.observer = Observer(driver, runtime, clock, threads)
        self.last: Pass | None = None
        self.known: tuple[Spec, ServiceContext, ServiceRecord] | None = None
        """As the store had them last."""
        self._records: KeptRecords | None = None
        """Of the last look; whoever acted since has changed them."""
        self._seen: tuple[ServiceRecord, Snapshot] | None = None
        """By the last look, which was over before the store was asked, and what it looked for."""
        self.address_problem = ""
        """Why the service's address does not lead where it should; '' when it does."""
        self._store = store
        self._runtime = runtime
        self._endpoint = endpoint
        self._clock = clock
        self._runner = Runner(name, store, clock, lock, playbooks)
        self._retries = Retries(clock)
        self._backing_off: tuple[BackingOff, ...] = ()
        self._spec_version = self._record_version = 0
        self._noted = ""
        self._warned: set[str] = set()
        self._unfinished_since: float | None = None
        """Monotonic seconds; counted anew with each step that is taken."""

    def run_pass(self) -> Pass | None:
        """Observe, decide, act, record once; None when the service is no more."""
        self._backing_off = self._retries.backing_off()
        try:
            ctx = self._look()
        except StaleVersionError:
            raise
        except StoreError as away:
            raise self._only_observed(away) from away
        if ctx is None:
            return None
        decision = ctx.decision
        self._note_warnings(ctx.snapshot)
        idle = decision.action in IDLE
        intent = f"{decision.action.value} {decision.instance or self.name}: {decision.reason}"
        if error := self._retries.last_error(decision):
            intent += f"; the last try failed: {error}"
        self.last = Pass(
            ctx.snapshot,
            decision,
            decision.reason if idle else intent,
            acted=False,
            decided_in_seconds=_decided_in(ctx),
            versions=(self._spec_version, self._record_version),
            facts=ctx.facts,
            unfinished_seconds=self._unfinished_for(ctx),
        )
        if decision.rule != "older-record":  # then the record knows nothing of where they should go
            self.address_problem = self._runner.lead_clients(ctx)
        if idle:
            if decision.rule != BACKING_OFF:
                self._retries.rested()
            self._note_waiting(ctx)
            return self.last
        self._unfinished_since = None
        try:
            outcome = self._runner.run(decision, self._recheck)
        except HamanagerError:
            raise
        except Exception as error:
            # A fault of ours in one playbook must not starve the others either.
            self._retries.failed(decision, HamanagerError(repr(error)))
            raise
        if outcome.failure is not None:
            self._retries.failed(decision, outcome.failure)
        elif outcome.done:
            self._retries.succeeded(decision)
        self._noted = ""
        self.last = Pass(
            self.last.snapshot,
            decision,
            outcome.text,
            acted=outcome.done,
            failed=outcome.failure is not None,
            facts=self.last.facts,
        )
        return self.last

    def _only_observed(self, error: StoreError) -> StoreError:
        """Without the store nothing can be changed; what is to be seen is seen all the same."""
        reason = f"{error}: everything goes on as it is, and nothing is done before it answers"
        if self.known is not None and self._seen is not None:
            (spec, _, _), (record, snapshot) = self.known, self._seen
            decision = decide(spec, record, snapshot, self.driver.capabilities, self._backing_off)
            unable = Decision("store-away", Action.WAIT, f"{decision.reason}; {reason}")
            facts = Facts(spec, record, snapshot, self._backing_off)
            self.last = Pass(snapshot, unable, unable.reason, acted=False, facts=facts)
        return StoreError(reason)

    def _unfinished_for(self, ctx: PlaybookContext) -> float | None:
        situation = Situation(ctx.spec, ctx.records.read(), ctx.snapshot, self.driver.capabilities)
        if not unfinished(situation):
            self._unfinished_since = None
            return None
        now = self._clock.monotonic()
        if self._unfinished_since is None:
            self._unfinished_since = now
        return now - self._unfinished_since

    def _recheck(self) -> PlaybookContext:
        ctx = self._look()
        if ctx is None:
            raise NotFoundError(f"service '{self.name}' is no more")
        return ctx

    def _note_warnings(self, snapshot: Snapshot) -> None:
        """Each once in this process's life."""
        for seen in snapshot.observations.values():
            for warning in seen.warnings:
                if warning not in self._warned:
                    self._warned.add(warning)
                    self._note(warning)

    def _note(self, text: str, *, seen: str = "", rule: str = "") -> None:
        self._store.append(
            HistoryEntry(
                at=self._clock.now(),
                service=self.name,
                kind="note",
                text=text,
                seen=seen,
                rule=rule,
            )
        )

    def _note_waiting(self, ctx: PlaybookContext) -> None:
        """A wait that begins belongs in the history; that it goes on does not."""
        decision = ctx.decision
        waiting = decision.rule if decision.action is Action.WAIT else ""
        if waiting and waiting != self._noted and waiting not in UNTOLD:
            self._note(decision.reason, seen=packed(ctx.facts), rule=decision.rule)
        self._noted = waiting

    def context(self) -> ServiceContext | None:
        """The service as drivers need it; None when it is no more."""
        loaded = load_spec(self._store, self.name)
        return load_context(self._store, loaded[0]) if loaded else None

    def _with_connections(self, snapshot: Snapshot, record: ServiceRecord) -> Snapshot:
        """Of instances that are being drained: what they still serve."""
        seen = dict(snapshot.observations)
        for instance in record.instances:
            if instance.draining_since is not None:
                with suppress(EndpointFailedError):
                    number = self._endpoint.connections(self.name, instance.name)
                    seen[instance.name] = replace(seen[instance.name], connections=number)
        return replace(snapshot, observations=seen)

    def _expected(self) -> tuple[ServiceContext, ServiceRecord] | None:
        """What the store probably has, so that it need not be asked before the servers are."""
        if self.known is None or self._records is None:
            return None
        return self.known[1], self._records.read()

    def _look(self) -> PlaybookContext | None:
        # The servers first: a store that has lost a machine, too, may need seconds to answer.
        expected, snapshot = self._expected(), None
        if expected is not None:
            snapshot = self.observer.observe(*expected)
            self._seen = expected[1], snapshot
        kept = at_one_moment(self._store, self.name)
        loaded = load_spec(kept, self.name)
        if loaded is None:
            return None
        spec, version = loaded
        if version != self._spec_version:
            self._spec_version = version
            self._retries.spec_changed()
            self._backing_off = self._retries.backing_off()
        service = load_context(kept, spec)
        record, record_version = load_record(kept, self.name)
        self._record_version = record_version
        self.known = spec, service, record
        self._records = KeptRecords(self._store, self.name, record, record_version)
        if snapshot is None or (service, record) != expected:
            snapshot = self.observer.observe(service, record)
        self._seen = record, snapshot
        snapshot = replace(snapshot, hosts={host.name: host for host in self._runtime.hosts()})
        if self.driver.replication is None:
            snapshot = self._with_connections(snapshot, record)
        return PlaybookContext(
            spec=spec,
            service=service,
            decision=decide(spec, record, snapshot, self.driver.capabilities, self._backing_off),
            snapshot=snapshot,
            records=self._records,
            driver=self.driver,
            runtime=self._runtime,
            clock=self._clock,
            endpoint=self._endpoint,
            backing_off=self._backing_off,
        )
