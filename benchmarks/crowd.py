"""A thousand connected clients when the primary is killed: `make crowd`.

Each has a connection through the address that `hamanager url` prints (MongoDB: to the primary of
its URL), has written, and writes again every few seconds. Then the primary is killed, and all of
them come back at once. Told are, over some rounds:

- *one*: the gap between two accepted writes of a plain client while there is no crowd,
- *alongside*: the same of a plain client among the crowd,
- *all*: from that client's last accepted write until the last of the crowd has written again,
- *beyond*: how much longer that is than the median of *one*; the goal is 1 s at the most,
- *floor*: how long the same crowd needs to come back to a healthy server when it drops all of its
  connections at once, up to the answer to a question that touches no data (a write would wait for
  standbys, which there are none of after a failover): what the program and the logins cost here.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.address import SETTLED_SECONDS, SIZES, UNDER_WAY_SECONDS, one_round
from benchmarks.crowd_clients import Crowd
from benchmarks.crowd_wires import MySQLWire
from hamanager.chaos.sandbox import Sandbox
from tests.support.clients import PlainWriter

GOAL_SECONDS = 1.0
ALL_BACK_SECONDS = 60.0
SLICE_SECONDS = 0.05
QUIET_SECONDS = 2.0
"""Between coming back and the next disturbance."""


@dataclass
class Return:
    """How the crowd came back from one disturbance."""

    times: list[float]
    """When each of those was back that are (monotonic)."""
    began: float
    failures: Counter[str]
    cpu_seconds: float = 0.0
    """Of the crowd's program, meanwhile."""
    sockets: int = 0
    """Connections in use when it began."""
    full_logins: int = 0
    """Of MySQL's that had to send the password itself."""

    @property
    def seconds(self) -> float:
        """Until the last one."""
        return max(self.times) - self.began


class CrowdProgram:
    """The crowd in a process of its own, so that it delays nothing of what is measured here."""

    def __init__(self, engine: str, url: str, clients: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._clients = clients
        self._process = context.Process(
            target=_serve, args=(theirs, engine, url, clients), daemon=True
        )
        self._process.start()

    def ask(self, what: str) -> Any:
        """Have it do that, and its answer."""
        self._pipe.send(what)
        if not self._pipe.poll(2 * ALL_BACK_SECONDS):
            raise TimeoutError(f"the crowd's program did not answer to {what}")
        return self._pipe.recv()

    def came_back(self) -> Return:
        """Once all are back from what happened since `watch`."""
        found: Return = self.ask("report")
        missing = self._clients - len(found.times)
        assert not missing, f"{missing} clients were not back: {dict(found.failures)}"
        return found

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, engine: str, url: str, clients: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(engine, url, clients)
    began, cpu_before, logins_before, sockets = time.monotonic(), time.process_time(), 0, 0
    while True:
        crowd.run(SLICE_SECONDS)
        if not pipe.poll():
            continue
        try:
            what = pipe.recv()
        except EOFError:
            crowd.close()
            return
        if what == "report":
            answer = _report(crowd, began)
            answer.cpu_seconds = time.process_time() - cpu_before
            answer.sockets = sockets
            answer.full_logins = _full_logins(crowd) - logins_before
            pipe.send(answer)
            continue
        crowd.forget()
        began, cpu_before = time.monotonic(), time.process_time()
        logins_before, sockets = _full_logins(crowd), crowd.sockets()
        if what == "open":
            crowd.open()
        if what == "again":
            crowd.again()
        pipe.send(None)


def _report(crowd: Crowd, began: float) -> Return:
    deadline = time.monotonic() + ALL_BACK_SECONDS
    while len(back := crowd.back_since(began)) < len(crowd.clients):
        if time.monotonic() > deadline:
            break
        crowd.run(SLICE_SECONDS)
    return Return(times=back, began=began, failures=Counter(crowd.failures))


def _full_logins(crowd: Crowd) -> int:
    return crowd.wire.full_logins if isinstance(crowd.wire, MySQLWire) else 0


def main() -> int:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=1000)
    chosen = parser.parse_args()
    for engine in chosen.engine or SIZES:
        with Sandbox() as sandbox:
            _measure(sandbox, engine, chosen.rounds, chosen.clients)
    return 0


def _measure(sandbox: Sandbox, engine: str, rounds: int, clients: int) -> None:
    sandbox.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
    url = sandbox.command("url", "db").strip()
    writer = PlainWriter(engine, url)
    writer.start()
    program = None
    try:
        alone = []
        for _ in range(rounds):
            time.sleep(UNDER_WAY_SECONDS)
            alone.append(one_round(sandbox, writer, "kill").gap_seconds)
        told = f"{engine}: {rounds} x kill, {clients} clients (min / median / max, s)"
        print(f"{told}\n  one        {_three(alone)}", flush=True)
        program = CrowdProgram(engine, url, clients)
        program.ask("open")
        program.came_back()
        floors, kills = _rounds(sandbox, writer, program, rounds)
    finally:
        writer.stop()
        if program is not None:
            program.close()
    one = statistics.median(alone)
    beyond = [all_back - one for _, all_back, _ in kills]
    verdict = "reached" if max(beyond) <= GOAL_SECONDS else "MISSED"
    print(
        f"  alongside  {_three([gap for gap, _, _ in kills])}\n"
        f"  all        {_three([all_back for _, all_back, _ in kills])}\n"
        f"  beyond     {_three(beyond)}   goal {GOAL_SECONDS:g} s: {verdict}\n"
        f"  floor      {_three([floor.seconds for floor in floors])}\n"
        f"  of the client program's CPU: after a kill {_three([k.cpu_seconds for *_, k in kills])},"
        f" floor {_three([floor.cpu_seconds for floor in floors])}\n"
        f"  {writer.lost()} writes lost",
        flush=True,
    )


def _rounds(
    sandbox: Sandbox, writer: PlainWriter, program: CrowdProgram, rounds: int
) -> tuple[list[Return], list[tuple[float, float, Return]]]:
    floors, kills = [], []
    for number in range(rounds):
        time.sleep(QUIET_SECONDS)
        program.ask("again")
        floors.append(program.came_back())
        time.sleep(QUIET_SECONDS)
        program.ask("watch")
        began = time.monotonic()
        sandbox.container(sandbox.record("db").primary or "").kill()
        back = program.came_back()
        gap, last_before = _gap(writer, began)
        kills.append((gap, max(back.times) - last_before, back))
        failures = ", ".join(f"{n} x {what}" for what, n in back.failures.most_common(5))
        print(
            f"  {number + 1}: gap {gap:.3f}, all after {kills[-1][1]:.3f}"
            f" (half after {statistics.median(back.times) - last_before:.3f}), floor"
            f" {floors[-1].seconds:.3f}; {back.sockets} connections before,"
            f" {back.full_logins} full logins; {failures}",
            flush=True,
        )
        sandbox.wait_for_state("db", "running", SETTLED_SECONDS)
    return floors, kills


def _gap(writer: PlainWriter, since: float) -> tuple[float, float]:
    """The longest one after that moment, and when its first write was accepted."""
    times = [write.at for write in writer.accepted]
    first = next(i for i, at in enumerate(times) if at >= since)
    relevant = times[max(0, first - 1) :]
    return max((b - a, a) for a, b in itertools.pairwise(relevant))


def _three(values: Sequence[float]) -> str:
    return f"{min(values):.3f} / {statistics.median(values):.3f} / {max(values):.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
