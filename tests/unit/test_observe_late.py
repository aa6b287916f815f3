"""The observer, and answers that come late or never: the runtime's and the servers'."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from hamanager.contracts.clock import SystemClock
from hamanager.contracts.runtime import InstanceRef
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Contact, Observation, Process, ServerStatus
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power
from tests.simulation.runtime import SimRuntime
from tests.simulation.servers import Engine
from tests.simulation.world import World
from tests.support.altered import altered
from tests.unit.test_observe import SERVICE, started

LONGEST_SECONDS = 20
MANY_LOOKS = 100


@dataclass
class Gate:
    """Lets calls through, or holds them until it opens; what they tell is as old as the call."""

    opened: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def pass_through(self) -> None:
        self.calls += 1
        assert self.opened.wait(LONGEST_SECONDS)


class HangingRuntime(SimRuntime):
    """It hangs in the calls that have a gate."""

    def __init__(self, world: World) -> None:
        super().__init__(world, Power())
        self.gates: dict[str, Gate] = {}

    def _told(self, call: str, answer: object) -> object:
        if call in self.gates:
            self.gates[call].pass_through()
        return answer

    def process(self, ref: InstanceRef) -> Process:
        answer = self._told("process", super().process(ref))
        assert isinstance(answer, Process)
        return answer

    def file_names(self, ref: InstanceRef, directory: str) -> tuple[str, ...]:
        self._told("file_names", None)
        return ("removed.bson",)

    def memory_used(self, ref: InstanceRef) -> int | None:
        self._told("memory_used", None)
        return 7


class HangingDriver(SimDriver):
    """Its servers answer when the gate opens."""

    gate: Gate | None = None

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        answer = super().probe(service, target)
        if self.gate is not None:
            self.gate.pass_through()
        return answer


@dataclass
class Scene:
    world: World
    driver: HangingDriver
    runtime: HangingRuntime
    record: ServiceRecord
    observer: Observer

    def look(self, name: str = "db.0") -> Observation:
        return self.observer.observe(SERVICE, self.record).observations[name]


@pytest.fixture
def scene() -> Iterator[Scene]:
    world = World(Engine.ELECTING)
    _, _, record = started(world, "db.0")
    runtime, driver = HangingRuntime(world), HangingDriver(world, Power())
    threads = Threads(*(ThreadPoolExecutor(4) for _ in range(3)))
    observer = Observer(driver, runtime, SystemClock(), threads)
    yield Scene(world, driver, runtime, record, observer)
    for gate in [*runtime.gates.values(), *([driver.gate] if driver.gate else [])]:
        gate.opened.set()
    threads.shut_down()


@pytest.mark.parametrize("call", ["file_names", "memory_used"])
def test_what_only_people_want_to_know_hides_nothing(scene: Scene, call: str) -> None:
    scene.runtime.gates[call] = Gate()
    for _ in range(3):
        seen = scene.look()
        assert (seen.process, seen.contact) == (Process.RUNNING, Contact.ANSWERS)
    assert scene.runtime.gates[call].calls == 1


def test_the_last_sample_is_shown_while_the_next_one_does_not_come(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.look()
    assert first.memory_used_bytes == 7
    assert "removed.bson" in first.warnings[0]
    for pause in ("MEMORY_SAMPLE_SECONDS", "ROLLBACK_SAMPLE_SECONDS"):
        monkeypatch.setattr(f"hamanager.observe.samples.{pause}", 0)
    scene.runtime.gates = {"file_names": Gate(), "memory_used": Gate()}
    for _ in range(3):
        seen = scene.look()
        assert (seen.memory_used_bytes, seen.warnings) == (7, first.warnings)
    assert [gate.calls for gate in scene.runtime.gates.values()] == [1, 1]


def test_an_answer_of_the_server_is_a_sign_of_life_by_itself(scene: Scene) -> None:
    scene.runtime.gates["process"] = Gate()
    for _ in range(3):
        seen = scene.look()
        assert (seen.process, seen.contact) == (Process.UNKNOWN, Contact.ANSWERS)
        assert seen.alive
        assert not seen.gone


@pytest.mark.parametrize("note", [Observer.note_trip, Observer.note_event])
def test_an_end_in_the_middle_of_a_look_is_seen_by_it(
    scene: Scene, note: Callable[[Observer, str], None]
) -> None:
    """The server's answer may not come for a second: what it is asked through goes away with it."""
    scene.driver.gate = Gate()
    with ThreadPoolExecutor(1) as executor:
        seen = executor.submit(scene.look)
        while scene.observer._questions.answer(("db.0", "process")) is not Process.RUNNING:
            assert not seen.done()
        server = scene.world.named("db.0")
        assert server is not None
        scene.world.stop_process(server)
        note(scene.observer, "db.0")
        assert seen.result(LONGEST_SECONDS).gone


def test_an_old_word_of_the_runtime_proves_no_death(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked while the process was gone, and says so when it runs again."""
    monkeypatch.setattr("hamanager.observe.observer.OBSERVATION_SECONDS", 0.3)
    server = scene.world.named("db.0")
    assert server is not None
    gate = scene.runtime.gates["process"] = Gate()
    scene.world.stop_process(server)
    assert not scene.look().gone
    del scene.runtime.gates["process"]
    scene.world.start_process(server)
    gate.opened.set()
    words: list[Process] = []
    while Process.RUNNING not in words and len(words) < MANY_LOOKS:
        words.append(scene.look().process)
    assert {*words} <= {Process.UNKNOWN, Process.RUNNING}
    assert words[-1] is Process.RUNNING


def test_an_old_answer_of_the_server_proves_no_life(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamanager.observe.observer.OBSERVATION_SECONDS", 0.05)
    scene.driver.gate = gate = Gate()
    assert scene.look().contact is Contact.SILENT
    assert gate.calls == 1
    server = scene.world.named("db.0")
    assert server is not None
    server.cut_off = True
    scene.driver.gate = None
    gate.opened.set()
    seen = [scene.look() for _ in range(3)]
    assert [look.contact for look in seen] == [Contact.SILENT] * 3
    assert seen[-1].status is None
    assert seen[-1].silent_seconds > 0


class UnhurriedDriver(SimDriver):
    """Its servers take longer than a look waits for one that was silent."""

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        answer = super().probe(service, target)
        threading.Event().wait(0.2)
        return answer


def test_a_slow_server_is_seen_again_after_it_was_silent() -> None:
    world = World()
    _, runtime, record = started(world, "db.0")
    server = world.named("db.0")
    assert server is not None
    threads = Threads.all_in(ThreadPoolExecutor(4))
    observer = Observer(UnhurriedDriver(world, Power()), runtime, SystemClock(), threads)
    server.hung = True
    assert observer.observe(SERVICE, record).observations["db.0"].contact is Contact.SILENT
    server.hung = False
    contacts = [
        observer.observe(SERVICE, record).observations["db.0"].contact
        for _ in range(MANY_LOOKS // 5)
    ]
    assert contacts[-1] is Contact.ANSWERS
    threads.shut_down()


@pytest.mark.parametrize(("silent", "waited_for"), [({"h1": 0.0}, False), ({}, True)])
def test_one_on_a_silent_host_is_not_waited_for(
    scene: Scene, silent: dict[str, float], waited_for: bool
) -> None:
    """A manager that has just taken over knows of the host, and has never asked the server."""
    [instance] = scene.record.instances
    scene.record = altered(scene.record, instances=(altered(instance, placed_on="h1"),))
    scene.world.hosts, scene.world.silent = ("h1",), silent
    scene.driver.gate = scene.runtime.gates["process"] = Gate()
    seen = scene.look()
    assert seen.contact is Contact.SILENT
    assert (seen.silent_seconds > 1) is waited_for
