"""What people can ask for. A command writes a spec and nothing else; the loop makes it true.

Each is checked as a whole before anything changes, and is safe to repeat.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial

from hamanager.api.grammar import ScaleRequest, check_service_name, service_of
from hamanager.authority.authority import Authority
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.contracts.store import Store
from hamanager.daemon.certificates import Certificates, host_addresses
from hamanager.daemon.specs import Specs
from hamanager.daemon.upgrades import Chooser, told
from hamanager.daemon.validation import (
    NO_CHANGE,
    check_instances,
    check_program,
    checked_memory,
    chosen_settings,
    refuse_twice,
)
from hamanager.errors import (
    ConflictError,
    NotFoundError,
    ServerError,
    StaleVersionError,
    UsageError,
)
from hamanager.formats import count, size
from hamanager.model.memory_limit import grows_to, misfit
from hamanager.model.order import LONGEST_PATIENCE_SECONDS, Order, OrderKind
from hamanager.model.service import Target
from hamanager.model.settings import Settings
from hamanager.model.spec import Spec
from hamanager.model.upgrade import upgraded
from hamanager.stores.repository import (
    load_context,
    load_record,
    save_secrets,
    save_spec,
    secrets_key,
)


class Commands:
    """The commands of all services."""

    def __init__(
        self, store: Store, drivers: Mapping[str, Driver], runtime: Runtime, clock: Clock
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._runtime = runtime
        self._clock = clock
        self._specs = Specs(store, drivers, clock)
        self._certificates = Certificates(store, Authority(store, clock), clock)
        # Secrets must not be replaced between another creation's secrets and its spec.
        self._creating = threading.Lock()

    def create(
        self,
        name: str,
        engine: str,
        instances: int = 1,
        memory_bytes: int | None = None,
        image: str | None = None,
        settings: Settings = NO_CHANGE,
        *,
        allow_large: bool = False,
        port: int | None = None,
        health_path: str | None = None,
    ) -> Spec:
        """Spec for a new service; `port` and `health_path` are of one without data.

        Raises:
            UsageError: a name, size or limit that cannot be.
            ConflictError: there is a service of that name.
            RuntimeFailedError: there is no image to run the engine from.
        """
        check_service_name(name)
        driver = self._driver(engine)
        check_instances(driver, instances)
        if memory_bytes is not None:
            memory_bytes = checked_memory(driver, memory_bytes, allow_large=allow_large)
        check_program(driver, image, port, health_path)
        chosen = chosen_settings(driver, settings)
        self._specs.refuse_existing(name)
        found = self._runtime.resolve_image(engine, driver.traits.image, image)
        spec = Spec(
            name=name,
            engine=engine,
            instances=instances,
            memory_bytes=memory_bytes,
            image=found,
            pinned=self._runtime.pin_image(found).named(found),
            created_at=self._clock.now(),
            port=port,
            health_path=health_path,
            durability=driver.capabilities.durabilities[0],
            encrypted=bool(driver.certificates and host_addresses(self._store)),
        ).set_to(chosen)
        with self._creating:
            self._specs.refuse_existing(name)
            # The secrets first: a spec without them could not be carried out.
            left_over = self._store.get(secrets_key(name))
            version = left_over.version if left_over else 0
            save_secrets(self._store, name, driver.new_secrets(), version)
            if spec.encrypted:
                self._certificates.make(name)
            try:
                save_spec(self._store, spec, 0)
            except StaleVersionError:
                self._specs.refuse_existing(name)
                raise
        limit = "no memory limit" if memory_bytes is None else f"{size(memory_bytes)} each"
        self._specs.note(name, f"create {name}: {engine}, {count(instances, 'instance')}, {limit}")
        return spec

    def scale(self, requests: Sequence[ScaleRequest], *, allow_large: bool = False) -> list[str]:
        """Spec for other sizes or limits; the services concerned, each once.

        Raises:
            UsageError: a size or limit that cannot be, or a target named twice.
            NotFoundError: a service that does not exist.
            ConflictError: a service that is being destroyed, or whose data would not fit.
        """
        if not requests:
            raise UsageError("nothing to scale is named: write for example db:instances=2")
        checked = [self._checked(request, allow_large=allow_large) for request in requests]
        refuse_twice(checked)
        for request in checked:
            self._refuse_misfit(request)
        for request in checked:
            self._specs.change(request.service, partial(_scaled, request))
        for name in dict.fromkeys(request.service for request in checked):
            words = [_words(request) for request in checked if request.service == name]
            self._specs.note(name, "scale " + " ".join(words))
        return list(dict.fromkeys(request.service for request in checked))

    def restart(self, instance_name: str) -> str:
        """Spec for the planned restart of one instance; the name of its service.

        Raises:
            UsageError: that is not the name of an instance.
            NotFoundError: there is no such instance.
            ConflictError: its service is being destroyed.
        """
        name = service_of(instance_name)
        self._specs.standing(name)
        record, _ = load_record(self._store, name)
        instance = record.instance(instance_name)
        if instance is None:
            names = " and ".join(i.name for i in record.instances) or "none yet"
            raise NotFoundError(f"there is no instance '{instance_name}': '{name}' has {names}")

        def ask(spec: Spec) -> Spec:
            # One more than were done, so that asking again while one is pending adds none.
            return spec.restarting(instance_name, instance.restarts_done + 1)

        self._specs.change(name, ask)
        self._specs.note(name, f"restart {instance_name}")
        return name

    def upgrade(self, name: str, image: str | None = None) -> str:
        """Spec that the instances run from that image, or from the one that a new service would
        get; in a sentence what becomes of it.

        Raises:
            NotFoundError: there is no such service.
            ConflictError: it is being destroyed, or its data cannot go on with that image.
            RuntimeFailedError: the image is not there, or is none of the engine's.
        """
        spec, _ = self._specs.standing(name)
        driver, record = self._drivers[spec.engine], load_record(self._store, name)[0]
        context = load_context(self._store, spec)
        chosen = Chooser(self._runtime, driver, context, spec, record).choose(image)
        program = driver.traits.server_program
        if chosen is None:
            return told(spec, record, changed=False, program=program)
        self._specs.change(name, lambda present: upgraded(present, chosen))
        self._specs.note(name, f"upgrade {name} to {chosen.words}")
        return told(upgraded(spec, chosen), record, changed=True, program=program)

    def change_settings(self, name: str, settings: Settings) -> None:
        """Spec for other settings.

        Raises:
            UsageError: nothing is chosen, or something that cannot be.
            NotFoundError: there is no such service.
            ConflictError: it is being destroyed.
        """
        chosen = chosen_settings(self._driver(self._specs.standing(name)[0].engine), settings)
        if not chosen:
            raise UsageError("nothing to set is named: write for example --durability strict")
        self._specs.change(name, lambda spec: spec.set_to(chosen))
        words = [f"{key}={value}" for key, value in chosen.items()]
        self._specs.note(name, f"set {name} {' '.join(words)}")

    def pause(self, name: str, *, paused: bool) -> None:
        """Spec that the manager observes and does not act, or that it acts again.

        Raises:
            NotFoundError: there is no such service.
            ConflictError: it is being destroyed.
        """
        if self._specs.standing(name)[0].paused is paused:
            return
        self._specs.change(name, lambda spec: spec.with_pause(paused))
        self._specs.note(name, f"{'pause' if paused else 'resume'} {name}")

    def order(
        self,
        name: str,
        kind: OrderKind,
        to: str | None = None,
        patience_seconds: float = 5.0,
        *,
        kill: bool = True,
    ) -> int:
        """Give a one-time order; its number. What became of it is in the record.

        Raises:
            UsageError: the bound is not one.
            NotFoundError: there is no such service, or no such instance in it.
            ConflictError: it is being destroyed, or paused.
        """
        if not 0 <= patience_seconds <= LONGEST_PATIENCE_SECONDS:
            raise UsageError(
                f"long transactions can be given 0 to {LONGEST_PATIENCE_SECONDS:g} s,"
                f" not {patience_seconds:g}; nothing was changed"
            )
        spec, _ = self._specs.standing(name)
        record, _ = load_record(self._store, name)
        if kind is not OrderKind.DISCARD and to is not None and record.instance(to) is None:
            names = " and ".join(i.name for i in record.instances) or "none yet"
            raise NotFoundError(f"there is no instance '{to}': '{name}' has {names}")
        if self._driver(spec.engine).replication is None:
            raise UsageError(f"'{name}' is a service without data: it has no primary")
        if spec.paused:
            raise ConflictError(
                f"service '{name}' is paused: `hamanager resume {name}` first; nothing was changed"
            )
        numbers: list[int] = []
        all_of_them = kind is OrderKind.DISCARD and to is None
        volumes = tuple(kept.volume for kept in record.retained) if all_of_them else ()

        def give(spec: Spec) -> Spec:
            numbers.append(spec.order.number + 1 if spec.order else 1)
            order = Order(
                number=numbers[-1],
                kind=kind,
                asked_at=self._clock.now(),
                to=to,
                volumes=volumes,
                patience_seconds=patience_seconds,
                kill=kill,
            )
            return spec.ordering(order)

        self._specs.change(name, give)
        self._specs.note(name, f"{kind} {name}" + (f" to {to}" if to else ""))
        return numbers[-1]

    def destroy(self, name: str) -> None:
        """Ask that the service and all its data be gone, whether or not what is kept about it can
        be read.

        Raises:
            NotFoundError: there is no such service.
        """
        if self._specs.readable(name)[0].destroy:
            return
        self._specs.change(name, lambda spec: spec.destroyed(), self._specs.readable)
        self._specs.note(name, f"destroy {name}")

    # --- Checks ----------------------------------------------------------------------------

    def _driver(self, engine: str) -> Driver:
        driver = self._drivers.get(engine)
        if driver is None:
            known = ", ".join(sorted(self._drivers))
            raise UsageError(f"unknown engine '{engine}': choose from {known}")
        return driver

    def _checked(self, request: ScaleRequest, *, allow_large: bool) -> ScaleRequest:
        driver = self._driver(self._specs.standing(request.service)[0].engine)
        if request.instances is not None:
            check_instances(driver, request.instances)
        if request.memory_bytes is None:
            return request
        rounded = checked_memory(driver, request.memory_bytes, allow_large=allow_large)
        return ScaleRequest(request.service, request.instances, rounded)

    def _refuse_misfit(self, request: ScaleRequest) -> None:
        """A smaller limit under which a running server would not fit is refused at once; one that
        does not answer is seen about later."""
        limit = request.memory_bytes
        spec, _ = self._specs.standing(request.service)
        if limit is None or grows_to(spec.memory_bytes, limit):
            return
        driver, context = self._drivers[spec.engine], load_context(self._store, spec)
        record, _ = load_record(self._store, spec.name)
        cache = driver.cache
        for instance in record.instances:
            ref = InstanceRef.of(spec.name, instance)
            try:
                held = cache.cache_bytes(context, Target.of(instance)) if cache else None
            except ServerError:
                continue
            problem = misfit(
                limit,
                self._runtime.memory_used(ref),
                held,
                cache.cache_limit_bytes(limit) if cache else None,
                data_in_memory=driver.traits.data_in_memory,
            )
            if problem:
                raise ConflictError(
                    f"{instance.name} does not fit into {size(limit)} of memory: {problem};"
                    " nothing was changed"
                )


def _scaled(request: ScaleRequest, spec: Spec) -> Spec:
    return spec.scaled(request.instances, request.memory_bytes)


def _words(request: ScaleRequest) -> str:
    words = []
    if request.instances is not None:
        words.append(f"{request.service}:instances={request.instances}")
    if request.memory_bytes is not None:
        words.append(f"{request.service}:memory={size(request.memory_bytes)}")
    return " ".join(words)
