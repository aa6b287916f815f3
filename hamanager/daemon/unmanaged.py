"""Services that cannot be managed, because what is kept about them is damaged or their engine is
unknown: each is told once and left alone, and removed when an operator destroys it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from hamanager.act.lock import ServiceLock
from hamanager.api.views import ServiceView
from hamanager.contracts.clock import Clock
from hamanager.contracts.endpoint import Endpoint
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.daemon.view_builder import unmanaged_view
from hamanager.errors import HamanagerError, StaleVersionError, UnmanageableError
from hamanager.model.history import HistoryEntry
from hamanager.model.spec import Spec
from hamanager.stores.repository import forget_service, load_spec

log = logging.getLogger("hamanager")


class Unmanaged:
    """What is known of these services. Thread-safe."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        endpoint: Endpoint,
        clock: Clock,
        lock_of: Callable[[str], ServiceLock],
        executor: Executor,
        after_removal: Callable[[str], None],
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._endpoint = endpoint
        self._clock = clock
        self._lock_of = lock_of
        self._executor = executor
        self._after_removal = after_removal
        self._lock = threading.Lock()
        self._told: dict[str, str] = {}
        self._removing: set[str] = set()

    def note(self, name: str, problem: str) -> None:
        """It cannot be managed: the same reason is logged once. One that an operator destroyed is
        removed, in the background."""
        spec = self._spec(name)
        if spec is None or not spec.destroy:
            self.tell(name, problem)
            return
        with self._lock:
            if name in self._removing:
                return
            self._removing.add(name)
        self._executor.submit(self._remove, name)

    def forget(self, name: str) -> None:
        """It is managed (again), or no more."""
        with self._lock:
            self._told.pop(name, None)

    def view(self, name: str, problem: str) -> ServiceView:
        """What `info` shows of it."""
        spec = self._spec(name)
        if spec is not None and spec.destroy:
            with self._lock:
                problem = self._told.get(name, "it is being removed")
        return unmanaged_view(name, spec, problem, self._clock.now())

    def _spec(self, name: str) -> Spec | None:
        with suppress(UnmanageableError):
            loaded = load_spec(self._store, name)
            return loaded[0] if loaded else None
        return None

    def tell(self, name: str, problem: str) -> bool:
        """Log it, unless it was the last thing that was logged of this service."""
        with self._lock:
            told, self._told[name] = self._told.get(name), problem
        if told != problem:
            log.error("%s: %s", name, problem)
        return told != problem

    def _remove(self, name: str) -> None:
        """Everything that carries its name, as neither its record nor its driver can be asked."""
        try:
            self._remove_all(name)
        except HamanagerError as error:
            self.tell(name, f"it could not be removed, which is tried again: {error}")
        except Exception as error:
            # It is tried again each second: the traceback is of no use more than once.
            if self.tell(name, f"it could not be removed, which is tried again: {error!r}"):
                log.exception("%s: removing it failed unexpectedly", name)
        finally:
            with self._lock:
                self._removing.discard(name)

    def _remove_all(self, name: str) -> None:
        lock = self._lock_of(name)
        if not lock.take():
            raise StaleVersionError(lock.refusal)
        tenure = lock.tenure
        with suppress(HamanagerError):  # without its servers the address leads to nobody anyway
            self._endpoint.publish(name, ())
        self._runtime.destroy_service(name)
        lock.assure(tenure)
        forget_service(self._store, name)
        self.forget(name)
        self._after_removal(name)
        text = f"destroy {name}: done, without what could not be read of it"
        self._store.append(
            HistoryEntry(at=self._clock.now(), service=name, kind="outcome", text=text)
        )
        log.info("%s: it was removed, with its containers and volumes", name)
