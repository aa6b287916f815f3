"""Who runs a drill that is due: one manager, once; and what is told of it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from hamanager.contracts.store import Store
from hamanager.daemon import drilling
from hamanager.daemon.drilling import Drilling
from hamanager.daemon.events import EventKind, event_of
from hamanager.decide.drills import LATE_SECONDS, START_SECONDS, first_at
from hamanager.model.drill import Claim, DrillFault, DrillResult, Outcome, Schedule
from hamanager.stores import drills
from tests.support.altered import altered
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, FakeClock, commands

WEEK = 7 * 86400


class Clock(FakeClock):
    """Can be put forward."""

    present = NOW

    def now(self) -> float:
        return self.present


class World:
    """A service `db` that is drilled weekly, and managers."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = Clock()
        commands(self.store).create("db", "redis", instances=2)
        self.schedule = Schedule(
            service="db",
            every_seconds=WEEK,
            at_minute=180,
            fault=DrillFault.KILL,
            rounds=1,
            since=NOW,
        )
        drills.change_schedule(self.store, "db", self.schedule)
        self.first = first_at(self.schedule)
        self.run: list[tuple[str, float]] = []
        self.outcome: Outcome | None = Outcome.PASSED
        self.words = ""

    def manager(self, name: str, leads: tuple[str, ...] = ("db",)) -> Drilling:
        store: Store = self.store
        return Drilling(store, self.clock, name, lambda: leads, self.carry(name))

    def carry(self, name: str) -> drilling.Carry:
        def carry(schedule: Schedule, due_at: float, stopping: threading.Event) -> str:
            self.run.append((name, due_at))
            if self.outcome is not None:
                drills.keep(self.store, self.result(due_at, self.outcome), "", due_at)
            return self.words

        return carry

    def result(self, due_at: float, outcome: Outcome) -> DrillResult:
        return DrillResult(
            service="db",
            fault=DrillFault.KILL,
            rounds_wanted=1,
            outcome=outcome,
            text="100 writes acknowledged, none lost",
            due_at=due_at,
            began_at=due_at + 1,
            ended_at=due_at + 9,
        )

    def look(self, manager: Drilling) -> None:
        """And wait for what was begun."""
        manager.look()
        for thread in manager._running.values():
            thread.join(10)

    def told(self) -> list[tuple[Outcome, float | None, int]]:
        return [(r.outcome, r.due_at, r.times) for r in drills.results(self.store, "db")]


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_run_at_its_time_once_and_hooks_hear_of_it(world: World) -> None:
    one = world.manager("one")
    world.look(one)
    assert world.run == []
    world.clock.present = world.first
    world.look(one)
    world.clock.present += 5
    world.look(one)
    assert world.run == [("one", world.first)]
    assert world.told() == [(Outcome.PASSED, world.first, 1)]
    entry = world.store.history("db")[-1]
    event = event_of(entry, "one")
    assert event is not None
    assert event.event is EventKind.DRILL
    assert event.text == (
        "drill by schedule (kill): passed: 100 writes acknowledged, none lost"
    )  # fmt: skip
    world.clock.present = world.first + WEEK
    world.look(one)
    assert world.run[1:] == [("one", world.first + WEEK)]


def test_who_does_not_lead_runs_nothing(world: World) -> None:
    world.clock.present = world.first
    world.look(world.manager("two", leads=()))
    assert world.run == []
    assert drills.schedules(world.store)["db"][0].settled_at is None


def test_two_managers_that_both_believe_they_lead_run_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = world.manager("one"), world.manager("two")
    world.clock.present = world.first
    before = drills.schedules(world.store)
    world.look(one)
    # The other one has read the schedule before this one has written it.
    monkeypatch.setattr(drills, "schedules", lambda store: before)
    world.look(two)
    assert world.run == [("one", world.first)]
    assert len(world.told()) == 1


def test_a_manager_that_starts_anew_does_not_run_it_again(world: World) -> None:
    world.clock.present = world.first
    world.look(world.manager("one"))
    world.clock.present += 60
    world.look(world.manager("one"))
    assert len(world.run) == 1


def test_a_manager_that_comes_too_late_tells_what_was_missed(world: World) -> None:
    world.clock.present = world.first + 2 * WEEK + LATE_SECONDS + 1
    world.look(world.manager("one"))
    assert world.run == []
    times = [world.first + n * WEEK for n in range(3)]
    assert world.told() == [(Outcome.MISSED, at, 1) for at in times]
    assert next(e.text for e in world.store.history("db") if e.rule == "drill").startswith(
        "drill by schedule (kill): missed: no manager led the service at 2026-09-22 03:00:00 UTC"
    )
    world.look(world.manager("one"))
    assert len(world.told()) == 3


def test_one_that_ends_without_a_word_is_told_with_what_it_said_last(world: World) -> None:
    world.outcome, world.words = None, "there is no service 'db'"
    world.clock.present = world.first
    world.look(world.manager("one"))
    (result,) = drills.results(world.store, "db")
    assert result.outcome is Outcome.UNFINISHED
    assert result.text == "there is no service 'db'"
    assert result.engine == "redis"


def test_one_whose_manager_died_is_told_by_the_next_one(world: World) -> None:
    world.clock.present = world.first
    schedule, version = drills.schedules(world.store)["db"]
    assert drills.settle(
        world.store, schedule.settled(world.first, "dead", world.first), version
    )  # fmt: skip
    two = world.manager("two")
    world.clock.present += START_SECONDS
    world.look(two)
    assert world.told() == []
    claim = Claim(
        id="a",
        fault=DrillFault.KILL,
        rounds=1,
        began_at=world.first,
        until=world.first + START_SECONDS + 60,
        due_at=world.first,
    )
    drills.claim(world.store, "db", claim, world.first)
    world.clock.present += 30
    world.look(two)
    assert world.told() == [], "it is under way"
    world.clock.present += 60
    world.look(two)
    assert world.told() == [(Outcome.UNFINISHED, world.first, 1)]
    assert "manager dead began it" in drills.results(world.store, "db")[0].text
    assert world.run == []


def test_a_schedule_of_a_former_service_of_that_name_is_nobodys(world: World) -> None:
    drills.change_schedule(world.store, "db", altered(world.schedule, since=NOW - 10 * WEEK))
    world.clock.present = world.first
    world.look(world.manager("one"))
    assert world.run == []
    assert world.told() == []


def test_one_that_fails_unexpectedly_costs_the_others_nothing(world: World) -> None:
    def fails(schedule: Schedule, due_at: float, stopping: threading.Event) -> str:
        raise OSError("no processes are left")

    manager = Drilling(world.store, world.clock, "one", lambda: ("db",), fails)
    world.clock.present = world.first
    world.look(manager)
    (result,) = drills.results(world.store, "db")
    assert result.text == "it could not be run (OSError)"


# --- The process of its own -----------------------------------------------------------------------


def started(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_what_it_says_last_is_told_when_it_fails() -> None:
    def ended(script: str) -> str:
        with started(script) as process:
            return drilling._ended(process, 60, threading.Event())

    assert ended("import sys; sys.exit('one\\nhamanager: it is refused')") == "it is refused"
    assert ended("import sys; print('round 1', file=sys.stderr)") == ""


UNDOING = """
import signal, sys
def undo(*_):
    sys.exit("hamanager: undone")
signal.signal(signal.SIGTERM, undo)
print("ready", flush=True)
signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("by_manager", [True, False])
def test_it_undoes_what_it_has_broken_when_its_time_or_the_manager_is_over(
    by_manager: bool,
) -> None:
    with started(UNDOING) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        stopping = threading.Event()
        if by_manager:
            stopping.set()
        told = drilling._ended(process, 60 if by_manager else 0, stopping)
    assert told == "undone"


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drilling, "UNDO_SECONDS", 0.2)
    with started(DEAF) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told = drilling._ended(process, 0, threading.Event())
    assert told == "it had not ended 0.2 s after it was told to, and was killed"
    assert process.returncode == -9
