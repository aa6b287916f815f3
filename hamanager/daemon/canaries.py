"""The self-audit, where an operator wants it: one small write a second through each service's
address. A write path that hangs while the server answers is seen as that, and an acknowledged
write that a failover has lost is found by the manager itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hamanager.contracts.canary import Canary
from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.daemon.events import CANARY
from hamanager.decide.canary import CanaryState, lost, stalled
from hamanager.errors import HamanagerError, SilentError
from hamanager.model.history import HistoryEntry
from hamanager.model.service import ServiceContext, Target

log = logging.getLogger("hamanager")

LOOK_SECONDS = 0.5
BEAT_SECONDS = 1.0
ANSWER_SECONDS = 30.0
"""So long a beat waits: a server may keep a session for each that has given up."""
LONGEST_PAUSE_SECONDS = 300.0
"""After beats that were not answered; twice as long after each."""
STOP_SECONDS = 1.0


@dataclass(frozen=True)
class Watched:
    """One service whose canary is wanted, as it was seen last."""

    canary: Canary
    context: ServiceContext
    target: Target | None
    """Where clients write; None while that is nowhere."""
    term: int
    primary: str | None
    primary_answers: bool


class _Beats(threading.Thread):
    """Beats for one service."""

    def __init__(self, name: str, clock: Clock, note: Callable[[str, str], None]) -> None:
        super().__init__(name=f"canary-{name}", daemon=True)
        self._service = name
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        self._state = CanaryState()
        self._watched: Watched | None = None
        self._stopping = threading.Event()
        self._number = int(clock.now() * 1000)
        """Grows over restarts of the manager, and from one manager to the next."""

    @property
    def state(self) -> CanaryState:
        """As it is now."""
        with self._lock:
            return self._state

    def watch(self, watched: Watched) -> None:
        """How the service is now."""
        with self._lock:
            self._watched = watched

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()

    def run(self) -> None:
        """The thread's life."""
        pause = BEAT_SECONDS
        while not self._stopping.wait(pause):
            try:
                silent = not self._beat()
            except Exception:
                log.exception("the canary of %s failed unexpectedly", self._service)
                silent = True
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if silent else BEAT_SECONDS

    def _beat(self) -> bool:
        """Whether there was an answer of any kind."""
        with self._lock:
            watched = self._watched
            if watched is None or watched.target is None:
                return True
            self._number = number = max(self._number + 1, int(self._clock.now() * 1000))
            self._state = self._state.begun(self._clock.monotonic())
            before = self._state
        try:
            found = watched.canary.beat(watched.context, watched.target, number, ANSWER_SECONDS)
        except HamanagerError as error:
            with self._lock:
                self._state = self._state.failed(str(error))
            return not isinstance(error, SilentError)
        problem = lost(before, found, watched.term)
        if problem:
            self._note(self._service, problem)
        with self._lock:
            now = self._clock.monotonic()
            self._state = self._state.acknowledged(number, watched.term, now)
        return True


class Canaries:
    """A context manager: inside, they beat. `problem` is thread-safe."""

    def __init__(
        self, store: Store, clock: Clock, look: Callable[[], Mapping[str, Watched]]
    ) -> None:
        """`look` tells of the services whose canary is wanted and that this manager leads."""
        self._store = store
        self._clock = clock
        self._look = look
        self._beats: dict[str, _Beats] = {}
        self._problems: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canaries", daemon=True)

    def __enter__(self) -> Canaries:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(STOP_SECONDS)
        for beats in self._beats.values():
            beats.stop()

    def problem(self, service: str) -> str:
        """What its canary says is wrong; '' for nothing."""
        return self._problems.get(service, "")

    def acknowledged_seconds(self) -> dict[str, float]:
        """By service: since its canary's last write was acknowledged."""
        now = self._clock.monotonic()
        known = {name: beats.state.acknowledged_at for name, beats in self._beats.copy().items()}
        return {name: now - at for name, at in known.items() if at is not None}

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look is another one
                log.warning("the canaries were not looked after: %r", error)

    def look(self) -> None:
        """Let one beat for each service that wants it, and say what they tell."""
        wanted = self._look()
        for name in self._beats.keys() - wanted.keys():
            self._beats.pop(name).stop()
            self._problems.pop(name, None)
        for name, watched in wanted.items():
            beats = self._beats.get(name)
            if beats is None:
                beats = self._beats[name] = _Beats(name, self._clock, self._note)
                beats.watch(watched)
                beats.start()
            beats.watch(watched)
            self._tell(name, watched, beats.state)

    def _tell(self, name: str, watched: Watched, state: CanaryState) -> None:
        now = self._clock.monotonic()
        problem = stalled(state, now, watched.primary, primary_answers=watched.primary_answers)
        if problem and not self._problems.get(name):
            self._note(name, problem)
        elif not problem and self._problems.get(name) and state.begun_at is None:
            self._note(name, "writes are acknowledged again")
        self._problems[name] = problem

    def _note(self, service: str, text: str) -> None:
        log.warning("%s: %s", service, text)
        entry = HistoryEntry(at=time.time(), service=service, kind="note", text=text, rule=CANARY)
        try:
            self._store.append(entry)
        except HamanagerError as error:
            log.warning("%s: that is not in the history: %s", service, error)
