"""One failure of a host under a real service: a writer all along, a second look at who takes
writes, a line in the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import Any

from hamanager.chaos.services import wait_for
from hamanager.chaos.watch import Watch, duplicates
from hamanager.chaos.workload import Acknowledged, LoadWriter
from hamanager.contracts.driver import Driver
from hamanager.decide.leading import preferred
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.redis.writer import RedisWorkload
from tests.scenarios.harness import LOSSLESS, RESULTS, SIZES, Result
from tests.testbed.fleet import Fleet
from tests.testbed.host import Host

CREATE_SECONDS = 240.0
WHOLE_SECONDS = 240.0
SAFE = ("--durability", "strict")
"""The mode in which Redis may be failed over from a host that is silent."""


def confirmed() -> Driver:
    """Redis, whose client counts a write when a standby has confirmed it."""
    driver = RedisDriver()
    driver.workload = RedisWorkload(confirmed_by=1)
    return driver


class HostScenario:
    """Use as a context manager around the failure. The service is on record with a primary on one
    host; all hosts are well before and after."""

    def __init__(
        self,
        fleet: Fleet,
        engine: str,
        name: str,
        *,
        leader: str = "",
        options: tuple[str, ...] = (),
        safe: bool = True,
    ) -> None:
        """`leader`: whose manager has to lead the service; any when empty. `safe`: a Redis whose
        primary takes no write without a standby, and whose client waits for the standby's word."""
        self.fleet = fleet
        self.engine = engine
        # Writes of a safe Redis wait for a standby, which has to be left after a host is lost.
        self.size = 3 if engine == "redis" and safe else SIZES[engine]
        self.lossless = engine in LOSSLESS or safe
        self.result = Result(name, engine)
        self.service = named_for(leader, [h.name for h in fleet.hosts]) if leader else "db"
        self.faulted_at = 0.0
        self.writer: LoadWriter
        self._safe = engine == "redis" and safe
        self._options = (*(SAFE if self._safe else ()), *options)
        self._watching = ExitStack()
        self._watch: Watch

    def __enter__(self) -> HostScenario:
        RESULTS.append(self.result)
        fleet = self.fleet
        words = ("create", self.service, "--engine", self.engine, "--instances", str(self.size))
        fleet.command(*words, *self._options)
        fleet.wait_for_state(self.service, "running", CREATE_SECONDS, self.size)
        driver = confirmed() if self._safe else None
        self.writer = fleet.start_writer(self.service, 0.002, driver)
        looking = load_drivers()[self.engine]
        context = fleet.context(self.service)
        self._watch = self._watching.enter_context(
            Watch(looking, context, fleet.followed(self.service))
        )
        wait_for("writes", 10, lambda: len(self.writer.acknowledged()) > 50)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
            else:
                print(self.account())
        finally:
            self._watching.close()
            self.writer.stop()
            recover(self.fleet)
            self.fleet.run("destroy", self.service, "--yes")

    def _finish(self) -> None:
        result, fleet = self.result, self.fleet
        self.wait_whole()
        result.whole_seconds = time.monotonic() - self.faulted_at
        self.wait_for_write(from_now=True)
        self.writer.stop()
        written = self.writer.acknowledged()
        result.acknowledged = len(written)
        result.lost = fleet.lost(self.service, self.writer)
        times = [write.at for write in written]
        gaps = [b - a for a, b in pairwise(times) if b > self.faulted_at]
        result.longest_gap_seconds = max(gaps, default=None)
        seen = self._watch.since(0.0)
        assert self._watch.is_whole(), "the watch for two primaries ended before its time"
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

    def primary_host(self) -> Host:
        """Where the primary on record is."""
        return self.fleet.host_of_primary(self.service)

    def standby_host(self) -> Host:
        """Where the standby with the lowest number is."""
        primary = self.fleet.primary(self.service).name
        names = [t.name for t in self.fleet.members(self.service) if t.name != primary]
        return self.fleet.host_of(self.service, names[0])

    def move_primary(self, to: str) -> None:
        """A planned change of primary until it is on that host."""
        record = self.fleet.record(self.service)
        here = next(i.name for i in record.instances if i.placed_on == to)
        if record.primary != here:
            self.fleet.command("switchover", self.service, "--to", here)
        self.wait_whole()

    def wait_whole(self, seconds: float = WHOLE_SECONDS) -> Any:
        """Until the service is healthy at its full size."""
        return self.fleet.wait_for_state(self.service, "running", seconds, self.size)

    def wait_for_write(
        self, *, not_on: str = "", seconds: float = 40, from_now: bool = False
    ) -> Acknowledged:
        """The first write after the fault (or from now on) on another instance."""
        after = time.monotonic() if from_now else self.faulted_at
        accepted = self.writer.wait_for_write(after=after, not_on=not_on, timeout_seconds=seconds)
        assert accepted is not None, f"no write on another than {not_on} within {seconds:g} s"
        return accepted

    def writes_in(self, seconds: float) -> int:
        """How many writes are acknowledged from now on in that time."""
        before = len(self.writer.acknowledged())
        time.sleep(seconds)
        return len(self.writer.acknowledged()) - before

    def expect_no_failover(self, seconds: float) -> None:
        """For so long nobody takes the primary's place."""
        primary, deadline = self.fleet.primary(self.service).name, time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.fleet.primary(self.service).name
            if now != primary:
                raise HamanagerError(f"{now} took the place of {primary}")
            time.sleep(0.2)

    def account(self) -> str:
        """`info`, the history and the end of each manager's log."""
        told = []
        for word in ("info", "history"):
            try:
                told.append(self.fleet.run(word, self.service)[1])
            except Exception as error:
                told.append(f"{word}: {error}")
        return "\n".join([*told, self.fleet.logs()])


def named_for(leader: str, managers: list[str]) -> str:
    """A service that this manager should lead."""
    names = ("db", *(f"db{number}" for number in range(2, 100)))
    return next(name for name in names if preferred(name, managers) == leader)


def recover(fleet: Fleet) -> None:
    """Every host is up and well connected, with its engine and its programs."""
    for host in fleet.hosts:
        if not host.runs:
            host.start()
        host.heal()
        if not host.engine_answers():
            host.kill_engine()
            host.start_engine()
        for unit in list(host.units.values()):
            if not unit.process.runs:
                host.restart(unit.name)
    wait_for("every manager to be alive", 60, lambda: _all_alive(fleet))


def _all_alive(fleet: Fleet) -> bool:
    rows = fleet.managers() or []
    return len([row for row in rows if row["alive"]]) == len(fleet.hosts)
