"""The right to act on a service: it is a manager's as long as its session lasts."""

from __future__ import annotations

import threading

from pydantic import BaseModel, ValidationError

from hamanager.act.session import Session
from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store, Versioned
from hamanager.decide.leading import DEAD_SECONDS
from hamanager.errors import StaleVersionError
from hamanager.stores.repository import lock_key

ELSEWHERE = "another manager ({owner}) leads this service"
NO_SESSION = (
    "this manager has lost the store, so another one may have taken over: it only observes, and"
    " everything goes on as it is"
)


class _Lock(BaseModel):
    owner: str
    number: int = 0
    """Grows each time it is taken."""


class ServiceLock:
    """One manager at a time acts on a service. It is written when it is taken and not renewed:
    within one session nobody else can have taken it, so that a failover asks the store for nothing.
    It gives liveness, not safety: what a manager does late is harmless by the compare-and-swap of
    the record and its term."""

    def __init__(self, store: Store, service: str, session: Session, clock: Clock) -> None:
        self._store, self._key = store, lock_key(service)
        self._session, self._clock = session, clock
        self._taking = threading.RLock()
        self._epoch: int | None = None
        """Of the session in which it was taken."""
        self.tenure = 0
        """Another number each time it is taken: what was begun in one is not gone on with in the
        next, as somebody else may have had it in between."""
        self._damaged: tuple[int, float] | None = None
        """The version that could not be read, and since when (monotonic seconds)."""
        self.refusal = ""
        """Why it could not be taken."""
        self.owner = ""
        """Who had it when it was last read."""

    @property
    def is_held(self) -> bool:
        """Whether it has been this manager's without interruption since it was taken."""
        return self._epoch is not None and self._epoch == self._session.epoch

    def take(self) -> bool:
        """Whether this manager has it now.

        Raises:
            StoreError: it does not answer.
        """
        with self._taking:
            return self.is_held or self._take()

    def _take(self) -> bool:
        epoch = self._session.epoch
        if epoch is None:
            self.refusal = NO_SESSION
            return False
        held = self._store.get(self._key)
        if held is not None and not self._may_take(held):
            return False
        lock = _Lock(owner=self._session.name, number=_number(held) + 1)
        try:
            # Also when it is this manager's already: whoever is about to take it, as its owner was
            # dead a moment ago, comes too late.
            self._store.put(self._key, lock.model_dump_json(), held.version if held else 0)
        except StaleVersionError:
            self.refusal = "another manager was quicker"
            return False
        self.owner, self.tenure = lock.owner, self.tenure + 1
        self._epoch = epoch  # last: from here on it is held
        if not self.is_held:  # the session ran out meanwhile
            self.refusal = NO_SESSION
        return self.is_held

    def _may_take(self, held: Versioned) -> bool:
        lock = _read(held)
        if lock is None:
            return self._outlived(held.version)
        self.owner = lock.owner
        if lock.owner == self._session.name or self._session.others.bury(lock.owner):
            return True
        self.refusal = ELSEWHERE.format(owner=lock.owner)
        return False

    def _outlived(self, version: int) -> bool:
        """Whether a lock that cannot be read may be taken: whoever lives and has it says so in its
        own row, and then nobody else asks for it."""
        now = self._clock.monotonic()
        if self._damaged is None or self._damaged[0] != version:
            self._damaged = version, now
        left = DEAD_SECONDS - (now - self._damaged[1])
        self.refusal = (
            f"its lock in the store ('{self._key}') is damaged: another manager may hold it, so it"
            f" is taken when nobody has said so for {DEAD_SECONDS:g} s"
        )
        return left <= 0 or not self._session.others.living()

    def assure(self, tenure: int) -> None:
        """Nothing, while it is this manager's since then; without asking the store.

        Raises:
            StaleVersionError: the session in which it was taken is over, or it was handed over.
        """
        held = self.is_held  # asked first: it may be taken anew at any time, in another tenure
        if not held or tenure != self.tenure:
            raise StaleVersionError(
                "this manager's session is over, and another one may have taken over this service:"
                " nothing more done"
            )

    def give_up(self) -> None:
        """It has to be taken anew."""
        self._epoch = None

    def hand_over(self, to: str) -> None:
        """Another manager has it from now on.

        Raises:
            StoreError: it is nobody's before it is taken anew.
        """
        with self._taking:
            self.assure(self.tenure)
            self.give_up()  # before anybody else can have it
            self._name(to)

    def _name(self, to: str) -> None:
        held = self._store.get(self._key)
        lock = _read(held) if held else None
        if held is None or lock is None or lock.owner != self._session.name:
            raise StaleVersionError(f"'{self._key}' was changed by somebody else")
        self._store.put(
            self._key, _Lock(owner=to, number=lock.number + 1).model_dump_json(), held.version
        )
        self.owner = to


def owner_of(store: Store, service: str) -> str:
    """Who has it by the store, alive or not; '' when nobody has, or it is damaged."""
    held = store.get(lock_key(service))
    lock = _read(held) if held else None
    return lock.owner if lock else ""


def _read(held: Versioned) -> _Lock | None:
    """None when it is damaged."""
    try:
        return _Lock.model_validate_json(held.value)
    except ValidationError:
        return None


def _number(held: Versioned | None) -> int:
    lock = _read(held) if held else None
    return lock.number if lock else 0
