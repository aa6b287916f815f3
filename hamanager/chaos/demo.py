"""The demo: the main job on real engines, told to somebody who has never seen it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.chaos.workload import LoadWriter
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError

MB = 1 << 20
BALLAST_BYTES = 256 * MB
QUICK_BALLAST_BYTES = 16 * MB
RECOVERY_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """What one engine's run measured."""

    engine: str
    failover_seconds: float
    whole_again_seconds: float
    acknowledged: int
    lost: int


class Narrator:
    """Prints what happens, with the time since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line of the story."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def show(self, line: str) -> None:
        """One line that a command printed."""
        print(f"           | {line}", flush=True)


def databases() -> list[str]:
    """Engines that have a primary to lose: services without data have none."""
    return [name for name, d in load_drivers().items() if d.workload is not None]


def run_demo(engines: Sequence[str], *, quick: bool = False) -> int:
    """Run it for these engines (all databases when empty), with little data when `quick`; the exit
    code."""
    known = databases()
    unknown = [engine for engine in engines if engine not in known]
    if unknown:
        print(f"unknown engine '{unknown[0]}': choose from {', '.join(known)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    narrator = Narrator()
    results: list[Result] = []
    try:
        narrator.say("the daemon starts: hamanager serve (in a state directory of its own)")
        with Sandbox(narrator.show) as sandbox:
            ballast = QUICK_BALLAST_BYTES if quick else BALLAST_BYTES
            results.extend(play(sandbox, narrator, engine, ballast) for engine in engines or known)
            narrator.say("done; whatever the demo started is removed now")
    except KeyboardInterrupt:
        print("\ninterrupted; whatever the demo started has been removed")
        return 130
    except HamanagerError as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    _summarize(results)
    return 0


def play(sandbox: Sandbox, narrator: Narrator, engine: str, ballast_bytes: int) -> Result:
    """The main job with one engine: create, scale up, kill, fail over, recover."""
    size = 3 if sandbox.drivers[engine].capabilities.elects_itself else 2

    def command(*words: str) -> None:
        narrator.say(f"$ hamanager {' '.join(words)}")
        sandbox.command(*words)

    print(f"\n=== {engine} " + "=" * (86 - len(engine)))
    command("create", "db", "--engine", engine)
    narrator.say(
        f"{ballast_bytes // MB} MB of random data are written, so that a copy takes a while"
    )
    sandbox.fill("db", ballast_bytes)
    writer = sandbox.start_writer("db")
    narrator.say("a writer writes numbered rows from now on and counts what is acknowledged")
    try:
        command("scale", f"db:instances={size}")
        narrator.say("before the failure:")
        command("info", "db")
        killed, failover_seconds = kill_primary(sandbox, narrator, writer)
        command("info", "db")
        wait_for("the failed instance to be back", RECOVERY_SECONDS, lambda: whole(sandbox, size))
        whole_again_seconds = time.monotonic() - killed
        narrator.say(
            f"all {size} instances are up again {whole_again_seconds:.1f} s after the kill:"
        )
        command("info", "db")
    finally:
        writer.stop()
    acknowledged, lost = len(writer.acknowledged()), sandbox.lost("db", writer)
    narrator.say(f"{acknowledged} writes were acknowledged in all; {lost} of them were lost")
    command("history", "db")
    command("destroy", "db", "--yes")
    return Result(engine, failover_seconds, whole_again_seconds, acknowledged, lost)


def kill_primary(sandbox: Sandbox, narrator: Narrator, writer: LoadWriter) -> tuple[float, float]:
    """Kill the primary's container; the (monotonic) time of that, and the seconds until another
    instance accepted a write."""
    old = sandbox.primary("db").name
    container = sandbox.container(old)
    narrator.say(f"now the primary is killed: docker kill {container.name}")
    killed = time.monotonic()
    container.kill()
    accepted = writer.wait_for_write(after=killed, not_on=old, timeout_seconds=30)
    if accepted is None:
        raise HamanagerError(f"no instance but {old} accepted a write within 30 s of its end")
    seconds = accepted.at - killed
    narrator.say(f"{accepted.instance} accepted a write {seconds * 1000:.0f} ms after the kill:")
    return killed, seconds


def whole(sandbox: Sandbox, size: int) -> bool:
    """Whether `info` shows all instances up and following."""
    view = sandbox.ask("info", "db")
    return view is not None and view["state"] == "running" and len(view["instances"]) == size


def _summarize(results: Sequence[Result]) -> None:
    print("\n=== what was measured " + "=" * 69)
    print(f"{'':<10}{'kill to first write':>20}{'whole again':>13}{'acknowledged':>14}{'lost':>6}")
    for result in results:
        print(
            f"{result.engine:<10}{result.failover_seconds * 1000:>17.0f} ms"
            f"{result.whole_again_seconds:>11.1f} s{result.acknowledged:>14}{result.lost:>6}"
        )
    print(
        "\nMySQL acknowledges a write when its standby has it on disk, MongoDB when a majority\n"
        "of the members has it. Redis replicates asynchronously: an acknowledged write that no\n"
        "standby had received yet can be lost, and the numbers above say how many were."
    )
