"""The observer, where the runtime's word on a process does not come: how long it is waited for.

A gate that opens after a while: what is seen before it does was not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hamanager.contracts.clock import SystemClock
from hamanager.model.snapshot import Contact, Observation, Process
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power
from tests.simulation.servers import Engine
from tests.simulation.world import World
from tests.unit.test_observe import SERVICE, started
from tests.unit.test_observe_late import Gate, HangingRuntime

LATE_SECONDS = 1.5


class Scene:
    """A primary and perhaps a standby, and a runtime that says nothing for a while."""

    def __init__(self, *names: str) -> None:
        self.world = World(Engine.ASYNCHRONOUS)
        _, _, self.record = started(self.world, *names)
        self.runtime = HangingRuntime(self.world)
        self.threads = Threads(*(ThreadPoolExecutor(8) for _ in range(3)))
        driver = SimDriver(self.world, Power())
        self.observer = Observer(driver, self.runtime, SystemClock(), self.threads)
        self.server = self.world.named("db.0")
        self.timers: list[threading.Timer] = []

    def mute_the_runtime(self) -> None:
        gate = self.runtime.gates["process"] = Gate()
        self.timers.append(threading.Timer(LATE_SECONDS, gate.opened.set))
        self.timers[-1].start()

    def look(self) -> Observation:
        return self.observer.observe(SERVICE, self.record).observations["db.0"]

    def close(self) -> None:
        for gate in self.runtime.gates.values():
            gate.opened.set()
        for timer in self.timers:
            timer.join()
        self.threads.shut_down()


@pytest.fixture
def pair() -> Iterator[Scene]:
    scene = Scene("db.0", "db.1")
    yield scene
    scene.close()


@pytest.fixture
def alone() -> Iterator[Scene]:
    scene = Scene("db.0")
    yield scene
    scene.close()


def test_a_primary_that_refuses_is_judged_by_its_standbys(pair: Scene) -> None:
    """An engine elsewhere says that a process has ended when it has cleared up behind it."""
    assert pair.server is not None
    pair.mute_the_runtime()
    pair.world.stop_process(pair.server)
    seen = pair.look()
    assert (seen.contact, seen.process) == (Contact.REFUSED, Process.UNKNOWN)


def test_where_nobody_bears_witness_the_runtimes_word_is_waited_for(alone: Scene) -> None:
    assert alone.server is not None
    alone.mute_the_runtime()
    alone.world.stop_process(alone.server)
    assert alone.look().process is Process.EXITED


def test_a_standby_that_follows_somebody_else_is_no_witness(pair: Scene) -> None:
    assert pair.server is not None
    other = pair.world.named("db.1")
    assert other is not None
    other.source = None
    pair.mute_the_runtime()
    pair.world.stop_process(pair.server)
    assert pair.look().process is Process.EXITED


def test_each_look_has_the_word_of_an_engine_that_takes_a_while(alone: Scene) -> None:
    """What one look decides the next one has to confirm."""
    assert alone.server is not None
    alone.world.stop_process(alone.server)
    words = []
    for _ in range(3):
        gate = alone.runtime.gates["process"] = Gate()
        threading.Timer(0.2, gate.opened.set).start()
        words.append(alone.look().process)
    assert words == [Process.EXITED] * 3


def test_with_a_silent_server_a_silent_runtime_is_not_waited_for(
    pair: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamanager.observe.observer.WORD_SECONDS", 0.1)
    assert pair.server is not None
    pair.server.hung = True
    pair.mute_the_runtime()
    seen = pair.look()
    assert (seen.contact, seen.process) == (Contact.SILENT, Process.UNKNOWN)
