"""One thread per service: sleeps until it is woken, then runs passes until nothing is left."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

from hamanager.decide.pace import pause_seconds
from hamanager.decide.table import BACKING_OFF
from hamanager.errors import HamanagerError, UnmanageableError
from hamanager.loop import IDLE, Pass, ServiceLoop
from hamanager.model.decision import Action

log = logging.getLogger("hamanager")

PASSES_IN_A_ROW = 50
"""Then the thread waits to be woken again: no bug may turn it into a busy loop."""
WAITING_SECONDS = 0.2
"""Between passes while something is wrong and waited for."""
COPYING_SECONDS = 0.25
"""Between passes while a copy's progress is watched."""
_DURATION = re.compile(r"\b\d+(\.\d+)? s\b")
"""What grows while the same is waited for: that is logged once, not several times a second."""


class Worker(threading.Thread):
    """Runs the passes of one service."""

    def __init__(
        self,
        loop: ServiceLoop,
        after_pass: Callable[[ServiceLoop, Pass], None],
        after_end: Callable[[ServiceLoop], None],
    ) -> None:
        super().__init__(name=f"service-{loop.name}", daemon=True)
        self.loop = loop
        self._after_pass = after_pass
        self._after_end = after_end
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._logged = ""
        self.failure = ""
        """Why the last passes came to nothing; '' when they did not."""

    def wake(self) -> None:
        """Run a pass now, or another one after the present one."""
        self._woken.set()

    def stop(self) -> None:
        """End after the present step."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """The thread's life."""
        pause: float | None = None
        while not self._stopping.is_set():
            self._woken.wait(pause)
            self._woken.clear()
            try:
                pause = self._passes()
                self.failure = ""
            except UnmanageableError:
                # Whoever hired this one tells it, and hires another when it is repaired.
                pause = -1.0
            except HamanagerError as error:
                if str(error) != self.failure:
                    log.warning("%s: %s", self.loop.name, error)
                self.failure, pause = str(error), None
            except Exception as error:
                # A bug must not end the watch over a database: the next wake-up tries again.
                failure = f"the manager failed at this service unexpectedly: {error!r}"
                if failure != self.failure:
                    log.exception("%s: %s", self.loop.name, failure)
                self.failure, pause = failure, None
            if pause is not None and pause < 0:
                self._after_end(self.loop)
                return

    def _passes(self) -> float | None:
        """Passes until there is nothing left to do; how long to sleep at the most (None: until
        woken; negative: the service is no more)."""
        previous = None
        for _ in range(PASSES_IN_A_ROW):
            if self._stopping.is_set():
                return None
            done = self.loop.run_pass()
            if done is None:
                return -1.0
            told = _DURATION.sub("", done.message)
            if told != self._logged and done.decision.rule != BACKING_OFF:
                log.info("%s: %s", self.loop.name, done.message)
                self._logged = told
            self._after_pass(self.loop, done)
            if done.failed:
                continue  # it backs off now; what else is to be done is done at once
            if done.decision.action in IDLE or not done.acted:
                return self._pause(done)
            if previous is not None and done.decision.same_as(previous):
                return WAITING_SECONDS  # it was begun; its effect is not to be seen yet
            previous = done.decision
        return None

    @staticmethod
    def _pause(done: Pass) -> float | None:
        pauses: list[float | None] = []
        if done.unfinished_seconds is not None:
            pauses.append(pause_seconds(done.unfinished_seconds))
        if done.decision.action is Action.WAIT:
            pauses += [WAITING_SECONDS, done.decided_in_seconds]
        if any(seen.status and seen.status.sync for seen in done.snapshot.observations.values()):
            pauses.append(COPYING_SECONDS)
        return min((pause for pause in pauses if pause is not None), default=None)
