"""etcd for tests: members as processes of this machine, which can be stopped, hung and restored."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest

from hamanager.stores.etcd.address import EtcdAddress, parse
from hamanager.stores.etcd.store import EtcdStore
from tests.support.certificates import Certificates

_UNPACKED = Path(__file__).parents[2] / ".etcd" / "usr" / "bin"
START_SECONDS = 60.0


def program(name: str) -> str:
    """Where `etcd` or `etcdctl` is; the test is skipped where it is not."""
    unpacked = _UNPACKED / name
    found = str(unpacked) if unpacked.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: scripts/setup-etcd.sh puts it there")
    return found


class Member:
    """One process."""

    def __init__(self, name: str, directory: Path, client: int, peer: int) -> None:
        self.name, self.directory = name, directory
        self.client_port, self.peer_port = client, peer
        self.log: IO[str] = (directory.parent / f"{name}.log").open("a")
        self.process: subprocess.Popen[str] | None = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)


class EtcdCluster:
    """Use as a context manager: begins with all members up."""

    def __init__(
        self,
        directory: Path,
        members: int = 1,
        *,
        certificates: Certificates | None = None,
        asks_clients: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.directory, self.certificates = directory, certificates
        self._asks_clients = asks_clients
        self._options = options
        directory.mkdir(parents=True, exist_ok=True)
        ports = free_ports(2 * members)
        self.members = [
            Member(f"m{n}", directory / f"m{n}", ports[2 * n], ports[2 * n + 1])
            for n in range(members)
        ]
        self.environment: dict[str, str] = {}
        if certificates is not None:
            self.environment["HAMANAGER_STORE_CA"] = str(certificates.ca)
        self._credentials: list[str] = []

    def __enter__(self) -> EtcdCluster:
        try:
            for member in self.members:
                self.start(member)
            self.wait_until_it_serves()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all members."""
        for member in self.members:
            member.end()
            member.log.close()

    @property
    def scheme(self) -> str:
        return "https" if self.certificates else "http"

    @property
    def url(self) -> str:
        """As an operator would name it."""
        members = ",".join(f"127.0.0.1:{member.client_port}" for member in self.members)
        return f"etcd://{members}/test"

    def address(self, prefix: str = "test") -> EtcdAddress:
        return parse(self.url.removesuffix("test") + prefix, self.environment)

    def store(self, prefix: str = "test", seen: Path | None = None) -> EtcdStore:
        """Opened; the caller closes it."""
        return EtcdStore(self.address(prefix), seen)

    def start(self, member: Member, *options: str) -> None:
        """Start a member, or start it again."""
        peers = ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in self.members)
        client = f"{self.scheme}://127.0.0.1:{member.client_port}"
        peer = f"http://127.0.0.1:{member.peer_port}"
        words = [
            # It ends with the tests, however these end.
            "setpriv", "--pdeathsig", "KILL",
            program("etcd"), "--name", member.name, "--data-dir", str(member.directory),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", peers, "--initial-cluster-token", str(self.directory),
            "--logger", "zap", "--log-level", "warn", *self._options, *options,
        ]  # fmt: skip
        if self.certificates is not None:
            words += [
                f"--cert-file={self.certificates.server.certificate}",
                f"--key-file={self.certificates.server.key}",
            ]
            if self._asks_clients:
                words += ["--client-cert-auth", f"--trusted-ca-file={self.certificates.ca}"]
        member.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=member.log, stderr=member.log, text=True,
            start_new_session=True,
            env={**os.environ, "GOMAXPROCS": "1", "ETCD_UNSUPPORTED_ARCH": os.uname().machine},
        )  # fmt: skip

    def wait_until_it_serves(self) -> None:
        """Until a majority answers at every member."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ctl("endpoint", "health", "--command-timeout=5s")
                return
            except subprocess.SubprocessError:
                assert time.monotonic() < deadline, "etcd did not come up"
                time.sleep(0.05)

    def ctl(self, *words: str, members: Sequence[Member] | None = None) -> str:
        """What `etcdctl` prints."""
        endpoints = ",".join(
            f"{self.scheme}://127.0.0.1:{m.client_port}" for m in members or self.members
        )
        tls = []
        if self.certificates is not None:
            tls = [
                f"--cacert={self.certificates.ca}",
                f"--cert={self.certificates.client.certificate}",
                f"--key={self.certificates.client.key}",
            ]
        return subprocess.run(
            [program("etcdctl"), f"--endpoints={endpoints}", *tls, *self._credentials, *words],
            env={**os.environ, "ETCDCTL_API": "3"},
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip

    def leader(self) -> Member:
        """The member that leads now."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                status = self.ctl("endpoint", "status", members=[member]).split(", ")
                if status[4] == "true":
                    return member
            time.sleep(0.05)
        raise AssertionError("no member leads")

    def require_users(self, user: str, password: str, prefix: str) -> None:
        """Switch authentication on, with one user who is allowed that prefix."""
        for words in (
            "user add root:rootpassword", "user grant-role root root", f"role add {user}",
            f"role grant-permission {user} --prefix=true readwrite {prefix}",
            f"user add {user}:{password}", f"user grant-role {user} {user}", "auth enable",
        ):  # fmt: skip
            self.ctl(*words.split())
        self._credentials = ["--user=root:rootpassword"]

    def restore(self, snapshot: Path) -> None:
        """Every member anew from a snapshot, as after a loss of all of them."""
        for member in self.members:
            member.end()
            shutil.rmtree(member.directory)
        peers = ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in self.members)
        for member in self.members:
            subprocess.run(
                [
                    program("etcdctl"), "snapshot", "restore", str(snapshot),
                    f"--name={member.name}", f"--data-dir={member.directory}",
                    f"--initial-cluster={peers}", f"--initial-cluster-token={self.directory}",
                    f"--initial-advertise-peer-urls=http://127.0.0.1:{member.peer_port}",
                ],
                env={**os.environ, "ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        for member in self.members:
            self.start(member)
        self.wait_until_it_serves()


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
