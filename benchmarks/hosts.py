"""How long a failover takes on several hosts, with the manager on another one than the primary.

    python -m benchmarks.hosts [--engine redis] [--rounds 5] [--loss cut]

First SIGKILL of the primary's server process, on a single machine and on three hosts; then the
primary's host is lost. All machines are made on this one (`tests/testbed`), in either case;
needs root. The client is a plain loop over the instances' addresses.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from hamanager.chaos.services import wait_for
from hamanager.decide.leading import preferred
from hamanager.errors import HamanagerError
from hamanager.runtimes.docker.images import ensure_images
from tests.scenarios.hosts.harness import SAFE, confirmed, recover
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import Fleet, Machine, images
from tests.testbed.host import Host
from tests.testbed.process import PROC, TestbedError

SIZES = {"mysql": 2, "redis": 2, "mongodb": 3}
SAFE_SIZES = SIZES | {"redis": 3}
"""A strict primary takes no write without a standby, and one host is lost."""
PAUSE_SECONDS = 0.001
WHOLE_SECONDS = 300.0
WRITE_SECONDS = 60.0
CALM_SECONDS = 1.5
"""Before each failure."""
LOSSES: dict[str, Callable[[Host], None]] = {"cut": Host.cut_off, "power": Host.power_off}


@dataclass
class Measured:
    """One engine's numbers, in seconds."""

    engine: str
    killed: dict[str, list[float]] = field(default_factory=dict)
    """By the installation's title."""
    lost_host: list[float] = field(default_factory=list)
    lost: int = 0
    acknowledged: int = 0


class Subject:
    """One service, its client, and what is done to its primary."""

    def __init__(self, fleet: Fleet, engine: str, *, safe: bool) -> None:
        """`safe`: a Redis that may be passed over when its host is lost."""
        self.fleet, self.engine = fleet, engine
        self.size = (SAFE_SIZES if safe else SIZES)[engine]
        safe = safe and engine == "redis"
        names = [host.name for host in fleet.hosts]
        self.leader = names[-1] if len(names) > 1 else ""
        known = (f"{engine}{number}" for number in range(100))
        self.name = next(n for n in known if not self.leader or preferred(n, names) == self.leader)
        options = SAFE if safe else ()
        words = ("create", self.name, "--engine", engine, "--instances", str(self.size))
        fleet.command(*words, "--failover-period", "0", *options)
        self._whole()
        driver = confirmed() if safe else None
        self.may_lose = engine == "redis" and not safe
        self.writer = fleet.start_writer(self.name, PAUSE_SECONDS, driver)

    def _whole(self) -> None:
        self.fleet.wait_for_state(self.name, "running", WHOLE_SECONDS, self.size)

    def _elsewhere(self) -> None:
        """The primary is on another host than the manager that leads."""
        if not self.leader:
            return
        leader = self.fleet.host(self.leader)
        wait_for("its leader", 60, lambda: self.fleet.leader_of(self.name) is leader)
        record = self.fleet.record(self.name)
        if self.fleet.host_of_primary(self.name).name != self.leader:
            return
        to = next(i.name for i in record.instances if i.placed_on != self.leader)
        self.fleet.command("switchover", self.name, "--to", to)
        self._whole()

    def gap(self, fail: Callable[[str], None]) -> float:
        """From that failure of the primary to the first write that another instance takes."""
        self._elsewhere()
        time.sleep(CALM_SECONDS)
        old = self.fleet.primary(self.name).name
        failed = time.monotonic()
        fail(old)
        first = self.writer.wait_for_write(after=failed, not_on=old, timeout_seconds=WRITE_SECONDS)
        if first is None:
            raise HamanagerError(f"{self.name}: no write accepted within {WRITE_SECONDS:g} s")
        return first.at - failed

    def kill(self) -> float:
        """SIGKILL of the primary's process."""
        self._elsewhere()
        process = self._process(self.fleet.primary(self.name).name)
        gap = self.gap(lambda _: os.kill(process, signal.SIGKILL))
        self._whole()
        return gap

    def lose_host(self, lose: Callable[[Host], None]) -> float:
        """The loss of the primary's host."""
        gap = self.gap(lambda old: lose(self.fleet.host_of(self.name, old)))
        recover(self.fleet)
        self._whole()
        return gap

    def _process(self, instance: str) -> int:
        """Of that instance's container, by this machine's number."""
        [single] = self.fleet.hosts[:1]
        host = self.fleet.host_of(self.name, instance) if self.leader else single
        with closing(host.client()) as client:
            label = f"hamanager.instance={instance}"
            [container] = client.containers.list(filters={"label": label})
            inner = int(container.attrs["State"]["Pid"])
        return next(pid for pid in host.processes() if _numbers(pid)[1:2] == [inner])

    def close(self, measured: Measured) -> None:
        """Count what was lost, and remove it."""
        self.writer.stop()
        if not self.may_lose:
            measured.lost += self.fleet.lost(self.name, self.writer)
            measured.acknowledged += len(self.writer.acknowledged())
        self.fleet.command("destroy", self.name, "--yes")


def _numbers(pid: int) -> list[int]:
    """A process's numbers, from this machine's inwards."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return []
    told = next(line for line in lines if line.startswith("NSpid:"))
    return [int(number) for number in told.split()[1:]]


def measure(
    title: str, fleet: Fleet, results: Sequence[Measured], rounds: int, loss: str | None
) -> None:
    """One installation, one engine after the other."""
    for measured in results:
        subject = Subject(fleet, measured.engine, safe=False)
        gaps = measured.killed.setdefault(title, [])
        for number in range(1, rounds + 1):
            gaps.append(subject.kill())
            told = f"{measured.engine}, {title}, kill {number}: {gaps[-1] * 1e3:.0f} ms"
            print(told, flush=True)
        subject.close(measured)
        if loss is None:
            continue
        subject = Subject(fleet, measured.engine, safe=True)
        for number in range(1, rounds + 1):
            measured.lost_host.append(subject.lose_host(LOSSES[loss]))
            told = f"{measured.engine}, loss of a host {number}: {measured.lost_host[-1]:.2f} s"
            print(told, flush=True)
        subject.close(measured)


def report(results: Sequence[Measured]) -> None:
    """Both tables."""
    titles = list(results[0].killed)
    print("\nSIGKILL of the primary's process to the first write accepted elsewhere, in ms")
    print(f"{'':<10}" + "".join(f"{title:>33}" for title in titles))
    print(
        f"{'engine':<10}" + "".join(f"{'minimum':>13}{'median':>10}{'maximum':>10}" for _ in titles)
    )
    for measured in results:
        columns = [_three(measured.killed[title], 1e3, 0) for title in titles]
        print(f"{measured.engine:<10}" + "".join(f"{column:>33}" for column in columns))
    print(
        "\nLoss of the primary's host to the first write accepted elsewhere, in s; and of all above"
    )
    print(f"{'engine':<10}{'minimum':>13}{'median':>10}{'maximum':>10}{'lost writes':>24}")
    for measured in results:
        lost = f"{measured.lost} of {measured.acknowledged}"
        print(f"{measured.engine:<10}{_three(measured.lost_host, 1.0, 2):>33}{lost:>24}")


def _three(seconds: Sequence[float], scale: float, digits: int) -> str:
    if not seconds:
        return "-"
    values = (min(seconds), statistics.median(seconds), max(seconds))
    return "".join(f"{value * scale:>10.{digits}f}" for value in values)


def main() -> int:
    """The exit code: 0 when nothing acknowledged was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(SIZES), action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loss", choices=sorted(LOSSES), default="cut")
    parser.add_argument("--hosts-only", action="store_true", help="not on a single machine")
    arguments = parser.parse_args()
    if reason := why_not() or why_no_etcd():
        parser.error(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engines = arguments.engine or sorted(SIZES)
    chosen = [choice.image for choice in dict(ensure_images(images(engines))).values()]
    results = [Measured(engine) for engine in engines]
    try:
        if not arguments.hosts_only:
            with Testbed(1, chosen) as bed, Machine(bed) as machine:
                measure("one machine", machine, results, arguments.rounds, None)
        with Testbed(3, chosen) as bed, Fleet(bed) as fleet:
            measure("three hosts", fleet, results, arguments.rounds, arguments.loss)
    except (HamanagerError, TestbedError) as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    report(results)
    return 1 if any(measured.lost for measured in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
