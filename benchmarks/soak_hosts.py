"""Hosts lost one after the other under load, and a count of every write afterwards.

    python -m benchmarks.soak_hosts [--hosts 3] [--engine mysql] [--rounds 50] [--seed 7]

On a test bed of several hosts on this machine; needs root. The seed is printed first; the same seed
makes the same sequence of faults. See docs/soak.md.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import docker

from benchmarks.rounds import Inject, Result, Round, Soak, plan, report
from hamanager.chaos.services import wait_for
from hamanager.errors import HamanagerError
from hamanager.model.service import Target
from tests.scenarios.hosts.harness import SAFE, confirmed, recover
from tests.support.images import image_of
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import UNIT as ETCD
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import MANAGER, Fleet
from tests.testbed.host import Host
from tests.testbed.process import TestbedError

SERVICE = "db"
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


class OnHosts:
    """A service under hamanager on several hosts."""

    def __init__(self, fleet: Fleet, engine: str) -> None:
        self.title = f"hamanager on {len(fleet.hosts)} hosts"
        self.fleet = fleet
        self.driver = confirmed() if engine == "redis" else fleet.drivers[engine]
        self._size = 2 if engine == "mysql" else 3
        words = ("create", SERVICE, "--engine", engine, "--instances", str(self._size))
        words += ("--failover-period", "0", *(SAFE if engine == "redis" else ()))
        fleet.command(*words)
        fleet.wait_for_state(SERVICE, "running", CREATE_SECONDS, self._size)
        self.context = fleet.context(SERVICE)
        self.members = fleet.followed(SERVICE)
        self.entries = self.members
        self._continued: list[Callable[[], None]] = []

    def primary(self) -> Target:
        """The primary on record."""
        return self.fleet.primary(SERVICE)

    def is_whole(self) -> bool:
        """`info` says so."""
        view = self.fleet.ask("info", SERVICE)
        if view is None:
            return False
        return bool(view["state"] == "running" and len(view["instances"]) == self._size)

    def heal(self) -> None:
        """Every host is up and well again."""
        while self._continued:
            self._continued.pop()()
        recover(self.fleet)

    def tidy(self) -> None:
        """As an operator who looked."""
        if self.fleet.record(SERVICE).retained:
            self.fleet.command("discard", SERVICE, "all")

    def account(self) -> str:
        """`info`, the history and the end of every manager's log."""
        told = [self.fleet.run(word, SERVICE)[1] for word in ("info", "history")]
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
        return self.fleet.host_of(SERVICE, primary)

    def _at_standby(self, _: str, standby: str) -> Host:
        return self.fleet.host_of(SERVICE, standby)

    def _leading(self, *_: str) -> Host:
        wait_for("a leading manager", 30, lambda: self.fleet.leader_of(SERVICE) is not None)
        return self.fleet.leader_of(SERVICE) or self.fleet.well()

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
        for host in hosts.values():
            host.power_off()
        time.sleep(HELD_SECONDS)

    def _power_off_all(self, *_: str) -> None:
        for host in self.fleet.hosts:
            host.power_off()

    def _kill(self, primary: str) -> None:
        with closing(self.fleet.host_of(SERVICE, primary).client()) as client:
            label = f"hamanager.instance={primary}"
            for container in client.containers.list(filters={"label": label}):
                container.kill()


def soak_on_hosts(engine: str, rounds: Sequence[Round], hosts: int) -> Result:
    """One engine's run, on hosts of its own."""
    with closing(docker.from_env()) as here:
        images = [image_of(here, name) for name in (engine, "haproxy")]
    with Testbed(hosts, images) as bed, Fleet(bed) as fleet:
        subject = OnHosts(fleet, engine)
        soak = Soak(
            subject,
            len(rounds),
            lambda _: subject.injections(),
            recovery_seconds=RECOVERY_SECONDS,
            lossless=True,
        )
        return soak.run(rounds)


def main() -> int:
    """Run the rounds; 1 when something promised was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
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
    results = []
    try:
        for engine in arguments.engine or ENGINES:
            rounds = plan(arguments.seed, engine, arguments.rounds, faults)
            results.append(soak_on_hosts(engine, rounds, arguments.hosts))
    except (HamanagerError, TestbedError) as error:
        print(f"the soak failed: {error}", file=sys.stderr)
        return 1
    for result in results:
        report(result)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
