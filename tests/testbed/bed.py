"""Several hosts on one machine, for tests and demonstrations.

    with Testbed(hosts=3, images=["hamanager/redis:debian"]) as bed:
        bed.hosts[0].unit("manager", python, "-m", "hamanager", "serve")
        bed.hosts[0].crash()
        bed.hosts[0].start()

Each host is a set of namespaces with its own Docker engine (`host.py`); they are joined by a bridge
of this machine, from which they can be reached as well. Packet delay needs a kernel module that
many machines lack, so a slow network is one that loses packets. Needs root.

A bed has a number, which its bridge, addresses and directory are named after, so that several can
be there at once. The hosts end with whoever made them, by the kernel, also when it is killed; what
else it leaves is removed by the next bed of that number.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.testbed.host import Host
from tests.testbed.layers import lend
from tests.testbed.namespaces import MARK
from tests.testbed.process import TestbedError, command_lines, send, sh

TOOLS = ("ip", "iptables", "nsenter", "unshare", "mkfs.ext4", "dockerd", "docker")
NUMBERS = range(100)
LOAD_SECONDS = 180.0
CGROUPS = Path("/sys/fs/cgroup")


def why_not() -> str:
    """Why no test bed can be had here; '' when it can."""
    if os.geteuid() != 0:
        return "a test bed of several hosts needs root"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing: run scripts/setup-testbed.sh"
    return ""


class Testbed:
    """Use as a context manager: nothing is left afterwards."""

    __test__ = False  # for pytest, which would take it for a class of tests

    def __init__(
        self,
        hosts: int = 3,
        images: Sequence[str] = (),
        engine_options: tuple[str, ...] = (),
        number: int | None = None,
        own: tuple[str, ...] = (),
    ) -> None:
        """`images` of this machine's Docker engine are had by every host's. `engine_options` are
        further ones of every `dockerd`. The number is the lowest free one when none is given. `own`
        are directories in which each host writes for itself; all others are this machine's."""
        if reason := why_not():
            raise TestbedError(reason)
        self.number, self._lock = _take_number(NUMBERS if number is None else [number])
        self.bridge = f"hatb{self.number}"
        self.gateway = self._address(1)
        """This machine's address in the hosts' network."""
        self.directory = Path(tempfile.gettempdir()) / f"{MARK}-{self.number}"
        self.hosts: list[Host] = []
        self._to_load: Sequence[str] = ()
        try:
            self._remove_leftovers()
            self._make(hosts, images, engine_options, own)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Testbed:
        try:
            self._each(Host.start)
            if self._to_load:
                self.load(*self._to_load)
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

    def load(self, *images: str) -> None:
        """Have those of this machine's images on every host, too."""
        archive = self.directory / "images.tar"
        sh("docker", "save", "--output", archive, *images, seconds=LOAD_SECONDS)
        self._each(lambda host: host.must("docker", "load", "-i", archive, seconds=LOAD_SECONDS))
        archive.unlink()

    def close(self) -> None:
        """Remove everything."""
        try:
            self._each(Host.end)
        finally:
            self._remove_leftovers()
            os.close(self._lock)

    def _make(
        self,
        hosts: int,
        images: Sequence[str],
        engine_options: tuple[str, ...],
        own: tuple[str, ...],
    ) -> None:
        self.directory.mkdir(mode=0o700)
        addresses = {f"h{n}": self._address(10 + n) for n in range(1, hosts + 1)}
        names = self.directory / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{ip} {name}" for name, ip in addresses.items())]
        names.write_text("\n".join(lines) + "\n")
        template = self.directory / "template"
        (template / "docker").mkdir(parents=True)
        layers = lend(images, template / "docker") if images else {}
        if layers is None:
            self._to_load, layers = images, {}
        lines = [f"{here} {there}\n" for here, there in layers.items()]
        (template / "layers").write_text("".join(lines))
        sh("ip", "link", "add", self.bridge, "type", "bridge")
        sh("ip", "address", "add", f"{self.gateway}/24", "dev", self.bridge)
        sh("ip", "link", "set", self.bridge, "up")
        # Docker forbids to forward, and a bridge's packets may have to pass that, too.
        sh("iptables", "-w", "5", "-I", "FORWARD", *self._forwarding)
        for number, (name, address) in enumerate(addresses.items(), 1):
            directory = self.directory / name
            files = directory, names, template
            self.hosts.append(
                Host(self.number, number, address, self.gateway, *files, engine_options, own)
            )

    def _each(self, do: Callable[[Host], object]) -> None:
        """On all hosts at once."""
        if self.hosts:
            with ThreadPoolExecutor(len(self.hosts)) as pool:
                for done in [pool.submit(do, host) for host in self.hosts]:
                    done.result()

    def _address(self, last: int) -> str:
        return f"10.77.{self.number}.{last}"

    @property
    def _forwarding(self) -> tuple[str, ...]:
        """Among the hosts alone: not to what else this machine has."""
        return (
            "-i",
            self.bridge,
            "-o",
            self.bridge,
            "-m",
            "comment",
            "--comment",
            MARK,
            "-j",
            "ACCEPT",
        )

    def _remove_leftovers(self) -> None:
        """Of this bed, or of an earlier one of its number that was killed."""
        mark = [MARK, str(self.number)]
        left = [pid for pid, words in command_lines() if _holds(words, mark)]
        send(left, signal.SIGKILL)
        send(left, signal.SIGCONT)
        for link in _links(self.bridge):
            sh("ip", "link", "delete", link, check=False)
        while _succeeds("iptables", "-w", "5", "-D", "FORWARD", *self._forwarding):
            pass
        for found in (*CGROUPS.glob(f"{self.bridge}h*"), *CGROUPS.glob(f"*/{self.bridge}h*")):
            _remove_cgroup(found)
        shutil.rmtree(self.directory, ignore_errors=True)


def _take_number(numbers: Iterable[int]) -> tuple[int, int]:
    """The lowest of these that no other bed has, and what holds it: a file descriptor."""
    for number in numbers:
        lock = os.open(f"/run/{MARK}-{number}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return number, lock
    raise TestbedError("there are test beds of all numbers already")


def _holds(words: list[str], part: list[str]) -> bool:
    return any(words[at : at + len(part)] == part for at in range(len(words)))


def _links(bridge: str) -> list[str]:
    """The bridge and the hosts' links to it."""
    names = (link.name for link in Path("/sys/class/net").iterdir())
    return [name for name in names if name == bridge or name.startswith(f"{bridge}h")]


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _remove_cgroup(directory: Path) -> None:
    """It is empty, as are those below."""
    for path, _, _ in os.walk(directory, topdown=False):
        with suppress(OSError):
            Path(path).rmdir()
