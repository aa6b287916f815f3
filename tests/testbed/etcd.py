"""An etcd cluster in a test bed: one member on each host, part of it like any other program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.testbed.bed import Testbed
from tests.testbed.host import ETCD_PORT, Host
from tests.testbed.process import TestbedError, wait_until

UNIT = "etcd"
UNPACKED = Path(__file__).parents[2] / ".etcd" / "usr" / "bin"
READY_SECONDS = 30.0


class Etcd:
    """All members."""

    def __init__(self, bed: Testbed) -> None:
        self._program = program("etcd")
        self._control = program("etcdctl")
        self._hosts = bed.hosts
        self._token = bed.bridge
        self.url = "etcd://" + ",".join(f"{h.address}:{ETCD_PORT}" for h in bed.hosts)
        """For `hamanager serve --store`."""

    def start(self) -> None:
        """Start all members and wait until they have a leader."""
        peers = ",".join(f"{h.name}={_peer(h)}" for h in self._hosts)
        for host in self._hosts:
            clients = f"http://{host.address}:{ETCD_PORT}"
            words = [self._program, "--name", host.name, "--data-dir", str(host.path("etcd"))]
            words += ["--listen-peer-urls", _peer(host), "--initial-advertise-peer-urls"]
            words += [_peer(host), "--listen-client-urls", clients, "--advertise-client-urls"]
            words += [clients, "--initial-cluster", peers, "--initial-cluster-state", "new"]
            words += ["--initial-cluster-token", self._token, "--logger", "zap"]
            host.unit(UNIT, *words)
        wait_until("a leader of etcd", READY_SECONDS, lambda: self.leader() is not None)

    def leader(self) -> Host | None:
        """Whose member leads; None while nobody is known to."""
        for host in self._hosts:
            if not host.is_well:
                continue
            status = self._status(host)
            if status is None:
                continue
            leading = status["leader"]
            for other in self._hosts:
                found = self._status(other) if other.is_well else None
                if found is not None and found["header"]["member_id"] == leading:
                    return other
        return None

    def lead(self, host: Host) -> None:
        """Make that host's member the leader.

        Raises:
            TestbedError: it did not come to that.
        """
        leader = self.leader()
        if leader is None:
            raise TestbedError("etcd has no leader who could hand over")
        if leader is not host:
            status = self._status(host)
            if status is None:
                raise TestbedError(f"the member of etcd on {host.name} does not answer")
            member = f"{status['header']['member_id']:x}"
            leader.must(*self._etcdctl(leader), "move-leader", member)
        wait_until(f"etcd to be led by {host.name}", 10, lambda: self.leader() is host)

    def _etcdctl(self, host: Host) -> tuple[str, ...]:
        endpoint = f"http://{host.address}:{ETCD_PORT}"
        words = (self._control, "--command-timeout=3s", "--endpoints", endpoint)
        return ("env", "ETCDCTL_API=3", *words)

    def _status(self, host: Host) -> Any:
        try:
            done = host.call(
                *self._etcdctl(host), "endpoint", "status", "--write-out=json", seconds=5
            )
        except TestbedError:
            return None
        found = json.loads(done.stdout) if done.returncode == 0 and done.stdout else []
        return found[0]["Status"] if found else None


def _peer(host: Host) -> str:
    return f"http://{host.address}:{ETCD_PORT + 1}"


def why_no_etcd() -> str:
    """Why there can be no etcd here; '' when there can."""
    try:
        for name in ("etcd", "etcdctl"):
            program(name)
    except TestbedError as error:
        return str(error)
    return ""


def program(name: str) -> str:
    """Where it is: installed, or unpacked in the checkout.

    Raises:
        TestbedError: it is nowhere.
    """
    unpacked = UNPACKED / name
    found = str(unpacked) if unpacked.is_file() else shutil.which(name)
    if found is None:
        raise TestbedError(f"{name} is missing: run scripts/setup-etcd.sh")
    return found
