"""What an observation costs where nothing happens."""

from __future__ import annotations

from hamanager.contracts.runtime import InstanceRef
from hamanager.model.snapshot import Process
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from hamanager.observe.samples import MEMORY_SAMPLE_SECONDS, MOST_PATIENCE
from tests.simulation.power import InlineExecutor, Power
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.unit.test_observe import SERVICE, started

THREADS = Threads.all_in(InlineExecutor())


class CountingRuntime(SimRuntime):
    """What the kernel knows is set; how often something else was asked is counted."""

    def __init__(self, world: World) -> None:
        super().__init__(world, Power())
        self.known: Process | None = None
        self.asked = self.measured = 0
        self.memory = 100_000

    def known_process(self, ref: InstanceRef) -> Process | None:
        return self.known

    def process(self, ref: InstanceRef) -> Process:
        self.asked += 1
        return super().process(ref)

    def memory_used(self, ref: InstanceRef) -> int | None:
        self.measured += 1
        return self.memory


def test_the_runtime_is_not_asked_for_what_the_kernel_tells() -> None:
    world = World()
    driver, _, record = started(world, "db.0")
    runtime = CountingRuntime(world)
    observer = Observer(driver, runtime, world.clock, THREADS)
    for known, asked in ((Process.RUNNING, 0), (None, 1)):
        runtime.known = known
        seen = observer.observe(SERVICE, record).observations["db.0"]
        assert (seen.process, runtime.asked) == (Process.RUNNING, asked)


def test_memory_that_stays_the_same_is_asked_for_ever_more_rarely() -> None:
    world = World()
    driver, _, record = started(world, "db.0")
    runtime = CountingRuntime(world)
    observer = Observer(driver, runtime, world.clock, THREADS)

    def measured_in(seconds: float) -> int:
        before = runtime.measured
        for _ in range(int(seconds)):
            observer.observe(SERVICE, record)
            world.clock.sleep(1)
        return runtime.measured - before

    measured_in(10 * MEMORY_SAMPLE_SECONDS * MOST_PATIENCE)
    assert measured_in(100) <= 100 / (MEMORY_SAMPLE_SECONDS * MOST_PATIENCE) + 1
    runtime.memory *= 2
    measured_in(MEMORY_SAMPLE_SECONDS * MOST_PATIENCE + 2)
    runtime.memory *= 2
    assert measured_in(2 * MEMORY_SAMPLE_SECONDS + 1) >= 1
    assert observer.observe(SERVICE, record).observations["db.0"].memory_used_bytes == 400_000
