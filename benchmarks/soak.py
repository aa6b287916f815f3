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
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.rounds import WRITE_SECONDS, Inject, Result, Round, Soak, plan, report
from benchmarks.sentinel import SentinelPair
from hamanager.api.client import Client
from hamanager.api.views import ServiceState
from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.service import Target

SERVICE = "db"
RECOVERY_SECONDS = 120
FAULT_SECONDS = 4.0
HEAD_START_SECONDS = 0.2
"""Of a standby's death before the primary's."""
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

    def heal(self) -> None:
        """End every failure that is still in force."""
        self.faults.heal()

    def tidy(self) -> None:
        """As an operator who looked."""
        if self._sandbox.record(SERVICE).retained:
            self._sandbox.command("discard", SERVICE, "all")

    def account(self) -> str:
        """`info`, the history and the end of the daemon's log."""
        told = [self._sandbox.run(word, SERVICE).stdout for word in ("info", "history")]
        return "\n".join([*told, self._sandbox.daemon_log()[-LOG_CHARACTERS:]])


class Injections:
    """How each fault is done."""

    def __init__(self, subject: Managed | SentinelPair, soak: Soak) -> None:
        self._subject, self._soak = subject, soak

    def all(self) -> Mapping[str, Inject]:
        """By name."""
        subject, faults = self._subject, self._subject.faults
        found: dict[str, Inject] = {
            "kill primary": lambda primary, _: subject.kill(primary),
            "hang primary": lambda primary, _: _hold(faults.hang, primary),
            "cut off primary": lambda primary, _: _hold(faults.cut_off, primary),
            "restart primary": lambda primary, _: faults.restart(primary),
            "kill standby": lambda _, standby: subject.kill(standby),
            "hang standby": lambda _, standby: _hold(faults.hang, standby),
            "cut link to primary": self._cut_link,
            "slow primary": lambda primary, _: _hold(faults.slow, primary),
            "kill standby, then primary": self._kill_both,
            "kill two at once": lambda primary, standby: self._kill_both(primary, standby, 0.0),
            "terminate primary": lambda primary, _: faults.terminate(primary),
            "stop primary": lambda primary, _: faults.stop(primary),
            "kill primary twice": lambda primary, _: self._kill_twice(primary),
        }
        if isinstance(subject, Managed):
            found["kill manager and primary"] = subject.kill_with_manager
            found["switchover"] = subject.switch_over
        return found

    def _cut_link(self, primary: str, standby: str) -> None:
        target = next(t for t in self._subject.members() if t.name == primary)
        ports = {target.port, target.replication_port}
        _hold(lambda name: self._subject.faults.cut_link(name, *ports), standby)

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
        self._subject.kill(self._soak.wait_for_write(killed, not_on=primary).instance)


def _hold(begin: Callable[[str], None], instance: str) -> None:
    """For a while; the round ends it."""
    begin(instance)
    time.sleep(FAULT_SECONDS)


def _soak(subject: Managed | SentinelPair, rounds: Sequence[Round]) -> Result:
    soak = Soak(subject, len(rounds), lambda soak: Injections(subject, soak).all())
    return soak.run(rounds)


def soak_managed(
    engine: str, rounds: Sequence[Round], instances: int | None, durability: str | None
) -> Result:
    """hamanager's run, with a daemon of its own: what one leaves behind is not the next one's."""
    with Sandbox() as sandbox:
        return _soak(Managed(sandbox, engine, instances, durability), rounds)


def soak_sentinel(rounds: Sequence[Round], start_seconds: float) -> Result:
    """Sentinel's run."""
    with SentinelPair(load_drivers()["redis"], start_seconds) as pair:
        return _soak(pair, rounds)


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
