"""Rounds of failures under load, and a count of every write afterwards: what the soak on one
machine and the one on several hosts have in common.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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
    excused: set[int] = field(default_factory=set)
    """The same, of writes that are not promised to survive what happened."""
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
        excuses: Callable[[Acknowledged], bool] = lambda _: False,
    ) -> None:
        """`injections`: each fault's name and how it is done. `excuses`: whether nobody promises
        that this write survives what has happened."""
        self._subject = subject
        self._recovery_seconds = recovery_seconds
        self._excuses = excuses
        self._watch: Watch
        self.result = Result(subject.title, subject.driver.engine, planned)
        if lossless is not None:
            self.result.lossless = lossless
        print(f"\n{self.result.engine} under {subject.title}", flush=True)
        with self._client() as client:
            client.prepare()
        self._writer = LoadWriter(subject.driver, subject.context, subject.entries, PAUSE_SECONDS)
        self._injections = injections(self)

    def run(self, rounds: Sequence[Round]) -> Result:
        """Until a round fails; what came of it."""
        with self.running():
            for this in rounds:
                print(f"{this.number:>4}  {this.fault:<28}", end="", flush=True)
                faulted = time.monotonic()
                self.inject(this)
                self.heal()
                outcome = self.settle(this, faulted)
                print(
                    f"pause {outcome.pause_seconds:6.2f} s   healthy after"
                    f" {outcome.health_seconds:6.1f} s   acknowledged"
                    f" {self.acknowledged:>8}   lost so far {len(self.result.missing)}",
                    flush=True,
                )
            self.finish()
        return self.result

    @contextmanager
    def running(self) -> Iterator[None]:
        """The client writes and all servers are watched inside; what fails there ends that, and is
        part of the result."""
        subject = self._subject
        driver = load_drivers()[subject.driver.engine]
        with Watch(driver, subject.context, subject.members) as self._watch:
            self._writer.start()
            try:
                yield
            except HamanagerError as error:
                self.fail(str(error))
            finally:
                subject.heal()
                self._writer.stop()
                self.result.acknowledged = self.acknowledged
                self._count_duplicates()

    def fail(self, why: str) -> None:
        """Something that was promised was not kept."""
        self.result.failure = why
        print(f"FAILED: {why}\n{self._subject.account()}", flush=True)

    def inject(self, this: Round) -> None:
        """The round's fault, at this service."""
        primary = self._subject.primary().name
        standbys = sorted(t.name for t in self._subject.members() if t.name != primary)
        self._injections[this.fault](primary, standbys[this.pick % len(standbys)])

    def heal(self) -> None:
        """End every failure that is still in force."""
        self._subject.heal()

    def settle(self, this: Round, faulted: float) -> Outcome:
        """Wait for full health, and look what is lost; what came of the round.

        Raises:
            HamanagerError: it does not become healthy, or takes no write then.
        """
        time.sleep(NOTICE_SECONDS)
        wait_for("full health", self._recovery_seconds, self._subject.is_whole)
        whole = time.monotonic()
        self.wait_for_write(whole)
        pause = longest_pause(self._writer.acknowledged(), faulted)
        outcome = Outcome(this.fault, pause, whole - faulted)
        self.result.outcomes.append(outcome)
        self._count_duplicates()
        if this.number % CHECK_ROUNDS == 0:
            self._check()
        return outcome

    def finish(self) -> None:
        """All rounds are through: a last look.

        Raises:
            HamanagerError: the watch for two primaries has not seen everything.
        """
        self._writer.stop()
        self._check()
        if not self._watch.is_whole():
            raise HamanagerError("the watch for two primaries ended before its time")

    @property
    def acknowledged(self) -> int:
        """So many writes so far."""
        return len(self._writer.acknowledged())

    def _count_duplicates(self) -> None:
        """Of what was seen since the last time."""
        now = time.monotonic()
        self.result.duplicates += len(duplicates(self._watch.since(0.0)))
        self._watch.forget_before(now)

    def _check(self) -> None:
        """Look for every acknowledged write on the primary."""
        written = self._writer.acknowledged()  # before reading: later ones may not be there yet
        with self._client() as client:
            held = client.numbers()
        result, known = self.result, self.result.missing | self.result.excused
        missing = [w for w in written if w.number not in held and w.number not in known]
        result.excused |= {w.number for w in missing if self._excuses(w)}
        lost = {w.number for w in missing} - result.excused
        result.missing |= lost
        if lost and result.lossless:
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
    if result.excused:
        print(
            f"and {len(result.excused)} that several machines had not synced when they lost power"
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
