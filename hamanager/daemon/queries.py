"""What the API asks the daemon: it reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from hamanager.api.environment import ConnectionView
from hamanager.api.reasons import Fault, ForecastView, ReasonsView
from hamanager.api.views import ManagerView, ServiceState, ServiceView
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Connection, Driver
from hamanager.contracts.runtime import InstanceRef, LogLine, Runtime
from hamanager.contracts.store import Store
from hamanager.daemon.canaries import Watched as Audited
from hamanager.daemon.explanations import forecast, kept_facts, reasons_view
from hamanager.daemon.leading import Leading
from hamanager.daemon.metrics import Watched
from hamanager.daemon.unmanaged import Unmanaged
from hamanager.daemon.view_builder import service_view
from hamanager.daemon.worker import Worker
from hamanager.decide.situation import Situation
from hamanager.errors import HamanagerError, NotFoundError, StoreError, UnmanageableError
from hamanager.model.history import HistoryEntry
from hamanager.model.instance import InstanceRecord
from hamanager.model.kept import Facts
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.shell import ShellView
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from hamanager.stores.repository import (
    load_context,
    load_record,
    load_spec,
    load_whole,
    service_names,
)

LOOK_SECONDS = 1.5
"""What was seen that lately is recent enough for a load balancer: a worker looks once a second."""


RUNS_WITHIN = 500
"""Entries of the history, among which are the last runs."""


class Queries:
    """Answers from what is written down and from what the workers saw last. Thread-safe."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, Driver],
        runtime: Runtime,
        clock: Clock,
        threads: Threads,
        unmanaged: Unmanaged,
        worker_of: Callable[[str], Worker | None],
        leading: Leading,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._runtime = runtime
        self._clock = clock
        self._threads = threads
        self._unmanaged = unmanaged
        self._worker_of = worker_of
        self._leading = leading
        self._audit: Callable[[str], str] = lambda _: ""
        self._looks: dict[str, Facts] = {}
        """At services that others lead, for who asks often."""

    def view(self, name: str) -> ServiceView:
        """What `info` shows of one service.

        Raises:
            NotFoundError: there is none of that name.
        """
        worker = self._worker_of(name)
        last = worker.loop.last if worker else None
        try:
            if last is None:
                return self.probe(name)
            return self._view(name, last.snapshot, last.message)
        except UnmanageableError as error:
            return self._unmanaged.view(name, str(error))

    def views(self) -> Sequence[ServiceView]:
        """What `info` shows of every service."""
        views = []
        for name in self._names():
            with suppress(NotFoundError):  # destroyed this moment
                views.append(self._view_or_reason(name))
        return views

    def _names(self) -> Sequence[str]:
        try:
            return service_names(self._store)
        except StoreError:
            led = self._leading.watched()
            if not led:
                raise
            return led

    def managers(self) -> Sequence[ManagerView]:
        """All managers of the installation, by name."""
        return self._leading.view()

    def _view_or_reason(self, name: str) -> ServiceView:
        try:
            return self.view(name)
        except HamanagerError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be shown
            problem = f"the manager failed at this service unexpectedly: {error!r}"
            self._unmanaged.tell(name, problem)
            return self._unmanaged.view(name, problem)

    def probe(self, name: str) -> ServiceView:
        """The same as `view`, from an observation taken now."""
        spec, context, record = self._known(name)
        driver = self._drivers[spec.engine]
        observer = Observer(driver, self._runtime, self._clock, self._threads)
        seen = observer.observe(context, record)
        hosts = {host.name: host for host in self._runtime.hosts()}
        return self._view(name, replace(seen, hosts=hosts), "")

    def _known(self, name: str) -> tuple[Spec, ServiceContext, ServiceRecord]:
        """As the store has it, or had it when it last answered."""
        try:
            spec = self._whole(name)
            return spec, load_context(self._store, spec), load_record(self._store, name)[0]
        except StoreError:
            worker = self._worker_of(name)
            if worker is None or worker.loop.known is None:
                raise
            return worker.loop.known

    def _whole(self, name: str) -> Spec:
        spec = load_whole(self._store, name, self._drivers)
        if spec is None:
            raise NotFoundError(f"there is no service '{name}'")
        return spec

    def connection(self, name: str) -> ConnectionView:
        """How applications connect.

        Raises:
            NotFoundError: there is no such service, or nothing to connect to yet.
        """
        spec = self._whole(name)
        record, _ = load_record(self._store, name)
        context = load_context(self._store, spec)
        found = self._connection(spec, context, record)
        if found is None:
            raise NotFoundError(f"'{name}' is still being set up: there is no address yet")
        port = record.endpoint.reads_port if record.endpoint else None
        wanted = port is not None and spec.reads_max_lag_seconds is not None
        reads = self._connection(spec, context, record, port) if wanted else None
        return ConnectionView(
            service=name,
            engine=spec.engine,
            url=found.url,
            host=found.host,
            port=found.port,
            login=found.login,
            password=found.password,
            database=found.database,
            kind=found.kind,
            reads_url=reads.url if reads else None,
            reads_port=reads.port if reads else None,
        )

    def shell(self, name: str, instance: str | None) -> ShellView:
        """Where and how a command is run in the primary, or in that instance.

        Raises:
            NotFoundError: there is no such service, or no such instance in it.
        """
        spec = self._whole(name)
        found = self._instance(name, instance)
        shell = self._drivers[spec.engine].shell(load_context(self._store, spec))
        return ShellView(
            instance=found.name,
            container=self._runtime.handle(InstanceRef.of(name, found)),
            preparation=shell.preparation,
            default=list(shell.program),
        )

    def logs(self, name: str, instance: str, lines: int, after: str) -> Sequence[LogLine]:
        """The last lines that an instance wrote, later than another one's time.

        Raises:
            NotFoundError: there is no such instance.
            RuntimeFailedError: the runtime does not tell.
        """
        found = self._instance(name, instance)
        return self._runtime.logs(InstanceRef.of(name, found), lines, after)

    def _instance(self, service: str, name: str | None) -> InstanceRecord:
        record, _ = load_record(self._store, service)
        first = record.instances[0].name if record.instances else None
        found = record.instance(name or record.primary or first)
        if found is None:
            raise NotFoundError(
                f"there is no instance '{name}' of '{service}'"
                if name
                else f"'{service}' has no primary yet"
            )
        return found

    def history(self, name: str, limit: int | None = None) -> Sequence[HistoryEntry]:
        """What happened to a service since it was made, oldest first; of one that is no more,
        everything."""
        loaded = None
        with suppress(UnmanageableError):
            loaded = load_spec(self._store, name)
        return self._store.history(name, limit, loaded[0].created_at if loaded else 0.0)

    def reasons(self, name: str, at: float | None = None, run: str | None = None) -> ReasonsView:
        """Why what is decided now is decided; or what was at that time (seconds since the epoch),
        or in that run, as far as the history kept what it was decided by.

        Raises:
            NotFoundError: there is no such service, or nothing was kept of that.
        """
        capabilities = self._drivers[self._whole(name).engine].capabilities
        if at is None and run is None:
            history = self.history(name, RUNS_WITHIN)
            return reasons_view(name, self._facts(name), capabilities, history)
        history = self.history(name)
        entry, facts = kept_facts(history, name, at, run)
        return reasons_view(name, facts, capabilities, history, entry)

    def forecast(self, name: str, faults: Sequence[Fault]) -> ForecastView:
        """What would happen if these failed now; nothing is touched.

        Raises:
            NotFoundError: there is no such service or instance.
            UsageError: nothing is said to fail, or something twice.
        """
        driver = self._drivers[self._whole(name).engine]
        return forecast(name, self._facts(name), driver.capabilities, driver.replication, faults)

    # --- For monitoring and load balancers -----------------------------------------------------

    def watched(self) -> Mapping[str, Watched]:
        """The services that this manager watches, as seen last."""
        leads = self._leading.leads()
        found = {}
        for name in self._leading.watched():
            worker = self._worker_of(name)
            last = worker.loop.last if worker else None
            found[name] = Watched(last.facts if last else None, name in leads)
        return found

    def situation(self, name: str) -> Situation:
        """The service as seen lately, whoever leads it.

        Raises:
            NotFoundError: there is none of that name.
            HamanagerError: it was not seen lately, or cannot be looked at.
        """
        kept = self._looks.get(name)
        if self._worker_of(name) is not None or kept is None or self._is_old(kept):
            kept = self._looks[name] = self._facts(name)
        if self._is_old(kept, 2 * LOOK_SECONDS):
            ago = self._clock.now() - kept.snapshot.at
            raise HamanagerError(f"'{name}' was looked at last {ago:.0f} s ago")
        record = kept.record
        with suppress(StoreError):  # while it is away, who led then leads
            record, _ = load_record(self._store, name)
        capabilities = self._drivers[kept.spec.engine].capabilities
        return Situation(kept.spec, record, kept.snapshot, capabilities)

    def _is_old(self, facts: Facts, seconds: float = LOOK_SECONDS) -> bool:
        return not 0 <= self._clock.now() - facts.snapshot.at < seconds

    def canaries(self) -> Mapping[str, Audited]:
        """The services that this manager leads and whose canary is wanted."""
        found = {}
        for name, worker, facts, _ in self._led():
            if not facts.spec.canary:
                continue
            canary, context = worker.loop.driver.canary, worker.loop.known
            if canary is None or context is None:
                continue
            primary = facts.record.primary
            seen = facts.snapshot.of(primary)
            found[name] = Audited(
                canary=canary,
                context=context[1],
                target=_where_clients_write(name, facts.record),
                term=facts.record.term,
                primary=primary,
                primary_answers=seen is not None and seen.status is not None,
            )
        return found

    def _led(self) -> Iterator[tuple[str, Worker, Facts, str]]:
        """The services that this manager leads and has looked at, with what the last pass said."""
        for name in self._leading.leads():
            worker = self._worker_of(name)
            last = worker.loop.last if worker else None
            if worker is not None and last is not None and last.facts is not None:
                yield name, worker, last.facts, last.message

    def audited_by(self, problem_of: Callable[[str], str]) -> None:
        """From now on `info` shows what that says of each service."""
        self._audit = problem_of

    def states(self) -> Mapping[str, tuple[ServiceState, str, float]]:
        """Of each service that this manager leads: how it is, why, and when that was seen (seconds
        since the epoch)."""
        found = {}
        for name, worker, facts, message in self._led():
            capabilities = worker.loop.driver.capabilities
            view = service_view(
                facts.spec, facts.record, facts.snapshot, None, capabilities, message
            )
            found[name] = view.state, message, facts.snapshot.at
        return found

    def problem(self) -> str:
        """Why this manager cannot act now; '' when it can."""
        return self._leading.problem

    def _facts(self, name: str) -> Facts:
        """As the worker that leads it saw them last, or as seen now."""
        worker = self._worker_of(name)
        if worker is not None and worker.loop.last is not None and worker.loop.last.facts:
            return worker.loop.last.facts
        spec, context, record = self._known(name)
        observer = Observer(self._drivers[spec.engine], self._runtime, self._clock, self._threads)
        hosts = {host.name: host for host in self._runtime.hosts()}
        return Facts(spec, record, replace(observer.observe(context, record), hosts=hosts))

    def _view(self, name: str, snapshot: Snapshot, message: str) -> ServiceView:
        spec, context, record = self._known(name)
        driver = self._drivers[spec.engine]
        found = self._connection(spec, context, record)
        worker = self._worker_of(name)
        return service_view(
            spec,
            record,
            snapshot,
            found.url if found else None,
            driver.capabilities,
            "; ".join(
                part
                for part in ((worker.failure if worker else "") or message, self._audit(name))
                if part
            ),
            address_problem=worker.loop.address_problem if worker else "",
            led_by="" if worker else self._leading.led_by(name),
            unable=self._leading.problem,
        )

    def _connection(
        self,
        spec: Spec,
        context: ServiceContext,
        record: ServiceRecord,
        port: int | None = None,
    ) -> Connection | None:
        if not record.initialized:
            return None
        endpoint = record.endpoint
        return self._drivers[spec.engine].connection(
            context,
            (endpoint.host, port or endpoint.port) if endpoint else None,
            [Target.of(instance) for instance in record.instances],
        )


def _where_clients_write(name: str, record: ServiceRecord) -> Target | None:
    """The service's address, or the primary where clients know all instances."""
    if not record.initialized:
        return None
    if record.endpoint is not None:
        endpoint = record.endpoint
        return Target(f"the address of {name}", endpoint.host, endpoint.port, serial=0)
    primary = record.instance(record.primary)
    return Target.of(primary) if primary is not None else None
