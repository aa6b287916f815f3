"""How long a failover takes: SIGKILL of the primary's server process to the first write that
another instance accepts.

    python -m benchmarks.failover [--engine redis] [--rounds 10]

The client is a plain loop over the instances' addresses (as an application reconnects); the
daemon runs as a process of its own. After each round the failed instance has to be back in step;
how long that took is told, too.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time

from hamanager.chaos.sandbox import Sandbox
from hamanager.discovery import load_drivers

RECOVERY_SECONDS = 180


def main() -> int:
    """Run the rounds and print minimum, median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(load_drivers()), action="append")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    rows: list[tuple[str, list[float], list[float], int, int]] = []
    with Sandbox() as sandbox:
        engines = arguments.engine or sorted(sandbox.drivers)
        rows.extend((engine, *measure(sandbox, engine, arguments.rounds)) for engine in engines)
    print("\nSIGKILL of the primary's process to the first write accepted elsewhere, in ms")
    print(f"{'engine':<10}{'rounds':>8}{'minimum':>10}{'median':>10}{'maximum':>10}{'lost':>12}")
    for engine, gaps, _, lost, acknowledged in rows:
        print(
            f"{engine:<10}{len(gaps):>8}{min(gaps) * 1e3:>10.0f}"
            f"{statistics.median(gaps) * 1e3:>10.0f}{max(gaps) * 1e3:>10.0f}"
            f"{lost:>6} of {acknowledged}"
        )
    print("\nSIGKILL until every instance is back in step, in s")
    print(f"{'engine':<10}{'rounds':>8}{'minimum':>10}{'median':>10}{'maximum':>10}")
    for engine, _, in_step, _, _ in rows:
        print(
            f"{engine:<10}{len(in_step):>8}{min(in_step):>10.2f}"
            f"{statistics.median(in_step):>10.2f}{max(in_step):>10.2f}"
        )
    return 0


def measure(
    sandbox: Sandbox, engine: str, rounds: int
) -> tuple[list[float], list[float], int, int]:
    """The gaps and the times until all were in step, in seconds; the number of writes lost and of
    writes acknowledged."""
    size = 3 if sandbox.drivers[engine].capabilities.elects_itself else 2
    sandbox.command("create", "db", "--engine", engine, "--instances", str(size))
    sandbox.wait_for_state("db", "running", RECOVERY_SECONDS, size)
    writer = sandbox.start_writer("db")
    gaps, in_step = [], []
    try:
        for number in range(1, rounds + 1):
            time.sleep(1.0)
            old, term = sandbox.primary("db").name, sandbox.record("db").term
            process = int(sandbox.container(old).attrs["State"]["Pid"])
            killed = time.monotonic()
            os.kill(process, signal.SIGKILL)
            accepted = writer.wait_for_write(after=killed, not_on=old, timeout_seconds=60)
            if accepted is None:
                sys.exit(f"{engine}: no write accepted within 60 s in round {number}")
            gaps.append(accepted.at - killed)
            in_step.append(sandbox.wait_until_in_step("db", term, RECOVERY_SECONDS) - killed)
            told = f"{gaps[-1] * 1e3:.0f} ms, back in step after {in_step[-1]:.2f} s"
            print(f"{engine} round {number}: {told}", flush=True)
            sandbox.wait_for_state("db", "running", RECOVERY_SECONDS, size)
    finally:
        writer.stop()
    lost, acknowledged = sandbox.lost("db", writer), len(writer.acknowledged())
    sandbox.command("destroy", "db", "--yes")
    return gaps, in_step, lost, acknowledged


if __name__ == "__main__":
    raise SystemExit(main())
