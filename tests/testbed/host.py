"""One host of the test bed, and what can happen to it."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

from tests.testbed import disk
from tests.testbed.namespaces import END_SECONDS, Namespaces
from tests.testbed.process import PROC, TestbedError, send, sh

ETCD_PORT = 2379
STOP_SECONDS = 30.0
"""How long a clean shutdown waits for those that were asked to end."""


class Host(Namespaces):
    """Made by a `Testbed`."""

    _filters: list[tuple[str, ...]]
    _ails: bool

    def start(self) -> None:
        """Boot it, with nothing wrong; see `Namespaces.start`."""
        self._filters, self._ails = [], False
        super().start()

    @property
    def is_well(self) -> bool:
        """Whether it runs and nothing is known to be wrong with it."""
        return self.runs and not self._ails

    def crash(self) -> None:
        """It is gone from one moment to the next and says nothing to anybody; its disk has what
        was written."""
        sh("ip", "link", "set", self.link, "down")
        self._kill_all()

    def power_off(self) -> None:
        """The same, and its disk has only what was synced."""
        sh("ip", "link", "set", self.link, "down")
        disk.lose_unsynced(self.outside(self.disk))
        self._kill_all()

    def shut_down(self) -> None:
        """As `poweroff` does it: SIGTERM to everything that a service manager had started, the
        Docker engine among it, which stops its containers; what is left is killed."""
        running = [p for p in self._processes if p.runs]
        send([p.pid for p in running], signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(p.runs for p in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._kill_all()

    def hang(self) -> None:
        """SIGSTOP to every process. The kernel goes on: it still takes connections."""
        self._ails = True
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            awake = [pid for pid in self.processes() if _state(pid) not in "TtZ"]
            if not awake:
                return
            send(awake, signal.SIGSTOP)
            time.sleep(0.01)
        raise TestbedError(f"{self.name} could not be made to hang")

    def wake(self) -> None:
        """SIGCONT to every process."""
        self._ails = False
        send([p._entering.pid for p in self._processes], signal.SIGCONT)
        send(self.processes(), signal.SIGCONT)

    def cut_off(self) -> None:
        """Its cable is pulled: packets from and to it are lost, those of its own processes among
        themselves are not."""
        self._ails = True
        sh("ip", "link", "set", self.link, "down")

    def plug_in(self) -> None:
        """End that."""
        sh("ip", "link", "set", self.link, "up")

    def drop(self, chain: str, *matches: str) -> None:
        """Drop the packets in its network that a rule of iptables matches; `heal` ends it."""
        self._ails = True
        rule = (chain, *matches, "-j", "DROP")
        self._network("iptables", "-w", "5", "-I", *rule)
        self._filters.append(rule)

    def cut_off_from(self, *others: Host) -> None:
        """No packet passes between it and those; `heal` ends it. Containers' traffic is
        forwarded, so it is dropped there as well."""
        for other in others:
            for chain in ("INPUT", "FORWARD"):
                self.drop(chain, "-s", other.address)
            for chain in ("OUTPUT", "FORWARD"):
                self.drop(chain, "-d", other.address)

    def cut_off_from_store(self) -> None:
        """Its processes reach no member of etcd, not even its own host's; members go on reaching
        each other. `heal` ends it."""
        self.drop("OUTPUT", "-p", "tcp", "--dport", str(ETCD_PORT))

    def ignore(self, other: Host) -> None:
        """Its own processes (a manager, a proxy) do not reach the other host, while its containers
        and its member of etcd do: replication goes on. `heal` ends it."""
        not_etcd = ("-m", "multiport", "!", "--ports", f"{ETCD_PORT},{ETCD_PORT + 1}")
        self.drop("OUTPUT", "-d", other.address, "-p", "tcp", *not_etcd)

    def slow(self, loss: float = 0.3) -> None:
        """So much of what it sends and gets is lost; `heal` ends it."""
        some = ("-m", "statistic", "--mode", "random", "--probability", f"{loss:g}")
        for chain in ("INPUT", "FORWARD"):
            self.drop(chain, "-i", "eth0", *some)
        self.drop("OUTPUT", "-o", "eth0", *some)
        self.drop("FORWARD", "-o", "eth0", *some)

    def heal(self) -> None:
        """End whatever it suffers from, short of starting it and its engine."""
        if not self.runs:
            return
        while self._filters:
            self._network("iptables", "-w", "5", "-D", *self._filters.pop())
        self.plug_in()
        self.wake()


def _state(pid: int) -> str:
    """Z when it is gone."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    return "Z"
