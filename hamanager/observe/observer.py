"""The observer: asks all of a service at once, everything in parallel, everything bounded.

The only part of the core that reads the clock for a decision.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.errors import BusyError, HamanagerError, RefusedError
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Process,
    ServerStatus,
    Snapshot,
    links_to,
)
from hamanager.observe.copy_rate import CopyRates
from hamanager.observe.lag import LagMeter
from hamanager.observe.questions import Asked, News, Questions, Threads, wait_while
from hamanager.observe.samples import Samples
from hamanager.observe.standing import Led, leading, ranked, related

log = logging.getLogger("hamanager")

OBSERVATION_SECONDS = 2.5
"""The longest it takes: probes are bounded to about 1 s, the runtime's answer to 2 s."""
WORD_SECONDS = 1.0
"""How long the runtime's word is waited for when the server has not answered either, as when their
host is away."""
REFUSED_SECONDS = 0.02
"""The same when the server refuses connections. An engine says that a process has ended after it
has cleared up behind it, 0.1 to 0.2 s later; until then its word would be another one. The kernel
of this machine tells at once."""
HUNG_ANSWER_SECONDS = 0.05
"""How long it waits for an instance that did not answer the last time, and for the runtime's word
on one that has given a sign of life already."""
LONGEST_GAP_SECONDS = 5.0
"""After a longer pause between two observations (a suspended machine, a stopped manager) silence is
counted anew: what was not looked at was not silent."""
ASKED_FOR_SECONDS = 5.0
"""A process that somebody asked to end and that runs after so long is another one."""
PROBE, PROCESS = "probe", "process"


@dataclass
class _Answers:
    """What one instance gave away in answer to the questions of one observation."""

    process: Process = Process.UNKNOWN
    contact: Contact = Contact.SILENT
    status: ServerStatus | None = None
    detail: str = "no answer in time"
    seconds: float | None = None
    """How long the server's answer took."""

    @property
    def alive(self) -> bool:
        return self.contact in (Contact.ANSWERS, Contact.BUSY)


class Observer:
    """Looks at one service. Not thread-safe: one pass at a time uses it."""

    def __init__(self, driver: Driver, runtime: Runtime, clock: Clock, threads: Threads) -> None:
        self._driver = driver
        self._runtime = runtime
        self._clock = clock
        self._threads = threads
        self._questions = Questions()
        self._news = News()
        self._ended: set[str] = set()
        """Instances whose process may have ended since the runtime was asked."""
        self._asked_to_end: dict[str, tuple[float, str]] = {}
        """When that was heard of, and from which host."""
        self._samples = Samples(driver, runtime, clock, threads, self._report)
        self._runtime_silent: set[str] = set()
        """Instances that the runtime had no word on in the last observation."""
        self._reported: dict[str, str] = {}
        self._silent_since: dict[str, float] = {}
        """When the first question was asked that it has not answered since."""
        self._places: dict[str, tuple[int, Target]] = {}
        """Where each one was looked for last."""
        self._sources: dict[tuple[str, int], tuple[str | None, float]] = {}
        """Whom each one follows, and since when it was seen to in every observation."""
        self._answered: dict[str, float] = {}
        """When the last question was asked that it answered."""
        self._primary: tuple[ServiceContext, Target] | None = None
        """As of the last observation."""
        self._last_observation: float | None = None
        self._rates = CopyRates()
        self._replication = driver.replication
        self._lag = LagMeter(self._replication.has_applied) if self._replication else None
        self._led: Led | None = None

    def note_trip(self, instance: str) -> None:
        """A tripwire of that instance ended just now: its silence is counted from here."""
        self._silent_since.setdefault(instance, self._clock.monotonic())
        self.note_event(instance)

    def note_event(self, instance: str) -> None:
        """From any thread: perhaps its process has ended just now. An observation that waits
        for the server's answer, which may never come, asks the runtime once more."""
        self._ended.add(instance)
        self._news.tell()

    def note_asked_to_end(self, instance: str, placed_on: str = "") -> None:
        """From any thread: somebody other than the manager has just asked its process to end, on
        that host."""
        self._asked_to_end[instance] = self._clock.monotonic(), placed_on

    def ask_primary(self) -> bool:
        """Between two observations, from any thread: whether the primary gave a sign of life. If
        not, its silence is counted from this question, which is sooner than the next one's."""
        if self._primary is None:
            return True
        service, target = self._primary
        if target.name in self._silent_since:
            return True  # which is known: the observations go on
        began = self._clock.monotonic()
        try:
            self._driver.probe(service, target)
        except BusyError:
            return True
        except HamanagerError:
            if self._answered.get(target.name, began - 1) > began:
                return True  # it has answered a later question
            since = self._silent_since.setdefault(target.name, began)
            self._silent_since[target.name] = min(since, began)
            return False
        return True

    def observe(self, service: ServiceContext, record: ServiceRecord) -> Snapshot:
        """Ask every instance and the runtime."""
        began = self._clock.monotonic()
        for instance in record.instances:
            place = instance.generation, Target.of(instance)
            if self._places.get(instance.name, place) != place:  # that was silent, and not this
                self._silent_since.pop(instance.name, None)
                self._questions.forget(instance.name)
            self._places[instance.name] = place
        primary = record.instance(record.primary)
        self._primary = (service, Target.of(primary)) if primary else None
        answers = self._answers_of_all(service, record, began)
        now = self._clock.monotonic()
        if self._last_observation is None or now - self._last_observation > LONGEST_GAP_SECONDS:
            self._silent_since.clear()
            self._sources.clear()
        self._last_observation = now
        alive = {name for name, answer in answers.items() if answer.status is not None}
        there = [i for i in record.instances if not _gone(answers[i.name])]
        self._samples.take(service, there, alive)
        seen = {
            instance.name: self._observation(
                _place(service, instance), answers[instance.name], began, now
            )
            for instance in record.instances
        }
        if self._replication is None or self._lag is None:
            return Snapshot(self._clock.now(), seen)
        told = related(self._replication, record, seen)
        self._led = leading(record, told) or self._led
        told = self._lag.measured(
            record.primary,
            told,
            {instance.name for instance in record.instances if instance.joined},
            began,
            self._clock.now(),
        )
        capabilities, at = self._driver.capabilities, self._clock.now()
        return ranked(self._replication, capabilities, record, told, self._led, at)

    def _answers_of_all(
        self, service: ServiceContext, record: ServiceRecord, began: float
    ) -> dict[str, _Answers]:
        """Ask the servers and the runtime side by side: neither waits for the other, and only what
        was asked in this observation counts."""
        names = {instance.name for instance in record.instances}
        self._questions.forget_all_but(names)
        # Who gave no answer last time must not slow down what is seen of the others. One whose
        # answer came too late is waited for again.
        slow, mute = set(self._silent_since), set(self._runtime_silent)
        silent = {host.name for host in self._runtime.hosts() if not host.answers}
        slow |= {instance.name for instance in record.instances if instance.placed_on in silent}
        for instance in record.instances:
            name = instance.name
            if not self._questions.is_open((name, PROCESS)):
                self._ended.discard(name)  # it is asked now
            for key, without in (((name, PROBE), slow), ((name, PROCESS), mute)):
                if self._questions.is_open(key):
                    without.add(name)
                elif _tells(self._questions.answer(key)):
                    without.discard(name)
            if name not in mute and self._refused(name):
                slow.discard(name)  # that came at once
            self._questions.ask(
                (name, PROBE), began, self._threads.probes, self._probe, service, instance
            )
            self._ask_runtime(_place(service, instance), began)
        deadline = began + OBSERVATION_SECONDS

        def awaited() -> Iterator[Asked[Any]]:
            self._ask_about_ended(service, record)
            enough = self._known_without(record, began)
            return self._awaited(names - slow, mute | enough, began)

        for until in (began + REFUSED_SECONDS, began + WORD_SECONDS, deadline):
            wait_while(awaited, until, self._clock, self._news)
        for instance in record.instances:
            answer = self._answers_of(instance.name, began)
            if answer.contact is Contact.REFUSED and answer.process is Process.RUNNING:
                # It may have ended between the two answers.
                self._ask_runtime(_place(service, instance), self._clock.monotonic())
        wait_while(awaited, deadline, self._clock, self._news)
        soon = self._clock.monotonic() + HUNG_ANSWER_SECONDS

        def still_open() -> Iterator[Asked[Any]]:
            return self._open(names - self._known_without(record, began), began)

        for until in (began + REFUSED_SECONDS, soon):
            wait_while(still_open, min(until, soon), self._clock, self._news)
        answers = {name: self._answers_of(name, began) for name in names}
        self._runtime_silent = {
            n for n, answer in answers.items() if answer.process is Process.UNKNOWN
        }
        return answers

    def _known_without(self, record: ServiceRecord, since: float) -> set[str]:
        """Of whom enough is known by now without the runtime's word. A primary that refuses
        connections and that its standbys have lost is dead by both sides' word."""
        passed = self._clock.monotonic() - since
        if passed < REFUSED_SECONDS:
            return set()
        answers = {i.name: self._answers_of(i.name, since) for i in record.instances}
        late = passed >= WORD_SECONDS
        known = {n for n, answer in answers.items() if late and answer.contact is Contact.SILENT}
        primary = record.instance(record.primary)
        if primary is None or answers[primary.name].contact is not Contact.REFUSED:
            return known
        others = (answer.status for name, answer in answers.items() if name != primary.name)
        links = links_to(primary.replication_address, others)
        if links and not any(links):
            known.add(primary.name)
        return known

    def _refused(self, name: str) -> bool:
        """Whether its server refused the last connection."""
        answer = self._questions.answer((name, PROBE))
        return isinstance(answer, _Answers) and answer.contact is Contact.REFUSED

    def _awaited(self, names: set[str], mute: set[str], since: float) -> Iterator[Asked[Any]]:
        """The answers without which nothing can be said of these: the server's sign of life is one
        by itself, the runtime's word that there is no process is another."""
        for name in names:
            answer = self._answers_of(name, since)
            probe = self._questions.under_way((name, PROBE))
            process = self._questions.under_way((name, PROCESS))
            if answer.alive or _gone(answer) or probe is None or process is None:
                continue
            yield probe
            if probe.told(since) is None or name not in mute:
                yield process

    def _open(self, names: set[str], since: float) -> Iterator[Asked[Any]]:
        """Whatever was asked of these and may still tell something."""
        for name in names:
            if not _gone(self._answers_of(name, since)):
                asked = (self._questions.under_way((name, kind)) for kind in (PROBE, PROCESS))
                yield from (one for one in asked if one is not None)

    def _answers_of(self, name: str, since: float) -> _Answers:
        """What the answers to the questions asked since then amount to."""
        probe = self._questions.under_way((name, PROBE))
        answer: _Answers = (probe.told(since) if probe else None) or _Answers()
        process = self._questions.under_way((name, PROCESS))
        word: Process = (process.told(since) if process else None) or Process.UNKNOWN
        if word in (Process.EXITED, Process.MISSING):
            return _Answers(word, Contact.REFUSED, detail="its process has ended")
        return replace(answer, process=word)

    def _ask_about_ended(self, service: ServiceContext, record: ServiceRecord) -> None:
        for name in list(self._ended):
            if self._questions.is_open((name, PROCESS)):
                continue  # its answer may be from before the end
            self._ended.discard(name)
            instance = record.instance(name)
            if instance is not None:
                self._ask_runtime(_place(service, instance), self._clock.monotonic())

    def _ask_runtime(self, ref: InstanceRef, now: float) -> None:
        key = (ref.instance, PROCESS)
        known = self._runtime.known_process(ref)
        if known is not None and not self._questions.is_open(key):
            self._questions.tell(key, now, known)
            return
        self._questions.ask(key, now, self._threads.runtime, self._process, ref)

    def _process(self, ref: InstanceRef) -> Process:
        try:
            return self._runtime.process(ref)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be seen
            self._report(ref.instance, error)
            return Process.UNKNOWN

    def _probe(self, service: ServiceContext, instance: InstanceRecord) -> _Answers:
        """What the server says. A fault of ours or of a driver's counts as no answer: it must not
        cost the sight of the others."""
        answer, began = _Answers(), self._clock.monotonic()
        try:
            answer.status = self._driver.probe(service, Target.of(instance))
            answer.seconds = self._clock.monotonic() - began
            answer.contact, answer.detail = Contact.ANSWERS, ""
        except BusyError as error:
            answer.contact, answer.detail = Contact.BUSY, str(error)
        except RefusedError as error:
            answer.contact, answer.detail = Contact.REFUSED, str(error)
        except HamanagerError as error:
            answer.detail = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be seen
            answer.detail = f"looking at it failed unexpectedly: {error!r}"
            self._report(instance.name, error)
        return answer

    def _report(self, instance: str, error: Exception) -> None:
        """The same fault once, however many observations it spoils."""
        if self._reported.get(instance) != repr(error):
            self._reported[instance] = repr(error)
            log.error("%s: looking at it failed unexpectedly", instance, exc_info=error)

    def _observation(
        self, ref: InstanceRef, answer: _Answers, began: float, now: float
    ) -> Observation:
        name = ref.instance
        used, cache = (None, None) if _gone(answer) else self._samples.memory(ref)
        if answer.alive:
            self._silent_since.pop(name, None)
            self._answered[name] = began
        else:
            self._silent_since.setdefault(name, began)
        return Observation(
            process=answer.process,
            contact=answer.contact,
            status=self._rates.with_rate(name, answer.status, now),
            silent_seconds=now - self._silent_since.get(name, now),
            probe_seconds=answer.seconds,
            answered_seconds=now - self._answered[name] if name in self._answered else None,
            same_source_seconds=self._same_source_seconds(ref, answer.status, began, now),
            detail=answer.detail,
            asked_to_end_seconds=self._asked_to_end_seconds(ref, answer, now),
            memory_used_bytes=used,
            cache_bytes=cache,
            warnings=self._samples.warnings(ref),
        )

    def _same_source_seconds(
        self, ref: InstanceRef, status: ServerStatus | None, began: float, now: float
    ) -> float:
        """From the end of the first such observation to the beginning of this one."""
        key = ref.instance, ref.generation
        known = self._sources.pop(key, None)
        if status is None:
            return 0.0
        since = known[1] if known is not None and known[0] == status.source else now
        self._sources[key] = status.source, since
        return max(0.0, began - since)

    def _asked_to_end_seconds(self, ref: InstanceRef, answer: _Answers, now: float) -> float | None:
        since, placed_on = self._asked_to_end.get(ref.instance, (-ASKED_FOR_SECONDS, ""))
        another_one = ref.placed_on not in ("", placed_on)
        if another_one or _gone(answer) or now - since > ASKED_FOR_SECONDS:
            self._asked_to_end.pop(ref.instance, None)  # whatever runs next was not asked
            return None
        return now - since


def _place(service: ServiceContext, instance: InstanceRecord) -> InstanceRef:
    return InstanceRef.of(service.name, instance)


def _gone(answer: _Answers) -> bool:
    return answer.process in (Process.EXITED, Process.MISSING)


def _tells(answer: _Answers | Process | None) -> bool:
    """Whether that answer, now too old, shows that it is worth waiting for the next one."""
    return answer.alive if isinstance(answer, _Answers) else answer not in (None, Process.UNKNOWN)
