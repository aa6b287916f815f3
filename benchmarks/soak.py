"""Failure after failure on one service under load, and a count of every write afterwards.

    python -m benchmarks.soak [--engine mysql] [--rounds 100] [--seed 7] [--instances 3]
        [--durability strict] [--peer]

The seed is printed first; the same seed makes the same sequence of faults. `--peer` runs the
faults that Redis Sentinel knows, too, on hamanager and then on Sentinel. See docs/soak.md.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.sentinel import SentinelPair
from hamanager.api.client import Client
from hamanager.api.views import ServiceState
from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.chaos.watch import Watch, duplicates
from hamanager.chaos.workload import Acknowledged, LoadWriter, open_writer
from hamanager.contracts.workload import Writer
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.service import Target

SERVICE = "db"
LOSSLESS = ("mysql", "mongodb")
"""Engines that promise not to lose an acknowledged write; of Redis the loss is measured."""
RECOVERY_SECONDS = 120
WRITE_SECONDS = 30
NOTICE_SECONDS = 1.0
"""After a fault, before health is asked for: it has to be seen first."""
FAULT_SECONDS = 4.0
HEAD_START_SECONDS = 0.2
"""Of a standby's death before the primary's."""
PAUSE_SECONDS = 0.001
"""Of the client between two writes."""
CHECK_ROUNDS = 2
"""Two rounds set aside four data volumes at the most; a service keeps five."""
LOG_CHARACTERS = 4000

PEER_FAULTS = ("kill primary", "hang primary", "cut off primary", "restart primary")
"""Those that leave everything to whatever manages the servers, so that two can be compared."""
FAULTS = (
    *PEER_FAULTS,
    "kill standby",
    "hang standby",
    "cut link to primary",
    "slow primary",
    "kill manager and primary",
    "switchover",
    "kill standby, then primary",
    "kill primary twice",
    "terminate primary",
    "stop primary",
    "kill two at once",
)


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

    @property
    def ok(self) -> bool:
        """Whether everything that is promised was kept."""
        lost = self.missing and self.engine in LOSSLESS
        return not (self.failure or self.duplicates or lost)


def plan(seed: int, engine: str, rounds: int, faults: Sequence[str] = FAULTS) -> list[Round]:
    """Pure: the sequence of faults."""
    chance = random.Random(f"{seed} {engine}")
    numbers = range(1, rounds + 1)
    return [Round(number, chance.choice(faults), chance.randrange(60)) for number in numbers]


def longest_pause(writes: Sequence[Acknowledged], since: float) -> float:
    """Pure: the longest time in seconds between two writes, if it ended after that moment."""
    return max((b.at - a.at for a, b in pairwise(writes) if b.at > since), default=0.0)


Inject = Callable[[str, str], None]
"""With the names of the primary and of one standby."""


class Managed:
    """A service under hamanager."""

    title = "hamanager"

    def __init__(
        self,
        sandbox: Sandbox,
        engine: str,
        instances: int | None = None,
        durability: str | None = None,
    ) -> None:
        self.driver = sandbox.drivers[engine]
        self._sandbox = sandbox
        self._size = instances or (3 if self.driver.capabilities.elects_itself else 2)
        words = f"create {SERVICE} --engine {engine} --instances {self._size}"
        if durability is not None:
            words += f" --durability {durability}"
        sandbox.command(*words.split(), "--failover-period", "0", "--down-after", "1.5")
        sandbox.wait_for_state(SERVICE, "running", RECOVERY_SECONDS, self._size)
        self.context = sandbox.context(SERVICE)
        self.faults = Faults(sandbox.docker, sandbox.manager_id)
        self.kill = self.faults.kill  # the manager starts it again

    def members(self) -> Sequence[Target]:
        """All servers."""
        return self._sandbox.members(SERVICE)

    def primary(self) -> Target:
        """The primary on record."""
        return self._sandbox.primary(SERVICE)

    entries = members  # a client tries one server after the other

    def kill_with_manager(self, primary: str, _: str) -> None:
        """The manager's own process ends first, and is started again."""
        self._sandbox.kill_daemon()
        self.faults.kill(primary)
        self._sandbox.start_daemon()

    def switch_over(self, *_: str) -> None:
        """Planned."""
        self._sandbox.command("switchover", SERVICE)

    def is_whole(self) -> bool:
        """`info` says so."""
        try:
            with Client.connect(self._sandbox.home) as client:
                view = client.view(SERVICE)
        except HamanagerError:
            return False
        return view.state is ServiceState.RUNNING and len(view.instances) == self._size

    def tidy(self) -> None:
        """As an operator who looked."""
        if self._sandbox.record(SERVICE).retained:
            self._sandbox.command("discard", SERVICE, "all")

    def account(self) -> str:
        """`info`, the history and the end of the daemon's log."""
        told = [self._sandbox.run(word, SERVICE).stdout for word in ("info", "history")]
        return "\n".join([*told, self._sandbox.daemon_log()[-LOG_CHARACTERS:]])


Subject = Managed | SentinelPair


class Soak:
    """All rounds on one subject, with one client through all of them."""

    def __init__(self, subject: Subject, planned: int) -> None:
        self._subject = subject
        self._result = Result(subject.title, subject.driver.engine, planned)
        print(f"\n{self._result.engine} under {subject.title}", flush=True)
        with self._client() as client:
            client.prepare()
        self._writer = LoadWriter(subject.driver, subject.context, subject.entries, PAUSE_SECONDS)
        faults = subject.faults
        self._injections: dict[str, Inject] = {
            "kill primary": lambda primary, _: subject.kill(primary),
            "hang primary": lambda primary, _: self._hold(faults.hang, primary),
            "cut off primary": lambda primary, _: self._hold(faults.cut_off, primary),
            "restart primary": lambda primary, _: faults.restart(primary),
            "kill standby": lambda _, standby: subject.kill(standby),
            "hang standby": lambda _, standby: self._hold(faults.hang, standby),
            "cut link to primary": self._cut_link,
            "slow primary": lambda primary, _: self._hold(faults.slow, primary),
            "kill standby, then primary": self._kill_both,
            "kill two at once": lambda primary, standby: self._kill_both(primary, standby, 0.0),
            "terminate primary": lambda primary, _: faults.terminate(primary),
            "stop primary": lambda primary, _: faults.stop(primary),
            "kill primary twice": lambda primary, _: self._kill_twice(primary),
        }
        if isinstance(subject, Managed):
            self._injections["kill manager and primary"] = subject.kill_with_manager
            self._injections["switchover"] = subject.switch_over

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
                self._subject.faults.heal()
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
        subject.faults.heal()
        time.sleep(NOTICE_SECONDS)
        wait_for("full health", RECOVERY_SECONDS, subject.is_whole)
        whole = time.monotonic()
        self._wait_for_write(whole)
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
        if lost and self._result.engine in LOSSLESS:
            print(f"LOST: {sorted(lost)}\n{self._subject.account()}", flush=True)
        self._subject.tidy()

    def _client(self) -> closing[Writer]:
        of = self._subject
        return closing(open_writer(of.driver, of.context, of.primary(), WRITE_SECONDS))

    def _wait_for_write(self, after: float, not_on: str = "") -> Acknowledged:
        wait = self._writer.wait_for_write
        if accepted := wait(after=after, not_on=not_on, timeout_seconds=WRITE_SECONDS):
            return accepted
        raise HamanagerError(f"no write was accepted within {WRITE_SECONDS} s")

    def _hold(self, begin: Callable[[str], None], instance: str) -> None:
        """For a while; the round ends it."""
        begin(instance)
        time.sleep(FAULT_SECONDS)

    def _cut_link(self, primary: str, standby: str) -> None:
        target = next(t for t in self._subject.members() if t.name == primary)
        ports = {target.port, target.replication_port}
        self._hold(lambda name: self._subject.faults.cut_link(name, *ports), standby)

    def _kill_both(
        self, primary: str, standby: str, head_start_seconds: float = HEAD_START_SECONDS
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(self._subject.kill, standby)
            time.sleep(head_start_seconds)
            self._subject.kill(primary)
            first.result(WRITE_SECONDS)

    def _kill_twice(self, primary: str) -> None:
        killed = time.monotonic()
        self._subject.kill(primary)
        self._subject.kill(self._wait_for_write(killed, not_on=primary).instance)


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


def soak_managed(
    engine: str, rounds: Sequence[Round], instances: int | None, durability: str | None
) -> Result:
    """hamanager's run, with a daemon of its own: what one leaves behind is not the next one's."""
    with Sandbox() as sandbox:
        return Soak(Managed(sandbox, engine, instances, durability), len(rounds)).run(rounds)


def soak_sentinel(rounds: Sequence[Round], start_seconds: float) -> Result:
    """Sentinel's run."""
    with SentinelPair(load_drivers()["redis"], start_seconds) as pair:
        return Soak(pair, len(rounds)).run(rounds)


def main() -> int:
    """Run the rounds; 1 when something promised was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(load_drivers()), action="append")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--instances", type=int, help="of each service (2; MongoDB: 3)")
    parser.add_argument("--durability", choices=["availability", "strict"])
    parser.add_argument("--peer", action="store_true", help="compare with Redis Sentinel")
    parser.add_argument("--peer-start", type=float, default=1.0, help="seconds, after a kill")
    arguments = parser.parse_args()
    if arguments.peer and arguments.engine != ["redis"]:
        parser.error("Sentinel manages Redis only: write --engine redis --peer")
    if arguments.rounds < 1:
        parser.error(f"the least number of rounds is 1, not {arguments.rounds}")
    print(f"seed {arguments.seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = PEER_FAULTS if arguments.peer else FAULTS
    plans = {
        engine: plan(arguments.seed, engine, arguments.rounds, faults)
        for engine in arguments.engine or sorted(load_drivers())
    }
    managed = [
        soak_managed(engine, rounds, arguments.instances, arguments.durability)
        for engine, rounds in plans.items()
    ]
    peers = [soak_sentinel(plans["redis"], arguments.peer_start)] if arguments.peer else []
    for result in managed + peers:
        report(result)
    return 0 if all(result.ok for result in managed) else 1


if __name__ == "__main__":
    sys.exit(main())
