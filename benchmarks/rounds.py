"""Rounds of failures under load, and a count of every write afterwards: what the soak on one
machine and the one on several hosts have in common.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from hamanager.chaos.services import wait_for
from hamanager.chaos.watch import Watch, duplicates
from hamanager.chaos.workload import Acknowledged, LoadWriter, open_writer
from hamanager.contracts.driver import Driver
from hamanager.contracts.workload import Writer
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.service import ServiceContext, Target

LOSSLESS = ("mysql", "mongodb")
"""Engines that promise not to lose an acknowledged write; of Redis the loss is measured."""
WRITE_SECONDS = 30
NOTICE_SECONDS = 1.0
"""After a fault, before health is asked for: it has to be seen first."""
PAUSE_SECONDS = 0.001
"""Of the client between two writes."""
CHECK_ROUNDS = 2
"""Two rounds set aside four data volumes at the most; a service keeps five."""


@dataclass(frozen=True)
class Round:
    """One fault that will be injected."""

    number: int
    fault: str
    pick: int
    """Which standby, where one is concerned: counted modulo their number."""


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    fault: str
    pause_seconds: float
    """The longest time without an acknowledged write, from the fault to health."""
    health_seconds: float
    """From the fault to health."""


@dataclass
class Result:
    """What became of one engine's run."""

    title: str
    engine: str
    planned: int
    outcomes: list[Outcome] = field(default_factory=list)
    acknowledged: int = 0
    missing: set[int] = field(default_factory=set)
    """Numbers of acknowledged writes that some check did not find: each counts once."""
    duplicates: int = 0
    """In how many looks two servers that both took writes were seen."""
    failure: str = ""
    lossless: bool = False
    """Whether it is promised that none is lost."""

    def __post_init__(self) -> None:
        self.lossless = self.engine in LOSSLESS

    @property
    def ok(self) -> bool:
        """Whether everything that is promised was kept."""
        return not (self.failure or self.duplicates or (self.lossless and self.missing))


def plan(seed: int, engine: str, rounds: int, faults: Sequence[str]) -> list[Round]:
    """Pure: the sequence of faults."""
    chance = random.Random(f"{seed} {engine}")
    numbers = range(1, rounds + 1)
    return [Round(number, chance.choice(faults), chance.randrange(60)) for number in numbers]


def longest_pause(writes: Sequence[Acknowledged], since: float) -> float:
    """Pure: the longest time in seconds between two writes, if it ended after that moment."""
    return max((b.at - a.at for a, b in pairwise(writes) if b.at > since), default=0.0)


Inject = Callable[[str, str], None]
"""With the names of the primary and of one standby."""


class Subject(Protocol):
    """A service, and whatever manages it."""

    @property
    def title(self) -> str:
        """What manages it."""
        ...

    @property
    def driver(self) -> Driver:
        """Of its engine, with the workload that its client writes."""
        ...

    @property
    def context(self) -> ServiceContext:
        """With its credentials."""
        ...

    def members(self) -> Sequence[Target]:
        """All servers."""
        ...

    def entries(self) -> Sequence[Target]:
        """Where a client tries to write, one after the other."""
        ...

    def primary(self) -> Target:
        """The present one."""
        ...

    def is_whole(self) -> bool:
        """Whether it is in full health."""
        ...

    def heal(self) -> None:
        """End every failure that is still in force."""
        ...

    def tidy(self) -> None:
        """Remove what is kept of former primaries."""
        ...

    def account(self) -> str:
        """What is shown when a round failed."""
        ...


class Soak:
    """All rounds on one subject, with one client through all of them."""

    def __init__(
        self,
        subject: Subject,
        planned: int,
        injections: Callable[[Soak], Mapping[str, Inject]],
        *,
        recovery_seconds: float = 120.0,
        lossless: bool | None = None,
    ) -> None:
        """`injections`: each fault's name and how it is done."""
        self._subject = subject
        self._recovery_seconds = recovery_seconds
        self._result = Result(subject.title, subject.driver.engine, planned)
        if lossless is not None:
            self._result.lossless = lossless
        print(f"\n{self._result.engine} under {subject.title}", flush=True)
        with self._client() as client:
            client.prepare()
        self._writer = LoadWriter(subject.driver, subject.context, subject.entries, PAUSE_SECONDS)
        self._injections = injections(self)

    def run(self, rounds: Sequence[Round]) -> Result:
        """Until a round fails; what came of it."""
        subject = self._subject
        driver = load_drivers()[subject.driver.engine]
        with Watch(driver, subject.context, subject.members) as watch:
            self._writer.start()
            try:
                for this in rounds:
                    self._round(this)
                    self._count_duplicates(watch)
                    if this.number % CHECK_ROUNDS == 0:
                        self._check()
                self._writer.stop()
                self._check()
                if not watch.is_whole():
                    raise HamanagerError("the watch for two primaries ended before its time")
            except HamanagerError as error:
                self._result.failure = str(error)
                print(f"FAILED: {error}\n{self._subject.account()}", flush=True)
            finally:
                self._subject.heal()
                self._writer.stop()
                self._result.acknowledged = len(self._writer.acknowledged())
                self._count_duplicates(watch)
        return self._result

    def _count_duplicates(self, watch: Watch) -> None:
        """Of what was seen since the last time."""
        now = time.monotonic()
        self._result.duplicates += len(duplicates(watch.since(0.0)))
        watch.forget_before(now)

    def _round(self, this: Round) -> None:
        subject = self._subject
        primary = subject.primary().name
        standbys = sorted(t.name for t in subject.members() if t.name != primary)
        print(f"{this.number:>4}  {this.fault:<28}", end="", flush=True)
        faulted = time.monotonic()
        self._injections[this.fault](primary, standbys[this.pick % len(standbys)])
        subject.heal()
        time.sleep(NOTICE_SECONDS)
        wait_for("full health", self._recovery_seconds, subject.is_whole)
        whole = time.monotonic()
        self.wait_for_write(whole)
        writes = self._writer.acknowledged()
        outcome = Outcome(this.fault, longest_pause(writes, faulted), whole - faulted)
        self._result.outcomes.append(outcome)
        print(
            f"pause {outcome.pause_seconds:6.2f} s   healthy after {outcome.health_seconds:6.1f} s"
            f"   acknowledged {len(writes):>8}   lost so far {len(self._result.missing)}",
            flush=True,
        )

    def _check(self) -> None:
        """Look for every acknowledged write on the primary."""
        written = self._writer.acknowledged()  # before reading: later ones may not be there yet
        with self._client() as client:
            held = client.numbers()
        lost = {write.number for write in written} - held - self._result.missing
        self._result.missing |= lost
        if lost and self._result.lossless:
            print(f"LOST: {sorted(lost)}\n{self._subject.account()}", flush=True)
        self._subject.tidy()

    def _client(self) -> closing[Writer]:
        of = self._subject
        return closing(open_writer(of.driver, of.context, of.primary(), WRITE_SECONDS))

    def wait_for_write(self, after: float, not_on: str = "") -> Acknowledged:
        """The first one after that moment, on another server.

        Raises:
            HamanagerError: there is none.
        """
        wait = self._writer.wait_for_write
        if accepted := wait(after=after, not_on=not_on, timeout_seconds=WRITE_SECONDS):
            return accepted
        raise HamanagerError(f"no write was accepted within {WRITE_SECONDS} s")


def report(result: Result) -> None:
    """The table."""
    print(
        f"\n{result.engine} under {result.title}: {result.planned} rounds,"
        f" {len(result.outcomes)} recovered, {result.acknowledged} writes acknowledged,"
        f" {len(result.missing)} lost, two primaries seen {result.duplicates} times"
    )
    print(f"{'':<28}{'rounds':>8}{'pause: median':>16}{'worst':>9}{'health: worst':>16}")
    faults = {outcome.fault for outcome in result.outcomes}
    for fault in [*sorted(faults), "all"] if faults else []:
        some = [outcome for outcome in result.outcomes if fault in ("all", outcome.fault)]
        pauses = [outcome.pause_seconds for outcome in some]
        health = max(outcome.health_seconds for outcome in some)
        print(
            f"{fault:<28}{len(some):>8}{statistics.median(pauses):>14.2f} s"
            f"{max(pauses):>7.2f} s{health:>14.1f} s"
        )
    if result.failure:
        print(f"failed: {result.failure}")
