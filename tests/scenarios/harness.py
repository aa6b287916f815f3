"""One failure on a real service: a writer all along, a second look at who takes writes, a result.

Each scenario ends healthy at full size, with nothing lost where that is promised, and never with
two servers that both took writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.chaos.watch import Watch, duplicates
from hamanager.chaos.workload import Acknowledged, LoadWriter
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError

SIZES = {"mysql": 2, "redis": 2, "mongodb": 3}
LOSSLESS = ("mysql", "mongodb")
"""Engines that promise not to lose an acknowledged write; of Redis the loss is measured."""
WHOLE_SECONDS = 150.0


@dataclass
class Result:
    """A line of the table."""

    scenario: str
    engine: str
    passed: bool = False
    acknowledged: int = 0
    lost: int | None = None
    longest_gap_seconds: float | None = None
    whole_seconds: float | None = None
    """From the (last) fault to full health."""
    note: str = ""


RESULTS: list[Result] = []


class Scenario:
    """Use as a context manager around the failure."""

    def __init__(
        self,
        sandbox: Sandbox,
        engine: str,
        name: str,
        *,
        instances: int | None = None,
        options: tuple[str, ...] = (),
        pause_seconds: float = 0.002,
        lossless: bool | None = None,
        service: str = "db",
        before_destroy: Callable[[], None] = lambda: None,
    ) -> None:
        self.sandbox = sandbox
        self.engine = engine
        self.service = service
        self.size = instances or SIZES[engine]
        self.result = Result(name, engine)
        self.lossless = engine in LOSSLESS if lossless is None else lossless
        self.faults = Faults(sandbox.docker, sandbox.manager_id)
        self.faulted_at = 0.0
        """Monotonic seconds of the last fault."""
        self.writer_cut_off = False
        """The fault concerns the writer, too: its gap says nothing about the service."""
        self.writer: LoadWriter
        self._options = options
        self._before_destroy = before_destroy
        self._pause_seconds = pause_seconds
        self._watching = ExitStack()
        self._watch: Watch

    def __enter__(self) -> Scenario:
        RESULTS.append(self.result)
        self.sandbox.command(
            "create",
            self.service,
            "--engine",
            self.engine,
            "--instances",
            str(self.size),
            *self._options,
        )
        self.sandbox.wait_for_state(self.service, "running", 180, self.size)
        self.writer = self.sandbox.start_writer(self.service, self._pause_seconds)
        context = self.sandbox.context(self.service)
        watch = Watch(
            load_drivers()[self.engine], context, lambda: self.sandbox.members(self.service)
        )
        self._watch = self._watching.enter_context(watch)
        wait_for("writes", 10, lambda: len(self.writer.acknowledged()) > 50)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.faults.heal()
            if error is None:
                self._finish()
        finally:
            self._watching.close()
            self.writer.stop()
            self._before_destroy()
            self.sandbox.run("destroy", self.service, "--yes")

    def _finish(self) -> None:
        self.wait_whole()
        result = self.result
        result.whole_seconds = time.monotonic() - self.faulted_at
        self.wait_for_write(from_now=True)
        self.writer.stop()
        written = self.writer.acknowledged()
        result.acknowledged = len(written)
        result.lost = self.sandbox.lost(self.service, self.writer)
        times = [write.at for write in written]
        gaps = [b - a for a, b in pairwise(times) if b > self.faulted_at]
        if not self.writer_cut_off:
            result.longest_gap_seconds = max(gaps, default=None)
        seen = self._watch.since(0.0)
        assert self._watch.is_whole(), "the watch for two primaries ended before its time"
        assert any(seen.values()), "it has seen nothing"
        two = [round(at - self.faulted_at, 3) for at in duplicates(seen)]
        assert not two, f"two took writes, so many seconds after the fault: {two[:3]}"
        if self.lossless:
            assert result.lost == 0, f"{result.lost} acknowledged writes are gone"
        result.passed = True

    # --- What scenarios are made of ----------------------------------------------------------

    def fault(self, inject: Callable[[], object]) -> None:
        """Inject it; gaps and recovery are counted from here."""
        self.faulted_at = time.monotonic()
        inject()

    @property
    def primary(self) -> str:
        """The primary on record."""
        return self.sandbox.primary(self.service).name

    @property
    def standby(self) -> str:
        """The standby with the lowest number."""
        return next(t.name for t in self.sandbox.members(self.service) if t.name != self.primary)

    def ports(self, instance: str) -> tuple[int, ...]:
        """Where it is published."""
        target = next(t for t in self.sandbox.members(self.service) if t.name == instance)
        return tuple({target.port, target.replication_port})

    def info(self) -> Any:
        """What `info` shows."""
        return self.sandbox.ask("info", self.service)

    def wait_whole(self, seconds: float = WHOLE_SECONDS) -> Any:
        """Until the service is healthy at its full size."""
        return self.sandbox.wait_for_state(self.service, "running", seconds, self.size)

    def wait_for_write(
        self, *, not_on: str = "", seconds: float = 40, from_now: bool = False
    ) -> Acknowledged:
        """The first write after the fault (or from now on) on another instance."""
        after = time.monotonic() if from_now else self.faulted_at
        accepted = self.writer.wait_for_write(after=after, not_on=not_on, timeout_seconds=seconds)
        assert accepted is not None, f"no write on another than {not_on} within {seconds:g} s"
        return accepted

    def wait_for_history(self, words: str, seconds: float = 30) -> None:
        """Until an entry says so."""
        wait_for(f"the history to say '{words}'", seconds, lambda: self.history_says(words))

    def history_says(self, words: str) -> bool:
        """Whether an entry holds these words."""
        return any(words in e["text"] for e in self.sandbox.ask("history", self.service) or [])

    def writes_in(self, seconds: float) -> int:
        """How many writes are acknowledged from now on in that time."""
        before = len(self.writer.acknowledged())
        time.sleep(seconds)
        return len(self.writer.acknowledged()) - before

    def expect_no_failover(self, seconds: float) -> None:
        """For so long nobody takes the primary's place."""
        primary = self.primary
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.primary != primary:
                raise HamanagerError(f"{self.primary} took the place of {primary}")
            time.sleep(0.2)
