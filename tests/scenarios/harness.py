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
from hamanager.chaos.sandbox import Sandbox
from hamanager.chaos.services import Services, wait_for
from hamanager.chaos.watch import Watch, duplicates
from hamanager.chaos.workload import Acknowledged, LoadWriter
from hamanager.contracts.driver import Driver
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


class Failure:
    """A failure under one service, wherever it runs, and the one judgement on what came of it."""

    whole_within_seconds = WHOLE_SECONDS

    def __init__(
        self, services: Services, engine: str, name: str, *, service: str, size: int, lossless: bool
    ) -> None:
        self.services = services
        self.engine = engine
        self.service = service
        self.size = size
        self.result = Result(name, engine)
        self.lossless = lossless
        self.faulted_at = 0.0
        """Monotonic seconds of the last fault."""
        self.writer_cut_off = False
        """The fault concerns the writer, too: its gap says nothing about the service."""
        self.writer: LoadWriter
        self._open = ExitStack()
        self._watch: Watch

    def begin(self, pause_seconds: float, driver: Driver | None = None) -> None:
        """A client that writes (with the driver's workload), and a look at who takes writes."""
        self.writer = self.services.start_writer(self.service, pause_seconds, driver)
        self._open.callback(self.writer.stop)
        # No driver that anybody else uses.
        asking, context = load_drivers()[self.engine], self.services.context(self.service)
        followed = self.services.followed(self.service)
        self._watch = self._open.enter_context(Watch(asking, context, followed))
        wait_for("writes", 10, lambda: len(self.writer.acknowledged()) > 50)

    def end(self) -> None:
        """Nobody writes or looks any more."""
        self._open.close()

    def judge(self) -> None:
        """Whole again, nothing lost where that is promised, and never two that took writes."""
        self.wait_whole()
        result = self.result
        result.whole_seconds = time.monotonic() - self.faulted_at
        self.wait_for_write(from_now=True)
        self.writer.stop()
        written = self.writer.acknowledged()
        result.acknowledged = len(written)
        result.lost = self.services.lost(self.service, self.writer)
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

    # --- What scenarios are made of ----------------------------------------------------------

    def fault(self, inject: Callable[[], object]) -> None:
        """Inject it; gaps and recovery are counted from here."""
        self.faulted_at = time.monotonic()
        inject()

    @property
    def primary(self) -> str:
        """The primary on record."""
        return self.services.primary(self.service).name

    @property
    def standby(self) -> str:
        """The standby with the lowest number."""
        members = self.services.members(self.service)
        return next(t.name for t in members if t.name != self.primary)

    def info(self) -> Any:
        """What `info` shows."""
        return self.services.ask("info", self.service)

    def wait_whole(self, seconds: float | None = None) -> Any:
        """Until the service is healthy at its full size."""
        seconds = seconds or self.whole_within_seconds
        return self.services.wait_for_state(self.service, "running", seconds, self.size)

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
        return any(words in e["text"] for e in self.services.ask("history", self.service) or [])

    def writes_in(self, seconds: float) -> int:
        """How many writes are acknowledged from now on in that time."""
        before = len(self.writer.acknowledged())
        time.sleep(seconds)
        return len(self.writer.acknowledged()) - before

    def expect_no_failover(self, seconds: float) -> None:
        """For so long nobody takes the primary's place."""
        primary, deadline = self.primary, time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.primary
            if now != primary:
                raise HamanagerError(f"{now} took the place of {primary}")
            time.sleep(0.2)


class Scenario(Failure):
    """Use as a context manager around the failure, on one machine."""

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
        super().__init__(
            sandbox,
            engine,
            name,
            service=service,
            size=instances or SIZES[engine],
            lossless=engine in LOSSLESS if lossless is None else lossless,
        )
        self.sandbox = sandbox
        self.faults = Faults(sandbox.docker, sandbox.manager_id)
        self._options = options
        self._before_destroy = before_destroy
        self._pause_seconds = pause_seconds

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
        self.begin(self._pause_seconds)
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
                self.judge()
                self.result.passed = True
        finally:
            self.end()
            self._before_destroy()
            self.sandbox.run("destroy", self.service, "--yes")

    def ports(self, instance: str) -> tuple[int, ...]:
        """Where it is published."""
        target = next(t for t in self.sandbox.members(self.service) if t.name == instance)
        return tuple({target.port, target.replication_port})
