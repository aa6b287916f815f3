"""Many small services on one host: how long making them, losing one of each ten and removing them
takes, and what the manager costs meanwhile.

    python -m benchmarks.many [--services 150] [--engine redis] [--quiet-seconds 60]

Every fifth service has two instances (MongoDB: three). A client stays connected to the address of
every tenth one while the last service is made: no connection may end by that. The machine is seldom
one's own: the share of it that others used is told, too.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import SIZES
from hamanager import paths
from hamanager.api.client import Client
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.endpoints.haproxy.backend import CONTROL
from hamanager.endpoints.haproxy.control import Control
from hamanager.model.settings import Settings

AT_ONCE = 8
"""So many commands are given side by side."""
SETTLED_SECONDS = 900
SETTLING_SECONDS = 15.0
PACE = 10
"""One in so many is killed, and has a client."""
LARGER = 5
"""One in so many has more than one instance."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What a process has used and uses."""

    cpu_seconds: float
    memory_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Use:
        """As the kernel tells it."""
        place = Path(f"/proc/{pid}")
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        return cls(
            (int(fields[11]) + int(fields[12])) / TICKS,
            int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            int(fields[17]),
            len(list((place / "fd").iterdir())),
        )

    @classmethod
    def of_all(cls, pids: Iterable[int]) -> Use:
        """Of several processes together."""
        each = [cls.of(pid) for pid in pids]
        return cls(
            sum(use.cpu_seconds for use in each),
            sum(use.memory_bytes for use in each),
            sum(use.threads for use in each),
            sum(use.descriptors for use in each),
        )


class Clients:
    """Connections at addresses, on which nothing is said."""

    def __init__(self, addresses: Iterable[tuple[str, int]]) -> None:
        self._open = [socket.create_connection(address, 5) for address in addresses]
        for connection in self._open:
            connection.setblocking(False)

    def ended(self) -> str:
        """How many have ended so far."""
        return f"{sum(map(_has_ended, self._open))} of {len(self._open)} connections ended"

    def close(self) -> None:
        """End them all."""
        for connection in self._open:
            connection.close()


def main() -> int:
    """Make them, look, kill, look, remove."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=150)
    parser.add_argument("--engine", choices=sorted(SIZES), action="append")
    parser.add_argument("--quiet-seconds", type=float, default=60.0)
    chosen = parser.parse_args()
    engines = chosen.engine or ["redis"]
    names = {f"s{n:03d}": engines[n % len(engines)] for n in range(chosen.services)}
    with Sandbox() as sandbox:
        _run(sandbox, names, chosen.quiet_seconds)
    return 0


def _run(sandbox: Sandbox, engines: Mapping[str, str], quiet_seconds: float) -> None:
    sizes = {
        name: 1 if number % LARGER else SIZES[engine]
        for number, (name, engine) in enumerate(engines.items())
    }
    *names, last = sizes
    _tell_idle(sandbox, "no service", quiet_seconds / 4)
    _make(sandbox, engines, sizes, names)
    clients = Clients(
        (endpoint.host, endpoint.port)
        for name in names[::PACE]
        if engines[name] == "redis" and (endpoint := sandbox.record(name).endpoint)
    )
    try:
        _make(sandbox, engines, sizes, [last])
        time.sleep(1)
        print(f"clients: {clients.ended()}; {_workers(sandbox)}", flush=True)
        time.sleep(SETTLING_SECONDS)
        _tell_idle(sandbox, f"{len(sizes)} services", quiet_seconds)
        _tell_answers(sandbox, last)
        _kill(sandbox, sizes, names[::PACE])
    finally:
        clients.close()
    began = time.monotonic()
    with Client.connect(sandbox.home) as client:
        for name in sizes:
            client.destroy(name)
    wait_for("all to be gone", SETTLED_SECONDS, lambda: sandbox.ask("info") == [])
    print(f"destroy: {len(sizes)} services in {time.monotonic() - began:.1f} s")


def _make(
    sandbox: Sandbox, engines: Mapping[str, str], sizes: Mapping[str, int], names: Sequence[str]
) -> None:
    def create(name: str) -> None:
        with Client.connect(sandbox.home) as client:
            client.create(name, engines[name], sizes[name], None, None, Settings())

    began = time.monotonic()
    took = _each(names, create)
    _await_running(sandbox, sizes, names)
    print(
        f"create: {len(names)} services run after {time.monotonic() - began:.1f} s; accepted in"
        f" {statistics.median(took):.2f} s (median), {max(took):.2f} s (longest)",
        flush=True,
    )


def _kill(sandbox: Sandbox, sizes: Mapping[str, int], names: Sequence[str]) -> None:
    terms = {name: sandbox.record(name).term for name in names}
    began = time.monotonic()
    for name in names:
        sandbox.container(sandbox.record(name).primary or "").kill()
    wait_for(
        "whoever was killed to be replaced",
        SETTLED_SECONDS,
        lambda: all(sandbox.record(n).term > terms[n] for n in names if sizes[n] > 1),
    )
    led = time.monotonic() - began
    _await_running(sandbox, sizes, names)
    print(
        f"kill: {len(names)} primaries in turn; all are led again after {led:.1f} s, all instances"
        f" are back after {time.monotonic() - began:.1f} s",
        flush=True,
    )


def _await_running(sandbox: Sandbox, sizes: Mapping[str, int], names: Sequence[str]) -> None:
    def there() -> bool:
        shown = {view["name"]: view for view in sandbox.ask("info") or []}
        return all(
            name in shown
            and shown[name]["state"] == "running"
            and len(shown[name]["instances"]) == sizes[name]
            for name in names
        )

    wait_for("all to run", SETTLED_SECONDS, there, pause_seconds=0.5)


def _tell_idle(sandbox: Sandbox, what: str, seconds: float) -> None:
    pids = {"manager": [sandbox.daemon_pid], "haproxy": _proxy_processes(sandbox)}
    before = {name: Use.of_all(found) for name, found in pids.items() if found}
    busy_before, began = _machine_seconds(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    after = {name: Use.of_all(pids[name]) for name in before}
    machine = (_machine_seconds() - busy_before) / took / (os.cpu_count() or 1)
    print(f"idle with {what}, over {took:.0f} s (the machine was busy by {machine:.0%}):")
    for name, use in after.items():
        share = (use.cpu_seconds - before[name].cpu_seconds) / took
        print(
            f"  {name}: {share:.1%} of a CPU, {use.memory_bytes >> 20} MB, {use.threads} threads,"
            f" {use.descriptors} descriptors",
            flush=True,
        )


def _tell_answers(sandbox: Sandbox, name: str) -> None:
    for what, ask in {
        "info of one, over the API": lambda: sandbox.ask("info", name),
        "info of all, over the API": lambda: sandbox.ask("info"),
        "hamanager list": lambda: sandbox.run("list"),
        "hamanager info": lambda: sandbox.run("info"),
    }.items():
        print(f"{what}: {statistics.median(_timed(ask) for _ in range(5)):.3f} s", flush=True)


def _timed(ask: Callable[[], object]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


def _each(names: Sequence[str], do: Callable[[str], object]) -> list[float]:
    """Side by side; how long each took."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: _timed(lambda: do(name)), names))


def _proxy_processes(sandbox: Sandbox) -> list[int]:
    """The master, its worker, and workers from before a reload."""
    labels = [f"hamanager.manager={sandbox.manager_id}", "hamanager.helper=haproxy"]
    found = sandbox.docker.containers.list(filters={"label": labels})
    return [int(row[1]) for container in found for row in container.top()["Processes"]]


def _workers(sandbox: Sandbox) -> str:
    control = Control(paths.endpoint_directory(sandbox.home) / "run" / CONTROL)
    present, old = control.workers()
    return f"HAProxy has {len(present)} worker and {len(old)} from before a reload"


def _machine_seconds() -> float:
    """The CPU time that anybody used so far."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / TICKS


def _has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    raise SystemExit(main())
