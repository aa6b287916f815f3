"""The observer: one look at a service, everything in parallel, everything bounded.

The only part of the core that reads the clock for a decision.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import Place, Runtime
from hamanager.errors import BusyError, HamanagerError, RefusedError
from hamanager.lag import LagMeter
from hamanager.values.service import InstanceRecord, ServiceContext, ServiceRecord, Target
from hamanager.values.snapshot import (
    Contact,
    Observation,
    Process,
    Role,
    ServerStatus,
    Snapshot,
)
from hamanager.values.syncing import eligible

log = logging.getLogger("hamanager")

LOOK_SECONDS = 2.5
"""The longest a look takes: probes are bounded to about 1 s, the runtime's answer to 2 s."""
HUNG_LOOK_SECONDS = 0.05
"""How long a look waits for an instance that did not answer the last one."""
LONGEST_GAP_SECONDS = 5.0
"""After a longer pause between two looks (a suspended machine, a stopped manager) silence is
counted anew: what was not looked at was not silent."""
MEMORY_SAMPLE_SECONDS = 2.0
ROLLBACK_SAMPLE_SECONDS = 10.0


@dataclass
class _Look:
    """What one instance gave away: filled by a worker thread, read by the observer."""

    process: Process = Process.UNKNOWN
    contact: Contact = Contact.SILENT
    status: ServerStatus | None = None
    memory_used_bytes: int | None = None
    cache_bytes: int | None = None
    detail: str = "no answer in time"
    warnings: tuple[str, ...] = ()


class Observer:
    """Looks at one service. Not thread-safe: one pass at a time uses it."""

    def __init__(self, driver: Driver, runtime: Runtime, clock: Clock, executor: Executor) -> None:
        self._driver = driver
        self._runtime = runtime
        self._clock = clock
        self._executor = executor
        self._under_way: dict[str, Future[_Look]] = {}
        self._reported: dict[str, str] = {}
        self._silent_since: dict[str, float] = {}
        """When the first question was asked that it has not answered since."""
        self._last_look: float | None = None
        self._rates = _Rates()
        self._memory: dict[str, tuple[float, int | None, int | None]] = {}
        self._undone: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lag = LagMeter(driver.has_applied)
        self._led: tuple[str, ServerStatus] | None = None
        """The primary on record when it was last seen to lead."""

    def note_trip(self, instance: str) -> None:
        """A tripwire of that instance ended just now: its silence is counted from here."""
        self._silent_since.setdefault(instance, self._clock.monotonic())

    def look(self, service: ServiceContext, record: ServiceRecord) -> Snapshot:
        """Ask every instance and the runtime."""
        began = self._clock.monotonic()
        looks = self._look_at_all(service, record)
        now = self._clock.monotonic()
        if self._last_look is None or now - self._last_look > LONGEST_GAP_SECONDS:
            self._silent_since.clear()
        self._last_look = now
        seen = {name: self._observation(name, look, began, now) for name, look in looks.items()}
        related = self._relate(record, seen)
        related = self._lag.measured(
            record.primary,
            related,
            {instance.name for instance in record.instances if instance.joined},
            began,
            self._clock.now(),
        )
        candidates, primary_has_all = self._rank(record, related)
        last_resorts, shortfalls = self._last_resorts(record, related, candidates)
        return Snapshot(
            self._clock.now(), related, candidates, last_resorts, shortfalls, primary_has_all
        )

    def _look_at_all(self, service: ServiceContext, record: ServiceRecord) -> dict[str, _Look]:
        names = {instance.name for instance in record.instances}
        for gone in set(self._under_way) - names:
            del self._under_way[gone]
        hung = set(self._under_way) | set(self._silent_since)
        for instance in record.instances:
            if instance.name not in self._under_way:
                self._under_way[instance.name] = self._executor.submit(
                    self._look_at, service, instance
                )
        # One that gave no answer last time must not slow down what is seen of the others.
        wait([f for name, f in self._under_way.items() if name not in hung], LOOK_SECONDS)
        wait([f for name, f in self._under_way.items() if name in hung], HUNG_LOOK_SECONDS)
        looks = {}
        for name in names:
            future = self._under_way[name]
            if future.done():
                del self._under_way[name]
                looks[name] = future.result()
            else:
                looks[name] = _Look()
                place = _place(service, record, name)
                looks[name].process = self._runtime.process(place)
        return looks

    def _look_at(self, service: ServiceContext, instance: InstanceRecord) -> _Look:
        """What can be learned of one instance. A fault of ours or of a driver's costs what it was
        to tell, not the sight of the instance, nor of the others: it counts as no answer."""
        look = _Look()
        try:
            self._fill(look, service, instance)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be seen
            if look.status is None:
                look.detail = f"looking at it failed unexpectedly: {error!r}"
            self._report(instance.name, error)
        return look

    def _report(self, instance: str, error: Exception) -> None:
        """The same fault once, however many looks it spoils."""
        if self._reported.get(instance) != repr(error):
            self._reported[instance] = repr(error)
            log.error("%s: looking at it failed unexpectedly", instance, exc_info=error)

    def _fill(self, look: _Look, service: ServiceContext, instance: InstanceRecord) -> None:
        place = Place(service.name, instance.name, instance.generation)
        look.process = self._runtime.process(place)
        if look.process in (Process.EXITED, Process.MISSING):
            look.contact = Contact.REFUSED
            look.detail = "its process has ended"
            return
        try:
            look.status = self._driver.probe(service, Target.of(instance))
            look.contact = Contact.ANSWERS
            look.detail = ""
        except BusyError as error:
            look.contact, look.detail = Contact.BUSY, str(error)
        except RefusedError as error:
            look.contact, look.detail = Contact.REFUSED, str(error)
            # It may have ended between the two questions.
            look.process = self._runtime.process(place)
        except HamanagerError as error:
            look.detail = str(error)
        look.memory_used_bytes, look.cache_bytes = self._memory_used(
            service, instance, answers=look.status is not None
        )
        look.warnings = self._rolled_back(place)

    def _rolled_back(self, place: Place) -> tuple[str, ...]:
        """Files of writes that the engine had to undo; looked for now and then."""
        directory = self._driver.capabilities.rollback_directory
        if not directory:
            return ()
        now = self._clock.monotonic()
        listed = self._undone.get(place.instance)
        if listed is None or now - listed[0] > ROLLBACK_SAMPLE_SECONDS:
            try:
                files = self._runtime.file_names(place, directory)
            except HamanagerError:
                files = ()
            listed = self._undone[place.instance] = (now, files)
        if not listed[1]:
            return ()
        names = ", ".join(listed[1])
        undone = f"writes that no majority had were undone on {place.instance}"
        return (f"{undone} and lie in {directory}: {names}",)

    def _memory_used(
        self, service: ServiceContext, instance: InstanceRecord, *, answers: bool
    ) -> tuple[int | None, int | None]:
        """For people only, so not asked anew in every look."""
        now = self._clock.monotonic()
        sampled = self._memory.get(instance.name)
        unknown = sampled is None or (answers and sampled[2] is None)
        if sampled is None or unknown or now - sampled[0] > MEMORY_SAMPLE_SECONDS:
            place = Place(service.name, instance.name, instance.generation)
            used, cache = self._runtime.memory_used(place), None
            if answers:
                with suppress(HamanagerError):
                    cache = self._driver.cache_bytes(service, Target.of(instance))
            if cache is not None and used is not None:
                cache = min(cache, used)  # an engine also counts what it has not touched yet
            sampled = self._memory[instance.name] = (now, used, cache)
        return sampled[1:]

    def _observation(self, name: str, look: _Look, began: float, now: float) -> Observation:
        alive = look.contact in (Contact.ANSWERS, Contact.BUSY)
        if alive:
            self._silent_since.pop(name, None)
        else:
            self._silent_since.setdefault(name, began)
        return Observation(
            process=look.process,
            contact=look.contact,
            status=self._rates.with_rate(name, look.status, now),
            silent_seconds=now - self._silent_since.get(name, now),
            detail=look.detail,
            memory_used_bytes=look.memory_used_bytes,
            cache_bytes=look.cache_bytes,
            warnings=look.warnings,
        )

    def _relate(
        self, record: ServiceRecord, seen: Mapping[str, Observation]
    ) -> dict[str, Observation]:
        primary = record.instance(record.primary)
        primary_status = seen[primary.name].status if primary else None
        members = [Target.of(instance) for instance in record.instances]
        related = dict(seen)
        if primary is None or primary_status is None or primary_status.role is not Role.PRIMARY:
            return related
        self._led = (primary.name, primary_status)
        for instance in record.instances:
            status = seen[instance.name].status
            if status is None or instance.name == primary.name:
                continue
            relation = self._driver.relate(
                Target.of(instance), status, Target.of(primary), primary_status, members
            )
            excess = self._driver.excess(status, primary_status)
            related[instance.name] = replace(seen[instance.name], relation=relation, excess=excess)
        return related

    def _rank(
        self, record: ServiceRecord, seen: Mapping[str, Observation]
    ) -> tuple[tuple[str, ...], bool]:
        """The candidates, and whether the primary on record has all that they have."""
        able = eligible(record, self._driver.capabilities, _statuses(seen))
        candidates = self._driver.rank(able)
        primary = seen.get(record.primary or "")
        if primary is None or primary.status is None or record.primary is None:
            return candidates, False
        unseen = [i for i in record.instances if i.name not in (*able, record.primary)]
        if primary.status.empty and any(i.joined for i in unseen):
            return candidates, False  # it lost its data, and they may have them
        # Among equals the first name stands first: this one comes before every other.
        with_primary = self._driver.rank({"": primary.status, **able})
        return candidates, with_primary[:1] == ("",)

    def _last_resorts(
        self, record: ServiceRecord, seen: Mapping[str, Observation], candidates: tuple[str, ...]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """Whom only a person's order promotes, and what each is known to lack."""
        others = {
            name: status
            for name, status in _statuses(seen).items()
            if name not in (record.primary, *candidates) and not status.empty
        }
        joined = {i.name for i in record.instances if i.joined}
        others = {name: status for name, status in others.items() if name in joined}
        ranked = self._driver.rank(others)
        ranked += tuple(sorted(set(others) - set(ranked)))
        if self._led is None or self._led[0] != record.primary:
            return ranked, {}
        led = self._led[1]
        return ranked, {name: self._driver.shortfall(others[name], led) for name in ranked}


class _Rates:
    """Fills in the speed and the remaining time of copies whose engine does not tell them."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[str, float, int]] = {}

    def with_rate(self, name: str, status: ServerStatus | None, now: float) -> ServerStatus | None:
        """The status with the mean speed since the present stage was first seen."""
        sync = status.sync if status else None
        if status is None or sync is None or sync.bytes_done is None:
            self._began.pop(name, None)
            return status
        stage, began, bytes_then = self._began.setdefault(name, (sync.stage, now, sync.bytes_done))
        if stage != sync.stage or sync.bytes_done < bytes_then:
            stage, began, bytes_then = self._began[name] = (sync.stage, now, sync.bytes_done)
        if sync.bytes_per_second is None and now > began:
            speed = (sync.bytes_done - bytes_then) / (now - began)
            sync = replace(sync, bytes_per_second=speed)
        if sync.eta_seconds is None and sync.bytes_total is not None and sync.bytes_per_second:
            left = max(0, sync.bytes_total - (sync.bytes_done or 0))
            sync = replace(sync, eta_seconds=left / sync.bytes_per_second)
        return replace(status, sync=sync)


def _statuses(seen: Mapping[str, Observation]) -> dict[str, ServerStatus]:
    return {name: look.status for name, look in seen.items() if look.status is not None}


def _place(service: ServiceContext, record: ServiceRecord, name: str) -> Place:
    instance = record.instance(name)
    return Place(service.name, name, instance.generation if instance else 1)
