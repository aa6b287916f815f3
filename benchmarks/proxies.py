"""How much later clients at the addresses of other machines have the new primary than those at the
manager's own: `make proxies`.

A client of the engine's own library writes at each address, one on the manager's and two of
`hamanager proxy`. The primary is killed; told is, for each of these two, how long after the client
at the manager's it has a write accepted. All are on this machine: what a network adds is not in it.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import statistics
import time
from bisect import bisect_left
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.clients import PlainWriter, answers
from tests.support.proxies import ADDRESSES, Proxy, goes_on

UNDER_WAY_SECONDS = 0.7
"""So long they write undisturbed before each round."""
PAUSE_SECONDS = 0.005
"""No failover is shorter."""
WRITE_SECONDS = 60.0
SETTLED_SECONDS = 240.0


def main() -> int:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["mysql", "redis"], default="redis")
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    with Sandbox() as sandbox, ExitStack() as stack:
        sandbox.command("create", "db", "--engine", chosen.engine, "--instances", "2")
        proxies = [Proxy(sandbox, address) for address in ADDRESSES]
        for proxy in proxies:
            stack.callback(proxy.close)
            proxy.start()
        urls = [sandbox.command("url", "db").strip(), *(proxy.url("db") for proxy in proxies)]
        writers = []
        for number, url in enumerate(urls):
            wait_for(f"address {number}", WRITE_SECONDS, partial(answers, chosen.engine, url))
            writers.append(PlainWriter(chosen.engine, url))
            writers[-1].begin_after(number * 10_000_000)
            stack.callback(writers[-1].stop)
            writers[-1].start()
        later: list[list[float]] = [[] for _ in proxies]
        for _ in range(chosen.rounds):
            own, *others = first_writes(sandbox, writers)
            for seconds, at in zip(later, others, strict=True):
                seconds.append(at - own)
        for proxy, seconds in zip(proxies, later, strict=True):
            three = (min(seconds), statistics.median(seconds), max(seconds))
            told = " / ".join(f"{value * 1000:.0f}" for value in three)
            print(
                f"{chosen.engine}: {chosen.rounds} kills: first write at {proxy.address} after the"
                f" first one at the manager's address: min / median / max {told} ms"
            )
    return 0


def first_writes(sandbox: Sandbox, writers: list[PlainWriter]) -> list[float]:
    """Kill the primary; the (monotonic) moment of the first write after that, for each."""
    time.sleep(UNDER_WAY_SECONDS)
    record = sandbox.record("db")
    server = sandbox.container(record.primary or "")
    server.reload()
    process = os.pidfd_open(int(server.attrs["State"]["Pid"]))
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], WRITE_SECONDS)
        died_at = time.monotonic()
    finally:
        os.close(process)
    sandbox.wait_until_in_step("db", record.term, SETTLED_SECONDS)
    for writer in writers:
        goes_on(writer, WRITE_SECONDS)
    return [first_write(writer, died_at) for writer in writers]


def first_write(writer: PlainWriter, died_at: float) -> float:
    """That was accepted after that moment, and after a pause: the dead server's last answer may
    have been on its way."""
    times = [write.at for write in writer.accepted]
    since = pairwise(times[max(0, bisect_left(times, died_at) - 1) :])
    return next(at for before, at in since if at - before > PAUSE_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
