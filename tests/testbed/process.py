"""Processes of the test bed: commands of this machine, and those that run inside a host."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

COMMAND_SECONDS = 30.0
FORK_SECONDS = 10.0
PROC = Path("/proc")


class TestbedError(Exception):
    """What could not be done, in one sentence."""

    __test__ = False


def sh(*words: str | Path, seconds: float = COMMAND_SECONDS, check: bool = True) -> str:
    """Run a command of this machine; what it printed.

    Raises:
        TestbedError: it failed, or took too long.
    """
    line = " ".join(str(word) for word in words)
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except FileNotFoundError as error:
        raise TestbedError(f"{words[0]} is not installed: run scripts/setup-testbed.sh") from error
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"`{line}` took more than {seconds:g} s") from error
    if check and done.returncode:
        raise TestbedError(f"`{line}` failed: {' '.join(done.stderr.split())}")
    return done.stdout


def parents() -> dict[int, int]:
    """Of every process of this machine: its parent."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended
                after_the_name = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(after_the_name[1])
    return found


def namespace(pid: int, kind: str) -> str:
    """Which namespace of that kind a process is in; '' when it has ended."""
    with suppress(OSError):
        return str((PROC / str(pid) / "ns" / kind).readlink())
    return ""


def inside(pid_namespace: str) -> list[int]:
    """Every process in that namespace and in those below it (a container's), with the numbers of
    this machine."""
    known = parents()
    belongs = {pid for pid in known if namespace(pid, "pid") == pid_namespace}
    grown = True
    while grown:
        more = {pid for pid, parent in known.items() if parent in belongs} - belongs
        belongs |= more
        grown = bool(more)
    return sorted(belongs)


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Of every process of this machine that has one."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), words


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """A signal to all of them; one that has ended is none of them any more."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def only_child(pid: int) -> int:
    """The child that `unshare` or `nsenter` has forked.

    Raises:
        TestbedError: there is none.
    """
    deadline = time.monotonic() + FORK_SECONDS
    while time.monotonic() < deadline:
        found = [child for child, parent in parents().items() if parent == pid]
        if found:
            return found[0]
        if not _runs(pid):
            break
        time.sleep(0.005)
    raise TestbedError(f"process {pid} has ended, or has no child")


def wait_until(what: str, seconds: float, condition: Callable[[], bool]) -> None:
    """Until it holds.

    Raises:
        TestbedError: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TestbedError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


class Process:
    """A program inside a host, which dies, hangs and is cut off with it."""

    def __init__(self, host: str, name: str, entering: subprocess.Popen[bytes], log: Path) -> None:
        self.host, self.name, self.log = host, name, log
        self._entering = entering
        """`nsenter`, which waits for the program and ends as it did."""
        self.pid = only_child(entering.pid)
        """In the numbers of this machine."""
        self.suspended = False

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._entering.poll() is None

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        send([self.pid], signal.SIGKILL)
        self.wait(10)

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; its exit code."""
        send([self.pid], signal.SIGTERM)
        return self.wait(seconds)

    def suspend(self) -> None:
        """SIGSTOP, to it alone."""
        self.suspended = True
        send([self.pid], signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT. `nsenter` stops with its program, and would not see its end."""
        self.suspended = False
        send([self.pid, self._entering.pid], signal.SIGCONT)

    def wait(self, seconds: float) -> int:
        """Its exit code.

        Raises:
            TestbedError: it has not ended by then.
        """
        send([self._entering.pid], signal.SIGCONT)
        try:
            return self._entering.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TestbedError(
                f"{self.name} on {self.host} has not ended within {seconds:g} s"
            ) from error

    def printed(self) -> str:
        """All that it has printed, since the host was made."""
        return self.log.read_text(errors="replace")


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
