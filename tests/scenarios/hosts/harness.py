"""A host is lost, and with it a server of each engine at the same moment: a writer for each all
along, a second look at who takes writes, a line in the table for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import TracebackType
from typing import Any

from hamanager.chaos.sandbox import Filters
from hamanager.chaos.services import wait_for
from hamanager.contracts.driver import Driver
from hamanager.decide.leading import preferred
from hamanager.errors import HamanagerError
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.redis.writer import RedisWorkload
from tests.scenarios.harness import LOSSLESS, RESULTS, SIZES, Failure
from tests.testbed.fleet import Fleet
from tests.testbed.host import Host

ENGINES = ("mysql", "redis", "mongodb")
LEADER = "h1"
"""Whose manager leads every service while all is well."""
PLACES = frozenset({"h1", "h2"})
"""Hosts on which every service has an instance."""
CREATE_SECONDS = 300.0
READY_SECONDS = 60.0
ALIKE_SECONDS = 20.0
PAUSE_SECONDS = 0.002
SAFE = ("--durability", "strict")
"""The mode in which Redis may be failed over from a host that is silent."""
SYNCED_WITHIN_SECONDS = 2.5
"""Redis syncs its log once a second, and lets a slow disk take another one: so much may be gone
with the power of all machines that had it."""


def confirmed() -> Driver:
    """Redis, whose client counts a write when a standby has confirmed it."""
    driver = RedisDriver()
    driver.workload = RedisWorkload(confirmed_by=1)
    return driver


class Standing:
    """A service of each engine, which stays from one failure to the next."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        managers = [host.name for host in fleet.hosts]
        self.names = {engine: named_for(engine, LEADER, managers) for engine in ENGINES}
        # Redis's writes wait for a standby, which has to be left after a host is lost.
        self.sizes = {**SIZES, "redis": 3}
        self.spoilt = set(ENGINES)
        """Those that are made anew before they are used."""

    def ready(self, engine: str) -> None:
        """Whole, on the right hosts, and led by the right manager."""
        fleet, name, size = self.fleet, self.names[engine], self.sizes[engine]
        if engine not in self.spoilt:
            placed = {instance.placed_on for instance in fleet.record(name).instances}
            if not placed >= PLACES:
                self.spoilt.add(engine)
        if engine in self.spoilt:
            fleet.run("destroy", name, "--yes")
            words = ("create", name, "--engine", engine, "--instances", str(size))
            # The next failure need not wait until a minute after the last one.
            words += ("--failover-period", "0", *(SAFE if engine == "redis" else ()))
            fleet.command(*words)
            fleet.wait_for_state(name, "running", CREATE_SECONDS, size)
            self.spoilt.discard(engine)
        fleet.wait_for_state(name, "running", READY_SECONDS, size)
        leader = fleet.host(LEADER)
        wait_for(f"{LEADER} to lead {name}", READY_SECONDS, lambda: fleet.leader_of(name) is leader)


class HostFailure(Failure):
    """What becomes of one of the services."""

    whole_within_seconds = 240.0

    def __init__(
        self, standing: Standing, engine: str, name: str, primary_on: str, terms: Collection[int]
    ) -> None:
        self.fleet = standing.fleet
        super().__init__(
            self.fleet,
            engine,
            name,
            service=standing.names[engine],
            size=standing.sizes[engine],
            lossless=True,
        )
        self.driver = confirmed() if engine == "redis" else None
        self.old = ""
        """The primary before the failure."""
        self.may_retain = 0
        """So many volumes may be set aside although they may hold what was acknowledged."""
        self._standing, self._primary_on, self._terms = standing, primary_on, terms
        self._term_before = 0
        self._retained_before: set[str] = set()

    def prepare(self) -> None:
        """The primary is where it is wanted, and a client writes."""
        self._standing.ready(self.engine)
        self._move_primary()
        record = self.fleet.record(self.service)
        self.old, self._term_before = self.primary, record.term
        self._retained_before = {volume.volume for volume in record.retained}
        self.begin(PAUSE_SECONDS, self.driver)

    def _move_primary(self) -> None:
        record = self.fleet.record(self.service)
        here = next(i.name for i in record.instances if i.placed_on == self._primary_on)
        if record.primary != here:
            self.fleet.command("switchover", self.service, "--to", here)
        self.wait_whole()

    # --- What a failure is made of -----------------------------------------------------------

    def goes_on_elsewhere(self) -> None:
        """Another instance takes the first write after the fault."""
        accepted = self.wait_for_write(not_on=self.old)
        self.result.note = f"elsewhere after {accepted.at - self.faulted_at:.1f} s"

    def goes_on(self, seconds: float) -> None:
        """Nobody takes the primary's place for so long, and clients notice nothing in the end."""
        self.expect_no_failover(seconds)
        assert self.writes_in(1.0) > 0, "no write is acknowledged"

    def tells_of(self, host: Host, seconds: float = 30.0) -> None:
        """`info` says that what is on that host is not there, and why."""

        def told() -> bool:
            view = self.info()
            if view is None or view["state"] != "degraded":
                return False
            there = [i for i in view["instances"] if i["host"] == host.name]
            return all(i["state"] == "down" and i["detail"] for i in there)

        wait_for(f"`info` to tell of what is on {host.name}", seconds, told)
        print(self.fleet.run("info", self.service)[1])

    def is_led_elsewhere(self, than: Host) -> None:
        """Another manager leads the service."""

        def led() -> bool:
            return self.fleet.leader_of(self.service) not in (None, than)

        wait_for(f"another manager than that on {than.name} to lead", 20, led)

    # --- The judgement -----------------------------------------------------------------------

    def judge(self) -> None:
        """That of all failures, and what has to be so on several hosts."""
        super().judge()
        record = self.fleet.record(self.service)
        terms = record.term - self._term_before
        assert terms in self._terms, f"{terms} new terms, expected {self._terms}"
        self._judge_retained(terms)
        wait_for("all to say the same of it", ALIKE_SECONDS, self._all_say_the_same)
        expected = {(i.placed_on, i.name) for i in record.instances}
        assert self._containers() == expected, f"{self._containers()}, expected {expected}"

    def _judge_retained(self, terms: int) -> None:
        """Nothing that was acknowledged is set aside; a former primary of Redis always is, as its
        writes are proven by nobody."""
        record = self.fleet.record(self.service)
        new = [v for v in record.retained if v.volume not in self._retained_before]
        if self.engine in LOSSLESS:
            proven = [v for v in new if v.unacknowledged]
            assert len(new) - len(proven) <= self.may_retain, f"set aside: {new}"
        else:
            assert len(new) <= terms, f"set aside: {new}"
        for volume in new:
            print(f"set aside: {volume.model_dump()}")

    def _all_say_the_same(self) -> bool:
        """Every manager shows the same primary, whole, and its address leads there."""
        record = self.fleet.record(self.service)
        for host in self.fleet.hosts:
            view = self.fleet.ask("info", self.service, on=host)
            if view is None or view["state"] != "running" or view["term"] != record.term:
                return False
            if view["primary"] != record.primary or not _leads_to(view, record.primary):
                return False
        return self.fleet.leader_of(self.service) is not None

    def _containers(self) -> set[tuple[str, str]]:
        """Of the service, on all hosts; those that have ended, too."""
        found = set()
        for host in self.fleet.hosts:
            with closing(host.client()) as client:
                label: Filters = {"label": f"hamanager.service={self.service}"}
                for container in client.containers.list(all=True, filters=label):
                    if name := container.labels.get("hamanager.instance"):
                        found.add((host.name, name))
        return found

    def account(self) -> str:
        """`info` and the history."""
        told = []
        for word in ("info", "history"):
            try:
                told.append(self.fleet.run(word, self.service)[1])
            except Exception as error:
                told.append(f"{word}: {error}")
        return "\n".join(told)


class EveryEngine:
    """Use as a context manager around the failure. What fails for one engine keeps nobody from
    seeing what becomes of the others."""

    def __init__(
        self,
        standing: Standing,
        name: str,
        *,
        primary_on: str = "h2",
        terms: Collection[int] = (1,),
        engines: Collection[str] = ENGINES,
    ) -> None:
        """`terms`: how many new ones there may be at the end."""
        self.fleet = standing.fleet
        self.runs = [HostFailure(standing, engine, name, primary_on, terms) for engine in engines]
        self._standing = standing
        self._failures: dict[HostFailure, Exception] = {}

    def __enter__(self) -> EveryEngine:
        RESULTS.extend(run.result for run in self.runs)
        recover(self.fleet)
        self.each(HostFailure.prepare)
        return self

    def fault(self, inject: Callable[[], object]) -> None:
        """Inject it; gaps and recovery are counted from here."""
        faulted_at = time.monotonic()
        for run in self.runs:
            run.faulted_at = faulted_at
        inject()

    def each(self, do: Callable[[HostFailure], object]) -> None:
        """With each service that nothing has failed for, at the same time."""
        fit = [run for run in self.runs if run not in self._failures]
        if not fit:
            raise self._failure()
        with ThreadPoolExecutor(len(fit)) as pool:
            for run, done in [(run, pool.submit(do, run)) for run in fit]:
                try:
                    done.result()
                except Exception as error:
                    self._failures[run] = error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            recover(self.fleet)
            if error is None and len(self._failures) < len(self.runs):
                self.each(HostFailure.judge)
        finally:
            for run in self.runs:
                run.end()
                run.result.passed = error is None and run not in self._failures
                if not run.result.passed:
                    self._standing.spoilt.add(run.engine)
                print(f"--- {run.engine}\n{run.account()}")
        if error is None and self._failures:
            raise self._failure()

    def _failure(self) -> AssertionError:
        told = [f"{r.engine}: {type(e).__name__}: {e}" for r, e in self._failures.items()]
        return AssertionError("\n".join(told))


def _leads_to(view: Any, primary: str | None) -> bool:
    address = view["address"]
    return address is None or (address["leads_to"] == primary and not address["problem"])


def named_for(base: str, leader: str, managers: list[str]) -> str:
    """A service that this manager should lead."""
    names = (base, *(f"{base}{number}" for number in range(2, 100)))
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
    wait_for("every manager to be alive", 60, lambda: all_alive(fleet))


def all_alive(fleet: Fleet) -> bool:
    """Whether every host's manager has a session."""
    try:
        rows = fleet.managers() or []
    except HamanagerError:
        return False
    return len([row for row in rows if row["alive"]]) == len(fleet.hosts)
