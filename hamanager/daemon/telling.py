"""Hears what the manager does and sees, and passes it on to the hooks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from hamanager.api.views import ServiceState
from hamanager.daemon.events import Event, event_of, event_of_state
from hamanager.daemon.hook_file import Hook, load_hooks
from hamanager.daemon.hooks import Teller
from hamanager.errors import UsageError
from hamanager.model.history import HistoryEntry

log = logging.getLogger("hamanager")

LOOK_SECONDS = 1.0


class Telling:
    """A context manager: inside, hooks are told."""

    def __init__(self, path: Path | None, manager: str) -> None:
        """`manager`: its name.

        Raises:
            UsageError: the file cannot be used.
        """
        self._path = path
        self._manager = manager
        self._lock = threading.Lock()
        self._read_at: tuple[float, int] | None = None
        self._tellers: list[Teller] = []
        self._states: dict[str, ServiceState] = {}
        self._stopping = threading.Event()
        self._looking: threading.Thread | None = None
        self._look: Callable[[], Mapping[str, tuple[ServiceState, str, float]]] = dict
        self._problem = ""
        if path is not None:
            self._use(load_hooks(path))
            self._read_at = self._stamp()

    def watch(self, look: Callable[[], Mapping[str, tuple[ServiceState, str, float]]]) -> Telling:
        """`look` tells of each service that this manager leads its state, why, and when that was
        seen (seconds since the epoch)."""
        self._look = look
        return self

    def __enter__(self) -> Telling:
        if self._path is not None:
            self._looking = threading.Thread(target=self._run, name="hooks", daemon=True)
            self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._looking is not None:
            self._looking.join(2 * LOOK_SECONDS)
        self._use(())

    def note(self, entry: HistoryEntry) -> None:
        """Something was added to the history. Returns at once."""
        event = event_of(entry, self._manager)
        if event is not None:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        with self._lock:
            tellers = list(self._tellers)
        for teller in tellers:
            teller.tell(event)

    # --- The thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._read_again()
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look is another
                log.warning("hooks: the services' states are not known: %r", error)

    def look(self) -> None:
        """Tell of each state that is another one than at the last look."""
        seen = self._look()
        for name, (state, text, at) in seen.items():
            before = self._states.get(name)
            event = event_of_state(name, before, state, at, text, self._manager)
            self._states[name] = state
            if event is not None:
                self._tell(event)
        for name in self._states.keys() - seen.keys():
            del self._states[name]

    def _read_again(self) -> None:
        stamp = self._stamp()
        if stamp == self._read_at or self._path is None:
            return
        self._read_at = stamp
        try:
            self._use(load_hooks(self._path))
        except UsageError as error:
            if str(error) != self._problem:
                log.warning("%s; those that were read before go on", error)
            self._problem = str(error)
            return
        self._problem = ""
        log.info("hooks were read from %s", self._path)

    def _stamp(self) -> tuple[float, int] | None:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return (found.st_mtime, found.st_size) if found is not None else None

    def _use(self, hooks: tuple[Hook, ...]) -> None:
        tellers = [Teller(hook) for hook in hooks]
        for teller in tellers:
            teller.start()
        with self._lock:
            former, self._tellers = self._tellers, tellers
        for teller in former:
            teller.stop()
