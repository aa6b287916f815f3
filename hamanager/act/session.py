"""A manager's session: that it lives, as the others can see it; and what it sees of theirs.

What counts as dead is decided in `hamanager.decide.leading`. Two things make a mistake there
harmless. Whoever takes a manager for dead first ends its row by compare-and-swap, which fails when
that one has written since; and from then on its own next write fails, which tells it, whatever its
clock says. And a session that was interrupted counts as another one (`epoch`): what was held by the
one before has to be taken anew, by a compare-and-swap of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress

from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.decide.leading import (
    VALID_SECONDS,
    Looks,
    Sighting,
    is_dead,
    sighted,
)
from hamanager.errors import ConflictError, HamanagerError, StaleVersionError
from hamanager.model.manager import Manager
from hamanager.stores.managers import load_manager, load_managers, manager_key, save_manager

ALONE_SECONDS = 60.0
"""How long the session of a manager is valid whose store nobody else can use: one that was
suspended for longer looks anew before it goes on."""
NEVER = -1.0


class Others:
    """The other managers, as this one sees them. Thread-safe."""

    def __init__(self, store: Store, clock: Clock, me: Manager, *, alone: bool = False) -> None:
        """`alone`: nobody else can use the store."""
        self.me = me
        self._store, self._clock, self._alone = store, clock, alone
        self._lock = threading.Lock()
        self._looks = Looks()
        self._seen: dict[str, tuple[Manager, Sighting]] = {}

    def look(self) -> None:
        """Read all rows.

        Raises:
            StoreError: it does not answer.
        """
        began = self._clock.monotonic()
        try:
            rows = load_managers(self._store)
        except HamanagerError:
            with self._lock:
                self._looks = Looks()
            raise
        ended = self._clock.monotonic()
        with self._lock:
            self._looks = self._looks.after(began, ended)
            before, self._seen = self._seen, {}
            for name, (row, version) in rows.items():
                known = before.get(name)
                seen = sighted(known[1] if known else None, version, began, ended)
                self._seen[name] = row, seen

    def living(self) -> dict[str, float]:
        """The other managers that count as alive by the last look, and for how many seconds each
        has lived, as far as this one knows."""
        with self._lock:
            return {
                name: seen.last_at - seen.alive_since
                for name, (row, seen) in self._seen.items()
                if name != self.me.name and not self._is_over(row, seen, self._looks)
            }

    def led(self, living: Collection[str]) -> set[str]:
        """The services that these say they lead."""
        with self._lock:
            return {s for name, (row, _) in self._seen.items() if name in living for s in row.leads}

    def rows(self) -> list[tuple[Manager, float | None]]:
        """All managers by the last look, by name; and for how many seconds each has been silent,
        None when it is alive."""
        with self._lock:
            looks = self._looks
            return [
                (row, seen.last_at - seen.first_at if self._is_over(row, seen, looks) else None)
                for _, (row, seen) in sorted(self._seen.items())
            ]

    def bury(self, name: str) -> bool:
        """Whether that manager's session is over; when it has run out it is ended here, so that it
        cannot be continued. To be asked after the lock was read that is to be taken from it.

        Raises:
            StoreError: it does not answer.
        """
        began = self._clock.monotonic()
        found = load_manager(self._store, name)
        if found is None or found[0].ended_at is not None:
            return True
        row, version = found
        ended = self._clock.monotonic()
        with self._lock:
            known = self._seen.get(name)
            seen = sighted(known[1] if known else None, version, began, ended)
            looks = self._looks.after(began, ended)
        if not self._is_over(row, seen, looks):
            return False
        try:
            save_manager(self._store, row.ended(self._clock.now()), version)
        except StaleVersionError:
            return False  # it lives, or somebody else was quicker: the next look tells
        return True

    def _is_over(self, row: Manager, seen: Sighting, looks: Looks) -> bool:
        """Whoever lived in this one's state directory is no more, nor is anybody but this one who
        uses a store of its own."""
        gone = self._alone or bool(row.place and row.place == self.me.place)
        return row.ended_at is not None or gone or is_dead(seen, looks)


class Session:
    """This manager's own. Thread-safe."""

    def __init__(self, store: Store, clock: Clock, others: Others, *, alone: bool = False) -> None:
        self.others = others
        self._store, self._clock, self._alone = store, clock, alone
        self._row = others.me
        self._version: int | None = None
        """Of the row as this manager wrote it last; None while that is not known."""
        self._state = 0, NEVER
        """The epoch, and until when it lasts (monotonic seconds): always read and set together."""
        self._lock = threading.Lock()
        self._over = False

    @property
    def name(self) -> str:
        """This manager's."""
        return self._row.name

    @property
    def epoch(self) -> int | None:
        """The number of the session that is valid now; None when none is."""
        epoch, until = self._state
        return epoch if self._clock.monotonic() < until else None

    def renew(self, leads: tuple[str, ...] = ()) -> None:
        """Say that this manager lives.

        Raises:
            ConflictError: another manager of this name is alive.
            StoreError: it could not be written: what is valid stays so until it runs out.
        """
        with self._lock:
            if self._over:
                return
            began = self._clock.monotonic()
            if not self._alone or self._version is None:
                self._write(leads)
            epoch, until = self._state
            seconds = ALONE_SECONDS if self._alone else VALID_SECONDS
            self._state = epoch + (began >= until), began + seconds

    def _write(self, leads: tuple[str, ...]) -> None:
        if self._version is None:
            self._version = self._find()
        version, self._version = self._version, None  # unknown, should the answer be lost
        row = self._row.alive(leads)
        try:
            self._version = save_manager(self._store, row, version)
        except StaleVersionError:
            self._lapse()  # ended by another manager, or somebody else's
            raise
        self._row = row

    def _find(self) -> int:
        """The version that the next write has to expect; 0 when there is no row."""
        found = load_manager(self._store, self.name)
        if found is None or found[0].ended_at is not None:
            self._lapse()
            return found[1] if found else 0
        row, version = found
        if row.incarnation != self._row.incarnation:
            self._lapse()
            if not self.others.bury(self.name):
                raise ConflictError(
                    f"another manager called '{self.name}' is alive on this store: give this one"
                    " another name (`hamanager serve --name NAME`), or a state directory of its own"
                )
            found = load_manager(self._store, self.name)
            return found[1] if found else 0
        return version

    def _lapse(self) -> None:
        self._state = self._state[0], NEVER

    def end(self) -> None:
        """This manager does nothing more; others take over at once."""
        with self._lock:
            self._over = True
            self._lapse()
            with suppress(HamanagerError):
                found = load_manager(self._store, self.name)
                if found is not None and found[0].incarnation == self._row.incarnation:
                    self._store.delete(manager_key(self.name), found[1])
