"""The daemon: one worker per service, and everything that wakes them.

APScheduler once a second, a tripwire that ends, the runtime's events, an operator's command: each
only wakes a worker; what is done about it is decided in a pass, always in the same way.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress

from apscheduler.schedulers.background import BackgroundScheduler

from hamanager.api.environment import EnvironmentFile
from hamanager.authority.authority import Authority
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import ASKED_TO_END, InstanceRef, Runtime
from hamanager.contracts.store import Store
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.certificates import Certificates
from hamanager.daemon.commands import Commands
from hamanager.daemon.drills import Drills
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.leading import CALL_SECONDS, Leading
from hamanager.daemon.pulse import PULSE_SECONDS, Pulse
from hamanager.daemon.queries import Queries
from hamanager.daemon.succession import Succession
from hamanager.daemon.tokens import Tokens
from hamanager.daemon.unmanaged import Unmanaged
from hamanager.daemon.worker import Worker
from hamanager.decide.leading import LOOK_SECONDS
from hamanager.errors import HamanagerError, NotFoundError, UnmanageableError
from hamanager.loop import Pass, ServiceLoop
from hamanager.model.decision import Action
from hamanager.model.service import Target
from hamanager.model.snapshot import Contact, Process
from hamanager.observe.questions import Threads
from hamanager.observe.tripwire import Tripwires
from hamanager.stores.pruning import PRUNING_SECONDS, prune
from hamanager.stores.repository import (
    load_record,
    load_whole,
    service_names,
    spec_key,
)
from hamanager_playbooks.registry import PLAYBOOKS, STATELESS_PLAYBOOKS

log = logging.getLogger("hamanager")

TICK_SECONDS = 1
"""Each service is observed so often, when nothing else wakes its worker."""
SPREAD_SECONDS = 0.7 * TICK_SECONDS
"""Over which the wake-ups of one tick are shared out."""
WOKEN_AT_ONCE = 5
ENVIRONMENT_SECONDS = 5
"""So often the variables of services that others lead are written anew."""
CONNECTION, PROCESS = "connection", "process"


class Daemon:
    """Watches over every service in the store. The API talks to its `commands` and `queries`."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, Driver],
        runtime: Runtime,
        addresses: Addresses,
        clock: Clock,
        leading: Leading,
        environment: EnvironmentFile,
        hosts: Hosts,
    ) -> None:
        self.commands = Commands(store, drivers, runtime, clock)
        self.hosts = hosts
        self.tokens = Tokens(store, clock)
        self.authority = Authority(store, clock)
        self.drills = Drills(store, drivers, clock, self.authority)
        self.certificates = Certificates(store, self.authority, clock)
        self._succession = Succession(self.authority, clock, lambda: not self.certificates.behind())
        self._store = store
        self._drivers = drivers
        self._runtime = runtime
        self._endpoint = addresses.endpoint
        self.routes = addresses.desk(self.wake)
        self._environment = environment
        self._clock = clock
        self._leading = leading
        self._workers: dict[str, Worker] = {}
        self._leaving: dict[str, Worker] = {}
        """Those that were dismissed, and may be in the middle of a step."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._written: dict[str, tuple[int, int]] = {}
        """Of which spec and record the variables of each service tell."""
        self._endpoint_problem = ""
        self._store_problem = ""
        self._followed: set[str] = set()
        self._beside: list[threading.Thread] = []
        """What uses the store beside the workers."""
        self._threads = Threads.started()
        self._pulse = Pulse(self._present_workers, self._threads.probes, clock)
        self._unmanaged = Unmanaged(
            *(store, runtime, self._endpoint, clock, leading.lock_of),
            *(self._threads.runtime, environment.forget),
        )
        self.queries = Queries(
            *(store, drivers, runtime, clock, self._threads),
            *(self._unmanaged, self._worker_of, leading),
        )
        self._tripwires = Tripwires(self._tripped)
        self._scheduler = BackgroundScheduler(
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def start(self) -> None:
        """Begin to watch.

        Raises:
            ConflictError: another manager of this name is alive.
        """
        self._leading.begin()
        self._begin_environment()
        self._scheduler.add_job(self._tick, "interval", seconds=TICK_SECONDS, id="tick")
        self._scheduler.add_job(self._pulse.beat, "interval", seconds=PULSE_SECONDS, id="pulse")
        self._scheduler.add_job(self._check_endpoint, "interval", seconds=1, id="endpoint")
        self._scheduler.add_job(self._succession.look, "interval", seconds=5, id="succession")
        self._scheduler.add_job(self._prune, "interval", seconds=PRUNING_SECONDS, id="prune")
        if not self._leading.alone:
            every = {"seconds": ENVIRONMENT_SECONDS, "id": "environment"}
            self._scheduler.add_job(self._follow_environment, "interval", **every)
        self._scheduler.start()
        threading.Thread(target=self._follow_events, name="runtime-events", daemon=True).start()
        beside = {"session": self._beat}
        if not self._leading.alone:
            beside |= {"leading": self._look, "calls": self._listen}
        for name, target in beside.items():
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._beside.append(thread)
            thread.start()
        self._tick()

    def stop(self) -> None:
        """Stop watching. The databases go on as they are."""
        self._stopping.set()
        self._scheduler.shutdown(wait=False)
        with self._lock:
            workers = [*self._workers.values(), *self._leaving.values()]
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(timeout=10)
        if not any(worker.is_alive() for worker in workers):
            self._leading.end()  # nobody acts here any more: others need not wait
        for thread in self._beside:
            thread.join(timeout=2 * CALL_SECONDS)
        self._tripwires.close()
        self._threads.shut_down()

    # --- What wakes a worker ---------------------------------------------------------------

    def wake(self, name: str) -> None:
        """Somebody asked for something: let whoever leads that service begin a pass now. Never
        raises: the other services go on."""
        if not self._wake(name):
            self._leading.call(name)

    def _wake(self, name: str) -> bool:
        """Whether there is a worker for it here."""
        worker = self._worker_of(name)
        if worker is None and not self._stopping.is_set() and self._leading.lead(name):
            worker = self._hire(name)
        if worker is not None:
            worker.wake()
        return worker is not None

    def _tick(self) -> None:
        try:
            names = service_names(self._store)
            self._store_problem = ""
        except HamanagerError as error:
            if str(error) != self._store_problem:
                log.warning("%s", error)
            self._store_problem = str(error)
            names = list(self._present_workers())
        for name, worker in self._present_workers().items():
            if not self._leading.lead(name):
                self._dismiss(name, worker)
        for number, name in enumerate(names, 1):
            self._wake(name)
            # Not all at once: a failover of one of many would have to wait for its turn.
            if number % WOKEN_AT_ONCE == 0:
                self._stopping.wait(SPREAD_SECONDS * WOKEN_AT_ONCE / len(names))

    def _beat(self) -> None:
        while not self._stopping.wait(self._leading.beat()):
            pass

    def _listen(self) -> None:
        """Commands that other managers were given."""
        version = 0
        while not self._stopping.is_set():
            try:
                version, called = self._leading.called(version)
            except HamanagerError as error:
                log.debug("no calls are heard: %s", error)
                self._stopping.wait(LOOK_SECONDS)
                continue
            for name in called:
                self._wake(name)

    def _look(self) -> None:
        """Whatever becomes of the others shows here, and what they no longer lead is taken."""
        while not self._stopping.wait(LOOK_SECONDS):
            if not self._leading.look():
                continue
            with suppress(HamanagerError):
                for name in service_names(self._store):
                    if self._worker_of(name) is None:
                        self._wake(name)

    def _worker_of(self, name: str) -> Worker | None:
        with self._lock:
            return self._workers.get(name)

    def _present_workers(self) -> dict[str, Worker]:
        with self._lock:
            return dict(self._workers)

    def _check_endpoint(self) -> None:
        try:
            self._endpoint.check()
        except HamanagerError as error:
            if str(error) != self._endpoint_problem:
                log.warning("%s", error)
            self._endpoint_problem = str(error)
        else:
            self._endpoint_problem = ""

    def _prune(self) -> None:
        try:
            prune(self._store, self._clock.now(), service_names(self._store), self._stopping.wait)
        except HamanagerError as error:
            log.debug("the history was not pruned: %s", error)

    def _hire(self, name: str) -> Worker | None:
        try:
            spec = load_whole(self._store, name, self._drivers)
        except UnmanageableError as error:
            self._unmanaged.note(name, str(error))
            return None
        except HamanagerError as error:
            self._unmanaged.tell(name, str(error))
            return None
        self._unmanaged.forget(name)
        if spec is None:
            return None
        driver = self._drivers[spec.engine]
        loop = ServiceLoop(
            name,
            self._store,
            driver,
            self._runtime,
            self._endpoint,
            self._clock,
            self._threads,
            self._leading.lock_of(name),
            STATELESS_PLAYBOOKS if driver.replication is None else PLAYBOOKS,
        )
        with self._lock:
            hired = self._workers.get(name)
            leaving = self._leaving.get(name)
            if hired is not None or (leaving is not None and leaving.is_alive()):
                return hired
            self._leaving.pop(name, None)
            worker = self._workers[name] = Worker(loop, self._after_pass, self._after_end)
        worker.start()
        return worker

    def _dismiss(self, name: str, worker: Worker) -> None:
        """Another manager leads that service."""
        worker.stop()
        with self._lock:
            if self._workers.get(name) is worker:
                del self._workers[name]
                self._leaving[name] = worker
        self._tripwires.unwatch(name)

    def _follow_events(self) -> None:
        for event in self._runtime.events(self._stopping.is_set):
            log.debug("runtime: %s %s", event.instance, event.what)
            worker = self._present_workers().get(event.service)
            if worker is not None and event.what == ASKED_TO_END:
                log.info("%s: somebody asked %s to end", event.service, event.instance)
                worker.loop.observer.note_asked_to_end(event.instance, event.placed_on)
            elif worker is not None:
                worker.loop.observer.note_event(event.instance)
            self._wake(event.service)

    def _tripped(self, service: str, instance: str, kind: str) -> None:
        log.info("%s: the %s of %s ended", service, kind, instance)
        with self._lock:
            worker = self._workers.get(service)
        if worker is not None:
            worker.loop.observer.note_trip(instance)
            worker.wake()

    def _after_pass(self, loop: ServiceLoop, done: Pass) -> None:
        """Have a connection and a process handle open to every instance that is well; or let
        another manager lead, when that one should."""
        if done.decision.action is Action.NOTHING and done.unfinished_seconds is None:
            worker = self._worker_of(loop.name)
            if worker is not None and self._leading.hand_over(loop.name):
                self._dismiss(loop.name, worker)
                return
        record, _ = load_record(self._store, loop.name)
        self._keep_environment(loop.name, done.versions)
        if loop.driver.certificates is not None and self.certificates.is_time(loop.name):
            self._threads.runtime.submit(
                self.certificates.look, loop.name, loop.driver, self._runtime, done.snapshot
            )
        for instance in record.instances:
            seen = done.snapshot.of(instance.name)
            if seen is None or seen.contact is not Contact.ANSWERS:
                continue
            if not self._tripwires.has(loop.name, instance.name, CONNECTION):
                self._threads.probes.submit(self._open_tripwire, loop, Target.of(instance))
            ref = InstanceRef.of(loop.name, instance)
            if seen.process is Process.RUNNING and not self._tripwires.has(
                loop.name, instance.name, PROCESS
            ):
                self._threads.runtime.submit(self._watch_process, ref)

    def _open_tripwire(self, loop: ServiceLoop, target: Target) -> None:
        service = loop.context()
        if service is None:
            return
        try:
            wire = loop.driver.open_tripwire(service, target)
        except HamanagerError as error:
            log.debug("no tripwire to %s: %s", target.name, error)
            return
        if wire is not None:
            self._tripwires.watch(loop.name, target.name, CONNECTION, wire)

    def _watch_process(self, ref: InstanceRef) -> None:
        descriptor = self._runtime.exit_descriptor(ref)
        if descriptor is not None:
            self._tripwires.watch(ref.service, ref.instance, PROCESS, descriptor)

    def _after_end(self, loop: ServiceLoop) -> None:
        with self._lock:
            self._workers.pop(loop.name, None)
        self._tripwires.unwatch(loop.name)
        self._written.pop(loop.name, None)
        self._leading.leave(loop.name)
        with suppress(HamanagerError):
            if self._store.get(spec_key(loop.name)) is None:
                self._environment.forget(loop.name)
        self._wake(loop.name)  # tells it when it is damaged; hires another when it was made anew

    # --- What clients find written down ---------------------------------------------------

    def _keep_environment(self, name: str, versions: tuple[int, int]) -> None:
        if self._written.get(name) == versions and not self._environment.problem:
            return  # nothing that it tells of has changed
        with suppress(NotFoundError):  # nothing to connect to yet, or any more
            self._environment.keep(self.queries.connection(name))
            self._written[name] = versions

    def _follow_environment(self) -> None:
        """The variables of services that other managers lead."""
        try:
            names = set(service_names(self._store))
            for name in names - self._present_workers().keys():
                with suppress(UnmanageableError, NotFoundError):
                    self._environment.keep(self.queries.connection(name))
        except HamanagerError as error:
            log.debug("the variables of other managers' services: %s", error)
            return
        for gone in self._followed - names:
            self._environment.forget(gone)
        self._followed = names

    def _begin_environment(self) -> None:
        found, unreadable = [], []
        for name in service_names(self._store):
            try:
                found.append(self.queries.connection(name))
            except NotFoundError:
                continue
            except UnmanageableError:
                unreadable.append(name)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are watched
                log.warning("the variables of %s cannot be told: %r", name, error)
                unreadable.append(name)
        self._environment.begin(found, unreadable)
