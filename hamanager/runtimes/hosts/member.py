"""One host as the manager knows it: its engine, whether that answers, and calls that end when it
does not.

Every second the engine is asked whether it is there. While it is not, whatever would ask it fails
at once: nobody may wait for a host that is away, least of all somebody who asks about another one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from itertools import count
from typing import Protocol, TypeVar

from hamanager.contracts.runtime import Runtime
from hamanager.errors import HamanagerError, RuntimeFailedError
from hamanager.model.host import EngineInfo, Host, HostSeen

Answer = TypeVar("Answer")

BEAT_SECONDS = 1.0
"""So often it is asked whether it is there."""
INTRODUCTION_SECONDS = 60.0
"""So often it is asked who it is."""
PATIENCE_SECONDS = 2.0
"""Longer than its answer may take: then it is silent."""
STUCK_SECONDS = 0.5
"""A question that has waited for so long makes others of its kind go without an answer."""
LOOK_AGAIN_SECONDS = 0.1


class HostRuntime(Runtime, Protocol):
    """The engine of one host."""

    def ping(self) -> None:
        """It is there, within 2 s.

        Raises:
            RuntimeFailedError: it is not.
        """
        ...

    def look(self) -> EngineInfo:
        """What it says of itself, within 2 s.

        Raises:
            RuntimeFailedError: nothing.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Member:
    """One host. Thread-safe."""

    def __init__(self, host: Host, runtime: HostRuntime, *, is_here: bool) -> None:
        self.host = host
        self.runtime = runtime
        self.is_here = is_here
        """The manager runs on it: what the kernel knows is known while the engine hangs, too."""
        self._lock = threading.Lock()
        self._numbers = count()
        self._open: dict[int, float] = {}
        """Questions under way, and since when (monotonic seconds)."""
        self._asked_at: float | None = None
        """When the question was asked that it has not answered yet."""
        self._silent_since: float | None = None
        self._problem = ""
        self._introduced_at: float | None = None
        self._memory_bytes: int | None = None
        self._closed = threading.Event()

    def begin(self) -> None:
        """Ask it every second from now on."""
        name = f"host-{self.host.name}"
        threading.Thread(target=self._watch, name=name, daemon=True).start()

    def close(self) -> None:
        """It is of no interest any more."""
        self._closed.set()
        if not self.is_here:
            self.runtime.close()

    @property
    def is_closed(self) -> bool:
        """It is not asked any more."""
        return self._closed.is_set()

    @property
    def seen(self) -> HostSeen:
        """How it is."""
        return HostSeen(
            name=self.host.name,
            address=self.host.address,
            draining=self.host.draining,
            silent_seconds=self._silent_seconds(),
            memory_bytes=self._memory_bytes,
            problem=self._problem,
        )

    def observe(self, ask: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The answer to a question that the engine answers within 2 s, or what stands for none."""
        if self.is_here:
            return ask()
        now = time.monotonic()
        with self._lock:
            stuck = any(now - began > STUCK_SECONDS for began in self._open.values())
            if stuck or self._silent_seconds() > 0:
                return otherwise
            number = next(self._numbers)
            self._open[number] = now
        try:
            return ask()
        finally:
            with self._lock:
                self._open.pop(number, None)

    def change(self, ask: Callable[[], Answer]) -> Answer:
        """What that does, or an error as soon as the host is known not to answer. (What it was told
        then it may still do, as one that answers too late does.)

        Raises:
            RuntimeFailedError: the host does not answer, or the engine refuses.
        """
        if self.is_here:
            return ask()
        self._refuse_if_silent()
        future: Future[Answer] = Future()

        def run() -> None:
            try:
                future.set_result(ask())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                future.set_exception(error)

        threading.Thread(target=run, name=f"call-{self.host.name}", daemon=True).start()
        while True:
            try:
                return future.result(timeout=LOOK_AGAIN_SECONDS)
            except NotYet:
                if future.done():
                    continue  # that was its own error
                self._refuse_if_silent()

    # --- Its signs of life -------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closed.is_set():
            self.beat()
            self._closed.wait(BEAT_SECONDS)

    def beat(self) -> None:
        """Ask it once, and remember what came of that."""
        began = time.monotonic()
        self._asked_at = began
        try:
            self._ask(began)
        except HamanagerError as error:
            self._note_silence(began, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            self._note_silence(began, f"asking it failed unexpectedly: {error!r}")
        else:
            self._silent_since, self._problem = None, ""
        finally:
            self._asked_at = None

    def _ask(self, began: float) -> None:
        told = self._introduced_at
        if told is not None and self._silent_since is None and began - told < INTRODUCTION_SECONDS:
            self.runtime.ping()
            return
        info = self.runtime.look()
        if self.host.engine_id and info.id != self.host.engine_id:
            raise RuntimeFailedError(
                f"another Docker engine answers at {self.host.docker} than the one that was added"
                f" as {self.host.name}; bring that one back, or remove the host and add it anew"
            )
        self._introduced_at, self._memory_bytes = began, info.memory_bytes

    def _note_silence(self, since: float, problem: str) -> None:
        if self._silent_since is None:
            self._silent_since = since
        self._problem = problem

    def _silent_seconds(self) -> float:
        now, since, asked_at = time.monotonic(), self._silent_since, self._asked_at
        if since is None and asked_at is not None and now - asked_at > PATIENCE_SECONDS:
            since = asked_at
        return 0.0 if since is None else max(now - since, 1e-3)

    def _refuse_if_silent(self) -> None:
        silent_seconds = self._silent_seconds()
        if silent_seconds > 0:
            why = f": {self._problem}" if self._problem else ""
            raise RuntimeFailedError(
                f"the host {self.host.name} has not answered for {silent_seconds:.0f} s{why}"
            )
