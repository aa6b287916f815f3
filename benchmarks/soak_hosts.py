"""Hosts lost one after the other under load, and a count of every write afterwards.

    python -m benchmarks.soak_hosts [--hosts 3] [--engine mysql] [--rounds 50] [--seed 7]

On a test bed of several hosts on this machine, with a service of each engine on all of them; needs
root. The seed is printed first; the same seed makes the same sequence of faults. See docs/soak.md.
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import docker

from benchmarks.rounds import Inject, Result, Round, Soak, plan, report
from hamanager.chaos.services import wait_for
from hamanager.chaos.workload import Acknowledged
from hamanager.errors import HamanagerError
from hamanager.model.service import Target
from tests.scenarios.hosts.harness import SAFE, SYNCED_WITHIN_SECONDS, confirmed, recover
from tests.support.images import image_of
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import UNIT as ETCD
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import MANAGER, Fleet
from tests.testbed.host import Host
from tests.testbed.process import TestbedError

ENGINES = ("mysql", "redis", "mongodb")
CREATE_SECONDS = 300.0
RECOVERY_SECONDS = 300.0
HELD_SECONDS = 8.0
LOSS = 0.15
"""Of the packets of a slow network."""

FAULTS = (
    "crash primary's host",
    "power off primary's host",
    "shut down primary's host",
    "cut off primary's host",
    "hang primary's host",
    "slow primary's host",
    "engine of primary's host dies",
    "managers cut off from primary's host",
    "crash standby's host",
    "cut off standby's host",
    "crash the leading manager's host",
    "hang the leading manager",
    "leading manager cut off from the store",
    "hang etcd's leader",
    "crash host of everything",
    "power off two hosts",
    "power off all hosts",
    "kill primary",
)


@dataclass
class Outages:
    """When several hosts lost their power together: from and to, in monotonic seconds."""

    times: list[tuple[float, float]] = field(default_factory=list)

    def power_off(self, hosts: Sequence[Host]) -> None:
        """At the same moment."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(Host.power_off, hosts))
        self.times.append((began, time.monotonic()))

    def explain(self, at: float) -> bool:
        """Whether what was in memory alone at that moment may be gone."""
        return any(began - SYNCED_WITHIN_SECONDS <= at <= ended for began, ended in self.times)


class OnHosts:
    """A service under hamanager on several hosts."""

    def __init__(self, fleet: Fleet, engine: str, outages: Outages) -> None:
        self.engine = self.service = engine
        self.title = f"hamanager on {len(fleet.hosts)} hosts"
        self.fleet = fleet
        self.driver = confirmed() if engine == "redis" else fleet.drivers[engine]
        self._size = 2 if engine == "mysql" else 3
        words = ("create", self.service, "--engine", engine, "--instances", str(self._size))
        words += ("--failover-period", "0", *(SAFE if engine == "redis" else ()))
        fleet.command(*words)
        fleet.wait_for_state(self.service, "running", CREATE_SECONDS, self._size)
        self.context = fleet.context(self.service)
        self.members = fleet.followed(self.service)
        self.entries = self.members
        self._continued: list[Callable[[], None]] = []
        self._outages = outages

    def primary(self) -> Target:
        """The primary on record."""
        return self.fleet.primary(self.service)

    def is_whole(self) -> bool:
        """`info` says so."""
        view = self.fleet.ask("info", self.service)
        if view is None:
            return False
        return bool(view["state"] == "running" and len(view["instances"]) == self._size)

    def heal(self) -> None:
        """Every host is up and well again."""
        while self._continued:
            self._continued.pop()()
        recover(self.fleet)

    def excuses(self, write: Acknowledged) -> bool:
        """Whether nobody promises that it survives: Redis's copies were in memory alone."""
        return self.engine == "redis" and self._outages.explain(write.at)

    def tidy(self) -> None:
        """As an operator who looked."""
        if self.fleet.record(self.service).retained:
            self.fleet.command("discard", self.service, "all")

    def account(self) -> str:
        """`info`, the history and the end of every manager's log."""
        told = [self.fleet.run(word, self.service)[1] for word in ("info", "history")]
        return "\n".join([*told, self.fleet.logs()])

    # --- Faults --------------------------------------------------------------------------------

    def injections(self) -> Mapping[str, Inject]:
        """By name. What lasts ends when the round does."""

        def lasting(do: Callable[[Host], object], of: Callable[[str, str], Host]) -> Inject:
            def inject(primary: str, standby: str) -> None:
                do(of(primary, standby))
                time.sleep(HELD_SECONDS)

            return inject

        at, other = self._at_primary, self._at_standby
        return {
            "crash primary's host": lasting(Host.crash, at),
            "power off primary's host": lasting(Host.power_off, at),
            "shut down primary's host": lasting(Host.shut_down, at),
            "cut off primary's host": lasting(Host.cut_off, at),
            "hang primary's host": lasting(Host.hang, at),
            "slow primary's host": lasting(lambda host: host.slow(LOSS), at),
            "engine of primary's host dies": lasting(Host.kill_engine, at),
            "managers cut off from primary's host": lasting(self._ignore, at),
            "crash standby's host": lasting(Host.crash, other),
            "cut off standby's host": lasting(Host.cut_off, other),
            "crash the leading manager's host": lasting(Host.crash, self._leading),
            "hang the leading manager": lasting(self._hang(MANAGER), self._leading),
            "leading manager cut off from the store": lasting(
                Host.cut_off_from_store, self._leading
            ),
            "hang etcd's leader": lasting(self._hang(ETCD), self._etcd_leader),
            "crash host of everything": lasting(self._crash_everything, at),
            "power off two hosts": self._power_off_two,
            "power off all hosts": self._power_off_all,
            "kill primary": lambda primary, _: self._kill(primary),
        }

    def _at_primary(self, primary: str, _: str) -> Host:
        return self.fleet.host_of(self.service, primary)

    def _at_standby(self, _: str, standby: str) -> Host:
        return self.fleet.host_of(self.service, standby)

    def _leading(self, *_: str) -> Host:
        wait_for("a leading manager", 30, lambda: self.fleet.leader_of(self.service) is not None)
        return self.fleet.leader_of(self.service) or self.fleet.well()

    def _etcd_leader(self, *_: str) -> Host:
        wait_for("a leader of etcd", 30, lambda: self.fleet.etcd.leader() is not None)
        return self.fleet.etcd.leader() or self.fleet.well()

    def _ignore(self, lost: Host) -> None:
        for host in self.fleet.hosts:
            if host is not lost:
                host.ignore(lost)

    def _hang(self, unit: str) -> Callable[[Host], None]:
        def hang(host: Host) -> None:
            process = host.units[unit].process
            self._continued.append(process.resume)
            process.suspend()

        return hang

    def _crash_everything(self, host: Host) -> None:
        """With the leader of etcd, and whatever manager is there."""
        self.fleet.etcd.lead(host)
        host.crash()

    def _power_off_two(self, primary: str, standby: str) -> None:
        hosts = {h.name: h for h in (self._at_primary(primary, ""), self._at_standby("", standby))}
        self._outages.power_off(list(hosts.values()))
        time.sleep(HELD_SECONDS)

    def _power_off_all(self, *_: str) -> None:
        self._outages.power_off(self.fleet.hosts)

    def _kill(self, primary: str) -> None:
        with closing(self.fleet.host_of(self.service, primary).client()) as client:
            label = f"hamanager.instance={primary}"
            for container in client.containers.list(filters={"label": label}):
                container.kill()


def soak_on_hosts(
    engines: Sequence[str], rounds: Sequence[Round], hosts: int, seconds: float
) -> list[Result]:
    """A service of each engine on the same hosts. A host that is lost is that of one of them, each
    in its turn, and carries servers of the others, too. No round begins after so many seconds."""
    began = time.monotonic()
    with closing(docker.from_env()) as here:
        images = [image_of(here, name) for name in (*engines, "haproxy")]
    with Testbed(hosts, images) as bed, Fleet(bed) as fleet:
        outages = Outages()
        with ThreadPoolExecutor(len(engines)) as pool:
            subjects = list(pool.map(lambda engine: OnHosts(fleet, engine, outages), engines))
        soaks = [_soak(subject, len(rounds)) for subject in subjects]
        with ExitStack() as running:
            for soak in soaks:
                running.enter_context(soak.running())
            for this in rounds:
                if time.monotonic() - began > seconds:
                    print("the time is over", flush=True)
                elif _round(soaks, this):
                    continue
                break
            if not any(soak.result.failure for soak in soaks):
                _each(soaks, Soak.finish)
        return [soak.result for soak in soaks]


def _soak(subject: OnHosts, planned: int) -> Soak:
    return Soak(
        subject,
        planned,
        lambda _: subject.injections(),
        recovery_seconds=RECOVERY_SECONDS,
        lossless=True,
        excuses=subject.excuses,
    )


def _round(soaks: Sequence[Soak], this: Round) -> bool:
    """Whether all went well."""
    aimed = soaks[this.number % len(soaks)]
    print(f"{this.number:>4}  {this.fault}, {aimed.result.engine}", flush=True)
    faulted = time.monotonic()

    def inject(soak: Soak) -> None:
        soak.inject(this)
        soak.heal()

    if not _each([aimed], inject) or not _each(soaks, lambda soak: soak.settle(this, faulted)):
        return False
    for soak in soaks:
        result, outcome = soak.result, soak.result.outcomes[-1]
        print(
            f"      {result.engine:<8} pause {outcome.pause_seconds:6.2f} s   healthy after"
            f" {outcome.health_seconds:6.1f} s   acknowledged {soak.acknowledged:>8}   lost so far"
            f" {len(result.missing)}",
            flush=True,
        )
    return True


def _each(soaks: Sequence[Soak], do: Callable[[Soak], object]) -> bool:
    """At the same time; whether all went well."""
    with ThreadPoolExecutor(len(soaks)) as pool:
        under_way = [(soak, pool.submit(do, soak)) for soak in soaks]
    for soak, done in under_way:
        try:
            done.result()
        except (HamanagerError, TestbedError) as error:
            soak.fail(str(error))
    return not any(soak.result.failure for soak, _ in under_way)


def main() -> int:
    """Run the rounds; 1 when something promised was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=math.inf, help="no longer than that")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="only this one")
    arguments = parser.parse_args()
    if arguments.hosts < 3:
        parser.error(
            f"the least number of hosts is 3, not {arguments.hosts}: etcd needs a majority"
        )
    if arguments.rounds < 1:
        parser.error(f"the least number of rounds is 1, not {arguments.rounds}")
    if reason := why_not() or why_no_etcd():
        parser.error(reason)
    print(f"seed {arguments.seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = tuple(arguments.fault or FAULTS)
    try:
        rounds = plan(arguments.seed, "hosts", arguments.rounds, faults)
        engines = arguments.engine or ENGINES
        results = soak_on_hosts(engines, rounds, arguments.hosts, arguments.seconds)
    except (HamanagerError, TestbedError) as error:
        print(f"the soak failed: {error}", file=sys.stderr)
        return 1
    for result in results:
        report(result)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
