"""Which services this manager leads: its session, and the locks it takes and hands over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from hamanager.act.lock import NO_SESSION, ServiceLock, owner_of
from hamanager.act.session import Others, Session
from hamanager.api.views import ManagerView
from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.decide.leading import (
    BEAT_SECONDS,
    DEAD_SECONDS,
    LOOK_SECONDS,
    may_claim,
    successor,
)
from hamanager.errors import ConflictError, HamanagerError, StaleVersionError
from hamanager.model.manager import Manager
from hamanager.stores.managers import CALLS, call_key, calls
from hamanager.stores.repository import spec_key

log = logging.getLogger("hamanager")

RETRY_SECONDS = 0.2
"""Until the next sign of life is tried when one could not be written."""
BEGIN_SECONDS = 2 * DEAD_SECONDS
CALL_SECONDS = 1.0
"""So long one wait for calls may take."""


class Leading:
    """This manager among the others. Thread-safe."""

    def __init__(self, store: Store, clock: Clock, me: Manager, *, alone: bool = False) -> None:
        """`alone`: nobody else can use the store, so that nobody has to be told."""
        self.others = Others(store, clock, me, alone=alone)
        self.session = Session(store, clock, self.others, alone=alone)
        self._store, self._clock, self._alone = store, clock, alone
        self._lock = threading.Lock()
        self._locks: dict[str, ServiceLock] = {}
        self._led: set[str] = set()
        """Those that it acts on, and those that it did when it lost the store."""
        self._living: dict[str, float] = {}
        self._elsewhere: set[str] = set()
        """Services that others say they lead."""
        self._unled_since: dict[str, float] = {}
        self.problem = ""
        """Why this manager may do nothing now; '' when it may."""

    @property
    def alone(self) -> bool:
        """Whether nobody else can use the store."""
        return self._alone

    @property
    def name(self) -> str:
        """This manager's."""
        return self.session.name

    # --- That it lives -----------------------------------------------------------------------

    def begin(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Begin the session. Where somebody else has used this manager's name, that one has to
        be silent for some seconds first.

        Raises:
            ConflictError: it is not.
            StoreError: the store does not answer.
        """
        began = self._clock.monotonic()
        while True:
            self.others.look()
            try:
                self.session.renew()
                break
            except ConflictError:
                if self._clock.monotonic() - began > BEGIN_SECONDS:
                    raise
                sleep(LOOK_SECONDS)
        self.look()

    def beat(self) -> float:
        """Give a sign of life; for how many seconds to sleep then."""
        began = self._clock.monotonic()
        try:
            self.session.renew(self.leads())
        except HamanagerError as error:
            if self.session.epoch is None:
                self._tell(f"{NO_SESSION} ({error})")
            return RETRY_SECONDS
        self._tell("")
        return max(0.0, BEAT_SECONDS - (self._clock.monotonic() - began))

    def look(self) -> bool:
        """See who else lives, and what they lead; whether that has changed. Never raises."""
        if self._alone:
            return False
        try:
            self.others.look()
        except HamanagerError as error:
            log.debug("the other managers are not to be seen: %s", error)
            return False
        living = self.others.living()
        elsewhere = self.others.led(living)
        with self._lock:
            for name in self._living.keys() - living.keys():
                log.warning("manager %s has ended, or is silent", name)
            for name in living.keys() - self._living.keys():
                log.info("manager %s is alive", name)
            same = living.keys() == self._living.keys() and elsewhere == self._elsewhere
            self._living, self._elsewhere = living, elsewhere
        return not same

    def end(self) -> None:
        """This manager acts no more; the others take over at once."""
        self.session.end()

    def _tell(self, problem: str) -> None:
        with self._lock:
            told, self.problem = self.problem, problem
        if problem and told != problem:
            log.warning("%s", problem)
        elif told and not problem:
            log.info("this manager has its session again")

    def view(self) -> list[ManagerView]:
        """All managers, by name.

        Raises:
            StoreError: it does not answer.
        """
        if self._alone:
            self.others.look()
        return [
            ManagerView(
                name=row.name,
                me=row.name == self.name,
                alive=silent_seconds is None or row.name == self.name,
                silent_seconds=silent_seconds if row.name != self.name else None,
                started_at=row.started_at,
                version=row.version,
                addresses=list(row.addresses),
                leads=list(self.leads() if row.name == self.name else row.leads),
            )
            for row, silent_seconds in self.others.rows()
        ]

    def led_by(self, service: str) -> str:
        """Another manager that has that service's lock; '' when none has."""
        owner = owner_of(self._store, service)
        return owner if owner != self.name else ""

    # --- What it leads -------------------------------------------------------------------------

    def lock_of(self, service: str) -> ServiceLock:
        """The service's lock, always the same one."""
        with self._lock:
            if service not in self._locks:
                self._locks[service] = ServiceLock(self._store, service, self.session, self._clock)
            return self._locks[service]

    def leads(self) -> tuple[str, ...]:
        """The services that it acts on."""
        with self._lock:
            return tuple(sorted(name for name in self._led if self._locks[name].is_held))

    def watched(self) -> tuple[str, ...]:
        """Those, and what it led when it lost the store."""
        with self._lock:
            return tuple(sorted(self._led))

    def lead(self, service: str) -> bool:
        """Whether this manager should watch over that service. One that nobody leads is taken, by
        whoever should lead it at once, by the others a little later. Never raises: one that it led
        when it lost the store it goes on watching."""
        lock = self.lock_of(service)
        with self._lock:
            mine = service in self._led
        if lock.is_held:
            return mine or self._begin(service)
        if self.session.epoch is None:
            return mine
        try:
            if not mine and not self._is_due(service):
                return False
            if lock.take():
                return mine or self._begin(service)
        except HamanagerError as error:
            log.debug("%s: nobody can be found to lead it: %s", service, error)
            return mine
        if mine and lock.owner != self.name:
            log.warning("%s: %s", service, lock.refusal)
            self.leave(service)
            return False
        return mine

    def _begin(self, service: str) -> bool:
        with self._lock:
            self._led.add(service)
            self._unled_since.pop(service, None)
        return True

    def _is_due(self, service: str) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            if service in self._elsewhere:
                self._unled_since.pop(service, None)
                return False
            unled_seconds = now - self._unled_since.setdefault(service, now)
            living = set(self._living)
        if not self._alone and not may_claim(service, self.name, living, unled_seconds):
            return False
        return self._store.get(spec_key(service)) is not None

    def leave(self, service: str) -> None:
        """It is no more, or no more this manager's."""
        with self._lock:
            self._led.discard(service)
            self._unled_since.pop(service, None)
            lock = self._locks.get(service)
        if lock is not None:
            lock.give_up()

    def call(self, service: str) -> None:
        """Let whoever leads that service look at it now. Never raises: it looks by itself once in
        a second."""
        if self._alone:
            return
        try:
            kept = self._store.get(call_key(service))
            self._store.put(call_key(service), self.name, kept.version if kept else 0)
        except HamanagerError as error:
            log.debug("whoever leads %s was not called: %s", service, error)

    def called(self, after: int) -> tuple[int, list[str]]:
        """Wait for calls, for a moment: what to pass the next time, and which of the services that
        somebody called for this manager leads.

        Raises:
            StoreError: the store does not answer.
        """
        version = self._store.wait(CALLS, after, CALL_SECONDS)
        mine = [service for service in calls(self._store) if self._hears(service)]
        return version, [service for service in mine if self.lead(service)]

    def _hears(self, service: str) -> bool:
        """Whether the call is for this manager; nobody else hears it then."""
        kept = self._store.get(call_key(service))
        gone = self._store.get(spec_key(service)) is None
        if kept is None or not (gone or self.lead(service)):
            return False
        with suppress(StaleVersionError):  # there is another one: it is heard next
            self._store.delete(call_key(service), kept.version)
        return not gone

    def hand_over(self, service: str) -> bool:
        """Let another manager have a service that is well, when that one should lead it; whether
        it was done. To be called between two passes, by whoever runs them."""
        with self._lock:
            to = successor(service, self.name, self._living)
        if to is None or not self.lock_of(service).is_held:
            return False
        try:
            self.lock_of(service).hand_over(to)
        except HamanagerError as error:
            log.debug("%s could not be handed over to %s: %s", service, to, error)
            return False
        log.info("%s is handed over to manager %s", service, to)
        self.leave(service)
        self.beat()  # it says at once that it leads it no more
        self.call(service)
        return True
