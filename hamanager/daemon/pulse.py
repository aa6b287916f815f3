"""Questions to the primaries between two observations, so that a hang is noticed sooner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from hamanager.contracts.clock import Clock
from hamanager.daemon.worker import Worker

PULSE_SECONDS = 0.2
"""Between questions to one primary; with many services less often."""
QUESTIONS_PER_SECOND = 50
LONGEST_PAUSE_SECONDS = 1.0
"""Where it would have to be longer nothing is asked: the observations come as often."""


class Pulse:
    """Wakes the worker of a service whose primary gave no sign of life."""

    def __init__(
        self, workers: Callable[[], Mapping[str, Worker]], executor: Executor, clock: Clock
    ) -> None:
        self._workers = workers
        self._executor = executor
        self._clock = clock
        self._asking: set[str] = set()
        self._asked: dict[str, float] = {}

    def beat(self) -> None:
        """Ask each primary, with one question at a time."""
        now = self._clock.monotonic()
        workers = self._workers()
        pause = len(workers) / QUESTIONS_PER_SECOND
        if pause > LONGEST_PAUSE_SECONDS:
            return
        for gone in self._asked.keys() - workers.keys():
            del self._asked[gone]
        for name, worker in workers.items():
            # Never `now - (now - pause) >= pause`: rounding makes that false for hours on end.
            asked = self._asked.get(name)
            if name not in self._asking and (asked is None or now - asked >= pause):
                self._asking.add(name)
                self._asked[name] = now
                self._executor.submit(self._ask, name, worker)

    def _ask(self, name: str, worker: Worker) -> None:
        try:
            if not worker.loop.observer.ask_primary():
                worker.wake()
        finally:
            self._asking.discard(name)
