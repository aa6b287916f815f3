"""The observer: what it makes of silence, hung servers and its own absence."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.errors import SilentError
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Contact, Process, Relation, ServerStatus
from hamanager.observe.observer import LONGEST_GAP_SECONDS, Observer
from hamanager.observe.questions import Threads
from tests.simulation.driver import SimDriver
from tests.simulation.power import InlineExecutor, Power
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.altered import altered

SERVICE = ServiceContext("db", "sim", None, {})
INLINE = Threads.all_in(InlineExecutor())


def record(*names: str) -> ServiceRecord:
    return ServiceRecord(
        primary="db.0",
        initialized=True,
        instances=tuple(
            InstanceRecord(
                name=name,
                serial=number,
                generation=number,
                host="10.0.0.1",
                port=20000 + number,
                synchronized=True,
            )
            for number, name in enumerate(names)
        ),
    )


def started(world: World, *names: str) -> tuple[SimDriver, SimRuntime, ServiceRecord]:
    driver, runtime, kept = SimDriver(world, Power()), SimRuntime(world, Power()), record(*names)
    for instance in kept.instances:
        container = Container("i", instance.host, instance.port, LaunchSpec("", 1))
        runtime.start(InstanceRef("db", instance.name, instance.generation), container)
    driver.initialize(SERVICE, Target.of(kept.instances[0]))
    for instance in kept.instances[1:]:
        driver.seed(SERVICE, Target.of(instance), Target.of(kept.instances[0]))
        driver.attach(SERVICE, Target.of(instance), Target.of(kept.instances[0]), ())
    return driver, runtime, kept


def test_what_it_sees_of_a_healthy_service() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    seen = Observer(driver, runtime, world.clock, INLINE).observe(SERVICE, kept)
    assert seen.candidates == ("db.1",)
    assert seen.primary_has_all
    assert seen.observations["db.1"].relation is Relation.ATTACHED
    assert seen.observations["db.0"].silent_seconds == 0


def test_silence_is_counted_only_while_it_looks() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    observer = Observer(driver, runtime, world.clock, INLINE)
    observer.observe(SERVICE, kept)
    server = world.named("db.0")
    assert server is not None
    server.hung = True
    for expected in (0.0, 1.0, 2.0):
        seen = observer.observe(SERVICE, kept).observations["db.0"]
        assert (seen.contact, seen.silent_seconds) == (Contact.SILENT, expected)
        world.clock.sleep(1)
    # The machine slept: how long the server was silent meanwhile, nobody knows.
    world.clock.sleep(LONGEST_GAP_SECONDS + 60)
    assert observer.observe(SERVICE, kept).observations["db.0"].silent_seconds == 0


def test_the_silence_of_another_place_is_not_an_instances_own() -> None:
    """A manager that was away for a while may look for it where it was then."""
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    observer = Observer(driver, runtime, world.clock, INLINE)
    server = world.named("db.0")
    assert server is not None
    server.hung = True
    observer.observe(SERVICE, kept)
    world.clock.sleep(1)
    assert observer.observe(SERVICE, kept).observations["db.0"].silent_seconds == 1
    moved = [altered(i, port=i.port + 100) if i.name == "db.0" else i for i in kept.instances]
    elsewhere = altered(kept, instances=tuple(moved))
    assert observer.observe(SERVICE, elsewhere).observations["db.0"].silent_seconds == 0


def test_a_question_between_two_looks_starts_the_count() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    observer = Observer(driver, runtime, world.clock, INLINE)
    assert observer.ask_primary(), "nobody is known yet"
    observer.observe(SERVICE, kept)
    assert observer.ask_primary()
    server = world.named("db.0")
    assert server is not None
    server.hung = True
    assert not observer.ask_primary()
    assert observer.ask_primary(), "it is known: no more news"
    world.clock.sleep(0.75)
    assert observer.observe(SERVICE, kept).observations["db.0"].silent_seconds == 0.75
    server.hung = False
    assert observer.observe(SERVICE, kept).observations["db.0"].silent_seconds == 0
    assert observer.ask_primary()


def test_a_question_that_was_overtaken_by_an_answer_does_not_count() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0")

    class Overtaken(SimDriver):
        def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
            world.clock.sleep(0.5)
            self.probe = driver.probe  # type: ignore[method-assign]
            observer.observe(SERVICE, kept)
            raise SilentError("no answer")

    observer = Observer(Overtaken(world, Power()), runtime, world.clock, INLINE)
    observer._primary = (SERVICE, Target.of(kept.instances[0]))
    assert observer.ask_primary()
    world.clock.sleep(1)
    server = world.named("db.0")
    assert server is not None
    server.hung = True
    assert observer.observe(SERVICE, kept).observations["db.0"].silent_seconds == 0


def test_a_tripwire_starts_the_count() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0")
    observer = Observer(driver, runtime, world.clock, INLINE)
    observer.observe(SERVICE, kept)
    observer.note_trip("db.0")
    world.clock.sleep(0.25)
    server = world.named("db.0")
    assert server is not None
    world.stop_process(server)
    seen = observer.observe(SERVICE, kept).observations["db.0"]
    assert (seen.process, seen.silent_seconds) == (Process.EXITED, 0.25)


def test_one_that_was_asked_to_end_is_told_until_it_has() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    observer = Observer(driver, runtime, world.clock, INLINE)

    def asked() -> float | None:
        return observer.observe(SERVICE, kept).observations["db.0"].asked_to_end_seconds

    assert asked() is None
    observer.note_asked_to_end("db.0")
    world.clock.sleep(0.25)
    assert asked() == 0.25
    assert observer.observe(SERVICE, kept).observations["db.1"].asked_to_end_seconds is None
    server = world.named("db.0")
    assert server is not None
    world.stop_process(server)
    assert asked() is None
    world.start_process(server)
    assert asked() is None, "it is another process"
    observer.note_asked_to_end("db.0")
    world.clock.sleep(6)
    assert asked() is None


def test_what_is_left_on_another_host_was_asked_and_not_the_instance() -> None:
    world = World()
    driver, runtime, kept = started(world, "db.0")
    observer = Observer(driver, runtime, world.clock, INLINE)
    moved = kept.with_instance(altered(kept.instances[0], placed_on="h2"))
    server = world.named("db.0")
    assert server is not None
    server.ref = replace(server.ref, placed_on="h2")

    def asked() -> float | None:
        return observer.observe(SERVICE, moved).observations["db.0"].asked_to_end_seconds

    observer.note_asked_to_end("db.0", "h1")
    assert asked() is None
    observer.note_asked_to_end("db.0", "h2")
    assert asked() == 0


class SlowDriver(SimDriver):
    """One server does not answer until the test lets it."""

    release = threading.Event()

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        if target.name == "db.1":
            self.release.wait(20)
        return super().probe(service, target)


def test_a_hung_standby_does_not_delay_what_is_seen_of_the_primary() -> None:
    world = World()
    _, runtime, kept = started(world, "db.0", "db.1")
    driver = SlowDriver(world, Power())
    with ThreadPoolExecutor(4) as executor:
        observer = Observer(driver, runtime, world.clock, Threads.all_in(executor))
        observer.observe(SERVICE, kept)
        began = time.monotonic()
        seen = observer.observe(SERVICE, kept)
        assert time.monotonic() - began < 1
        assert seen.observations["db.0"].contact is Contact.ANSWERS
        assert seen.observations["db.1"].contact is Contact.SILENT
        driver.release.set()


class FaultyDriver(SimDriver):
    """It fails at one question, as no driver should."""

    faulty = "cache_bytes"

    def cache_bytes(self, service: ServiceContext, target: Target) -> int:
        if self.faulty == "cache_bytes":
            raise KeyError("cache")
        return super().cache_bytes(service, target)

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        if self.faulty == "probe" and target.name == "db.1":
            raise KeyError("role")
        return super().probe(service, target)


def test_a_fault_in_what_is_for_people_only_hides_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    _, runtime, kept = started(world, "db.0", "db.1")
    driver = FaultyDriver(world, Power())
    observer = Observer(driver, runtime, world.clock, INLINE)
    for _ in range(3):
        seen = observer.observe(SERVICE, kept)
        assert [seen.observations[name].contact for name in ("db.0", "db.1")] == [
            Contact.ANSWERS,
            Contact.ANSWERS,
        ]
    errors = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert sorted(errors) == [
        "db.0: looking at it failed unexpectedly",
        "db.1: looking at it failed unexpectedly",
    ]


def test_a_fault_in_a_probe_is_no_answer_and_passes_with_the_next_look() -> None:
    world = World()
    _, runtime, kept = started(world, "db.0", "db.1")
    driver = FaultyDriver(world, Power())
    driver.faulty = "probe"
    observer = Observer(driver, runtime, world.clock, INLINE)
    seen = observer.observe(SERVICE, kept)
    assert seen.observations["db.0"].contact is Contact.ANSWERS
    assert seen.observations["db.1"].contact is Contact.SILENT
    assert "KeyError('role')" in seen.observations["db.1"].detail
    driver.faulty = ""
    assert observer.observe(SERVICE, kept).observations["db.1"].contact is Contact.ANSWERS


def test_for_how_long_one_was_seen_to_follow_the_same_source() -> None:
    """From the end of the first observation to the beginning of the last one, if nothing else was
    seen in between, and if it was looked at all the time."""
    world = World()
    driver, runtime, kept = started(world, "db.0", "db.1")
    observer = Observer(driver, runtime, world.clock, INLINE)

    def seen_after(seconds: float) -> float:
        world.clock.seconds += seconds
        return observer.observe(SERVICE, kept).observations["db.1"].same_source_seconds

    server = world.named("db.1")
    assert server is not None
    assert seen_after(0) == 0.0
    assert seen_after(3) == 3.0
    server.source = None
    assert seen_after(1) == 0.0
    assert seen_after(4) == 4.0
    server.hung = True
    assert seen_after(1) == 0.0
    server.hung = False
    assert seen_after(1) == 0.0, "it may have followed another one meanwhile"
    assert seen_after(2) == 2.0
    assert seen_after(LONGEST_GAP_SECONDS + 1) == 0.0, "nobody looked"
