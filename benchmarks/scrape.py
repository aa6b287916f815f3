"""How long one scrape of a manager of many services takes, and how much it tells: `make scrape`.

    python -m benchmarks.scrape [--services 100] [--instances 3] [--scrapes 100] [--profile]

The manager is the real one, with all its threads and the page that Prometheus asks; its servers are
the simulation's, so that nothing but the manager takes the machine's time. Every service has failed
over once before, which is when there is most to tell. It scrapes over HTTP, as Prometheus does.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import httpx

from hamanager.api.environment import EnvironmentFile
from hamanager.chaos.sandbox import wait_for
from hamanager.contracts.clock import SystemClock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import Runtime
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.leading import Leading
from hamanager.daemon.metrics import Metrics
from hamanager.daemon.process import shorten_collections
from hamanager.daemon.supervisor import Daemon
from hamanager.daemon.web import make_web, serving
from hamanager.model.history import HistoryEntry
from hamanager.model.manager import Manager
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeDriver, capabilities, no_engine

READY_SECONDS = 600.0
SCRAPE_SECONDS = 10.0
PAUSE_SECONDS = 0.1
SHOWN = 15
"""Functions of a profile."""


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--scrapes", type=int, default=100)
    parser.add_argument("--profile", action="store_true", help="tell where the time goes, too")
    chosen = parser.parse_args()
    shorten_collections()
    metrics, world = Metrics(), World()
    with _managing(world, metrics) as daemon:
        names = [f"db{number:03}" for number in range(chosen.services)]
        for name in names:
            daemon.commands.create(name, "e", chosen.instances)
            daemon.wake(name)
        wait_for("all services to run", READY_SECONDS, lambda: _are_well(daemon, names))
        for name in names:
            _fail(daemon, world, name)
        wait_for("all to have failed over", READY_SECONDS, lambda: _are_well(daemon, names))
        with serving(("127.0.0.1", 0), make_web(daemon.queries, metrics)) as port:
            print(_measure(f"http://127.0.0.1:{port}/metrics", chosen.scrapes), flush=True)
        print(_of_its_own(metrics), flush=True)
        if chosen.profile:
            _profile(metrics)
    return 0


@contextmanager
def _managing(world: World, metrics: Metrics) -> Iterator[Daemon]:
    """The daemon on that world's servers."""
    clock, driver = SystemClock(), SimDriver(world, Power())
    driver.connection = FakeDriver("e", capabilities()).connection  # type: ignore[method-assign]
    driver.new_secrets = lambda: {"password": "p"}  # type: ignore[method-assign]
    runtime = cast(Runtime, SimRuntime(world, Power()))
    store = metrics.heard(MemoryStore(), clock)
    with tempfile.TemporaryDirectory(prefix="hamanager-") as directory:
        daemon = Daemon(
            store,
            cast("dict[str, Driver]", {"e": driver}),
            runtime,
            Addresses(store, MemoryEndpoint()),
            clock,
            Leading(store, clock, Manager(name="one", incarnation="one", place="one")),
            EnvironmentFile(Path(directory) / "environment.json"),
            Hosts(store, runtime, clock, no_engine, list),
        )
        metrics.watch(daemon.queries.watched)
        metrics.watch_canaries(dict)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


def _are_well(daemon: Daemon, names: list[str]) -> bool:
    states = daemon.queries.states()
    return all(name in states and states[name][0] == "running" for name in names)


def _fail(daemon: Daemon, world: World, name: str) -> None:
    before = daemon.queries.watched()[name].facts
    assert before is not None
    primary = world.named(before.record.primary or "")
    assert primary is not None
    primary.running = False
    daemon.wake(name)

    def has_failed_over() -> bool:
        now = daemon.queries.watched()[name].facts
        return now is not None and now.record.term > before.record.term

    wait_for(f"{name} to fail over", READY_SECONDS, has_failed_over)


def _measure(url: str, scrapes: int) -> str:
    seconds = []
    with httpx.Client(timeout=SCRAPE_SECONDS) as client:
        text = client.get(url).text
        for _ in range(scrapes):
            began = time.perf_counter()
            text = client.get(url).text
            seconds.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
    samples = sum(not line.startswith("#") for line in text.splitlines())
    return (
        f"{scrapes} scrapes: median {statistics.median(seconds) * 1000:.0f} ms, worst"
        f" {max(seconds) * 1000:.0f} ms; {samples} samples in {len(text) / 1024:.0f} KB;"
        f" load average {os.getloadavg()[0]:.1f}"
    )


def _of_its_own(metrics: Metrics) -> str:
    """How much of the processor's time that takes, whatever else runs."""
    told = []
    for again in (False, True):
        seconds = []
        for number in range(20):
            if not again:
                metrics.note(HistoryEntry(at=1.0, service="db000", kind="note", text=f"{number}"))
            began = time.thread_time()
            metrics.text()
            seconds.append(time.thread_time() - began)
        told.append(f"{statistics.median(seconds) * 1000:.0f} ms")
    return f"of the processor's time: {told[1]}, and {told[0]} after something has happened"


def _profile(metrics: Metrics) -> None:
    with cProfile.Profile() as profile:
        for _ in range(10):
            metrics.text()
    pstats.Stats(profile).sort_stats("tottime").print_stats(SHOWN)


if __name__ == "__main__":
    raise SystemExit(main())
