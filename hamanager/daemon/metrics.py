"""What Prometheus is told: how each service is, by the last look at it, and what was done.

Base units, and nothing that an engine's own exporter tells better. A service is told of by the
manager that leads it, so that the sum over all managers is right.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.model.decision import Action
from hamanager.model.history import HistoryEntry
from hamanager.model.instance import InstanceRecord
from hamanager.model.kept import Facts
from hamanager.model.snapshot import Contact, Observation, Role

CONTENT_TYPE = CONTENT_TYPE_LATEST
FAILOVERS = (Action.FAIL_OVER.value, Action.ADOPT.value, Action.FORCE.value)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RUNS_KEPT = 1_000
"""Of which neither the end was heard: they belong to managers' ends."""
ROLES = {Role.PRIMARY: "primary", Role.STANDBY: "standby"}


@dataclass(frozen=True)
class Watched:
    """What a manager knows of a service that it watches."""

    facts: Facts | None
    """As seen last; None before the first look."""
    leads: bool
    """It may act on it."""


class Heard:
    """A store that tells of what is added to the history, and when it has answered last."""

    def __init__(self, inner: Store, clock: Clock, note: Callable[[HistoryEntry], None]) -> None:
        self._inner, self._clock, self._note = inner, clock, note
        self._heard_at = clock.monotonic()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def noted(*arguments: Any, **named: Any) -> Any:
            answer = attribute(*arguments, **named)
            self._heard_at = self._clock.monotonic()
            return answer

        return noted

    def append(self, entry: HistoryEntry) -> None:
        """Add to the history, and tell."""
        self._inner.append(entry)
        self._heard_at = self._clock.monotonic()
        self._note(entry)

    @property
    def silent_seconds(self) -> float:
        """Since its last answer."""
        return self._clock.monotonic() - self._heard_at


class Metrics:
    """Thread-safe."""

    def __init__(self) -> None:
        # When each was counted first: nobody asks for that.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._counted = CollectorRegistry()
        """What changes by entries of the history alone, and is half of all that is told."""
        self._entries = 0
        self._counted_text = (-1, b"")
        """As told last, and after how many entries."""
        self._lock = threading.Lock()
        self._rules: dict[str, tuple[str, str]] = {}
        """By run: its rule and its playbook."""
        self._failovers = Counter(
            "hamanager_failovers",
            "Changes of primary that nobody planned, by the rule that decided them",
            ("service", "reason", "result"),
            registry=self._counted,
        )
        self._failover_seconds = Histogram(
            "hamanager_failover_seconds",
            "How long such a change took, from the decision to its end",
            ("service",),
            buckets=SECONDS,
            registry=self._counted,
        )
        # Not by service: a histogram of each step of each would be most of what is told.
        self._step_seconds = Histogram(
            "hamanager_failover_step_seconds",
            "How long each step of such a change took, of all services together",
            ("step",),
            buckets=SECONDS,
            registry=self._counted,
        )
        self._decisions = Counter(
            "hamanager_decisions",
            "Decisions that were carried out, and waits that began, by rule",
            ("service", "rule"),
            registry=self._counted,
        )

    def heard(
        self, store: Store, clock: Clock, also: Callable[[HistoryEntry], None] | None = None
    ) -> Store:
        """The same store, whose answers and entries are counted; `also` hears of each entry, too,
        and returns at once."""

        def note(entry: HistoryEntry) -> None:
            self.note(entry)
            if also is not None:
                also(entry)

        heard = Heard(store, clock, note)
        self._registry.register(_OfStore(heard))
        return cast(Store, heard)

    def watch(self, watched: Callable[[], Mapping[str, Watched]]) -> None:
        """Tell of these services, whenever somebody asks."""
        self._registry.register(_OfServices(watched))

    def watch_canaries(self, acknowledged_seconds: Callable[[], Mapping[str, float]]) -> None:
        """Tell how long ago the last write of each service's canary was acknowledged."""
        self._registry.register(_OfCanaries(acknowledged_seconds))

    def watch_retained(self, counted_bytes: Callable[[], Mapping[str, int]]) -> None:
        """Tell how much the retained volumes of each service take on disk."""
        self._registry.register(_OfRetained(counted_bytes))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry) + self._counted_as_text()

    def _counted_as_text(self) -> bytes:
        entries, (told_after, text) = self._entries, self._counted_text
        if told_after != entries:
            text = generate_latest(self._counted)
            self._counted_text = entries, text
        return text

    def note(self, entry: HistoryEntry) -> None:
        """Something was added to the history."""
        try:
            self._count(entry)
        finally:
            with self._lock:
                self._entries += 1

    def _count(self, entry: HistoryEntry) -> None:
        if entry.rule:
            self._decisions.labels(entry.service, entry.rule).inc()
        with self._lock:
            if entry.kind == "decision":
                self._rules[entry.run] = entry.rule, entry.playbook
                while len(self._rules) > RUNS_KEPT:
                    del self._rules[next(iter(self._rules))]
            rule, playbook = self._rules.get(entry.run, ("", ""))
            if entry.kind == "outcome":
                self._rules.pop(entry.run, None)
        if playbook not in FAILOVERS or entry.seconds is None:
            return
        if entry.kind == "step":
            self._step_seconds.labels(_without_names(entry)).observe(entry.seconds)
        elif entry.kind == "outcome":
            result = "done" if entry.ok else "failed"
            self._failovers.labels(entry.service, rule, result).inc()
            self._failover_seconds.labels(entry.service).observe(entry.seconds)


def _without_names(entry: HistoryEntry) -> str:
    """`promote db.1` is the step `promote it`, whichever instance it was."""
    return re.sub(rf"\b{re.escape(entry.service)}\.\d+\b", "it", entry.step)


class _OfStore(Collector):
    def __init__(self, store: Heard) -> None:
        self._store = store

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "hamanager_store_last_seen_seconds",
            "Since the store has answered last",
            value=self._store.silent_seconds,
        )


class _OfCanaries(Collector):
    def __init__(self, seconds: Callable[[], Mapping[str, float]]) -> None:
        self._seconds = seconds

    def collect(self) -> Iterable[GaugeMetricFamily]:
        about = "Since the last write of its canary was acknowledged"
        family = _family("canary_seconds", about, "service")
        for name, seconds in self._seconds().items():
            family.add_metric([name], seconds)
        yield family


class _OfRetained(Collector):
    def __init__(self, counted_bytes: Callable[[], Mapping[str, int]]) -> None:
        self._counted_bytes = counted_bytes

    def collect(self) -> Iterable[GaugeMetricFamily]:
        about = (
            "On disk, of the volumes set aside by rebuilds; each is counted once, as nothing"
            " changes in it, and the service is left out while one has not been counted"
        )
        family = _family("retained_bytes", about, "service")
        for name, size in self._counted_bytes().items():
            family.add_metric([name], float(size))
        yield family


class _OfServices(Collector):
    def __init__(self, watched: Callable[[], Mapping[str, Watched]]) -> None:
        self._watched = watched

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked when it is registered."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family after the other."""
        watched = self._watched()
        known = {name: one.facts for name, one in watched.items() if one.facts is not None}
        leads = _family("is_leader", "Whether this manager acts on the service", "service")
        paused = _family("paused", "Whether an operator has paused it", "service")
        retained = _family("retained_volumes", "Volumes set aside by rebuilds", "service")
        term = _family("term", "Of the service's record: grows with each promotion", "service")
        for name, one in watched.items():
            leads.add_metric([name], float(one.leads))
        for name, facts in known.items():
            paused.add_metric([name], float(facts.spec.paused))
            retained.add_metric([name], float(len(facts.record.retained)))
            term.add_metric([name], float(facts.record.term))
        yield from (leads, paused, retained, term)
        yield from _of_instances(known)


def _of_instances(known: Mapping[str, Facts]) -> Iterator[GaugeMetricFamily]:
    of_one = ("service", "instance")
    families = {
        "up": _family("instance_up", "Whether it answers", *of_one),
        "role": _family("instance_role", "1 for the role that it has", *of_one, "role"),
        "lag": _family("replication_lag_seconds", "How far a standby is behind", *of_one),
        "sync": _family("in_sync_set", "Whether writes wait for that standby", *of_one),
        "copy": _family("copy_bytes", "Of a first copy that is under way", *of_one, "kind"),
        "errant": _family("errant_writes", "Whether it has what its primary has not", *of_one),
        "probe": _family("probe_seconds", "How long its last answer took", *of_one),
    }
    for name, facts in known.items():
        for instance in facts.record.instances:
            seen = facts.snapshot.of(instance.name)
            if seen is not None:
                for kind, labels, value in _of_instance(facts, instance, seen):
                    families[kind].add_metric([name, instance.name, *labels], value)
    yield from families.values()


def _of_instance(
    facts: Facts, instance: InstanceRecord, seen: Observation
) -> Iterator[tuple[str, tuple[str, ...], float]]:
    yield "up", (), float(seen.contact is Contact.ANSWERS)
    if seen.probe_seconds is not None:
        yield "probe", (), seen.probe_seconds
    status = seen.status
    if status is None:
        return
    for role, word in ROLES.items():
        yield "role", (word,), float(status.role is role)
    if instance.name == facts.record.primary:
        return
    yield "sync", (), float(instance.name in facts.record.sync_set)
    yield "errant", (), float(bool(seen.errant_writes))
    if seen.lag_seconds is not None:
        yield "lag", (), seen.lag_seconds
    if status.sync is not None:
        for kind, size in (
            ("done", status.sync.bytes_done),
            ("total", status.sync.bytes_total),
        ):
            if size is not None:
                yield "copy", (kind,), float(size)


def _family(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hamanager_{name}", about, labels=labels)
