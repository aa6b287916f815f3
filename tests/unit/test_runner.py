"""The runner: lock, second look, journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import isfunction
from typing import cast, get_args, get_type_hints

import pytest

from hamanager.act.context import PlaybookContext, Step
from hamanager.act.runner import Runner
from hamanager.contracts.assurance import assure
from hamanager.contracts.driver import Driver
from hamanager.contracts.store import Versioned
from hamanager.daemon.leading import Leading
from hamanager.decide.leading import LOOK_SECONDS, VALID_SECONDS
from hamanager.errors import ServerError, StaleVersionError
from hamanager.loop import KeptRecords
from hamanager.model.decision import Action, Decision
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power, SimClock
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.managers import manager
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore

DECISION = Decision("rule", Action.ATTACH, "because", "db.1")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def context(store: MemoryStore, decision: Decision = DECISION) -> PlaybookContext:
    world, power = World(), Power()
    return PlaybookContext(
        Spec(name="db", engine="sim", instances=1, image="i", created_at=0),
        ServiceContext("db", "sim", None, {}),
        decision,
        Snapshot(0, {}),
        KeptRecords(store, "db", ServiceRecord(), 0),
        SimDriver(world, power),
        SimRuntime(world, power),
        world.clock,
        MemoryEndpoint(),
    )


def runner(
    store: MemoryStore, steps: Sequence[Step], clock: SimClock, by: Leading | None = None
) -> Runner:
    by = by or manager(store, clock, "a", alone=True)
    return Runner("db", store, clock, by.lock_of("db"), {Action.ATTACH: lambda _: steps})


def test_every_step_is_numbered_timed_and_told(store: MemoryStore) -> None:
    clock = SimClock()
    steps = [Step("one", lambda: clock.sleep(2)), Step("two", lambda: "a note")]
    assert runner(store, steps, clock).run(DECISION, lambda: context(store)).done
    told = [(e.kind, e.number, e.text, e.seconds) for e in store.history("db")]
    assert told == [
        ("decision", None, "attach db.1: because", None),
        ("step", 1, "one", 2.0),
        ("step", 2, "two: a note", 0.0),
        ("outcome", None, "attach db.1: done", 2.0),
    ]


def test_a_decision_that_no_longer_holds_is_not_carried_out(store: MemoryStore) -> None:
    done: list[int] = []
    other = replace(DECISION, action=Action.NOTHING, reason="all is well")
    outcome = runner(store, [Step("one", lambda: done.append(1))], SimClock()).run(
        DECISION, lambda: context(store, other)
    )
    assert not outcome.done
    assert "all is well" in outcome.text
    assert done == []
    assert store.history("db") == []


def test_a_failed_step_ends_the_playbook_and_is_told(store: MemoryStore) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ServerError("db.1 did not answer")

    steps = [Step("one", fail), Step("two", lambda: done.append(1))]
    outcome = runner(store, steps, SimClock()).run(DECISION, lambda: context(store))
    assert outcome.text == "attach db.1 failed: db.1 did not answer"
    assert done == []
    assert [(e.text, e.ok) for e in store.history("db")][1:] == [
        ("one: db.1 did not answer", False),
        ("attach db.1: failed", False),
    ]


def test_two_managers_never_act_at_once(store: MemoryStore) -> None:
    clock = SimClock()
    assert manager(store, clock, "a").lock_of("db").take()
    second = manager(store, clock, "b")
    outcome = runner(store, [], clock, second).run(DECISION, lambda: context(store))
    assert outcome.text == "another manager (a) leads this service"


def taken_over(store: MemoryStore, clock: SimClock, by: Leading) -> None:
    """The manager that leads is silent, and another one takes its place."""
    for _ in range(8):
        clock.sleep(LOOK_SECONDS)
        by.beat()
        by.look()
    assert by.lock_of("db").take()


def test_a_manager_that_lost_the_lock_in_the_middle_stops(store: MemoryStore) -> None:
    clock = SimClock()
    done: list[int] = []
    first, second = manager(store, clock, "a"), manager(store, clock, "b")
    steps = [
        Step("one", lambda: taken_over(store, clock, second)),
        Step("two", lambda: done.append(1)),
    ]
    outcome = runner(store, steps, clock, first).run(DECISION, lambda: context(store))
    assert not outcome.done
    assert "this manager's session is over" in outcome.text
    assert done == []


def test_a_run_does_not_go_on_when_its_manager_leads_again(store: MemoryStore) -> None:
    """Somebody else may have acted in between."""
    clock = SimClock()
    done: list[int] = []
    first = manager(store, clock, "a")

    def lapse() -> None:
        clock.sleep(VALID_SECONDS)
        first.beat()
        assert first.lock_of("db").take()

    steps = [Step("one", lapse), Step("two", lambda: done.append(1))]
    outcome = runner(store, steps, clock, first).run(DECISION, lambda: context(store))
    assert not outcome.done
    assert done == []


def test_a_run_asks_the_store_for_nothing_but_its_record(store: MemoryStore) -> None:
    """While the session is valid: a failover does not wait for the store."""
    clock = SimClock()
    by = manager(store, clock, "a")
    assert by.lead("db") or by.lock_of("db").take()
    asked: list[str] = []
    get, put = store.get, store.put

    def counted_get(key: str) -> Versioned | None:
        asked.append(key)
        return get(key)

    def counted_put(key: str, value: str, expected: int) -> int:
        asked.append(key)
        return put(key, value, expected)

    store.get, store.put = counted_get, counted_put  # type: ignore[method-assign]
    steps = [Step("one", lambda: None), Step("two", assure)]
    assert runner(store, steps, clock, by).run(DECISION, lambda: context(store)).done
    assert asked == ["services/db/record"]


def test_a_call_of_many_statements_is_ended_between_two(store: MemoryStore) -> None:
    """Also in the middle of a step and of a driver's call."""
    clock = SimClock()
    sent: list[int] = []
    first, second = manager(store, clock, "a"), manager(store, clock, "b")

    def call() -> None:
        for number in range(3):
            assure()
            sent.append(number)
            if number == 1:
                taken_over(store, clock, second)

    outcome = runner(store, [Step("one", call)], clock, first).run(DECISION, lambda: context(store))
    assert sent == [0, 1]
    assert "this manager's session is over" in outcome.text
    assure()  # outside of a run there is nothing to ask


def test_no_call_of_a_driver_passes_the_lease_by(store: MemoryStore) -> None:
    """Those of its parts neither: each is refused once another manager has taken over."""
    clock = SimClock()
    reached: list[str] = []

    class Recorded:
        """A driver with every part; any method may be called."""

        def __getattr__(self, name: str) -> object:
            return Recorded() if name in PARTS else lambda: reached.append(name)

    calls = [(part, method) for part, kind in PARTS.items() for method in methods(kind)]
    calls += [("", method) for method in methods(Driver)]
    refused: list[tuple[str, str]] = []
    first, second = manager(store, clock, "a"), manager(store, clock, "b")

    def playbook(given: PlaybookContext) -> Sequence[Step]:
        def lose_it_and_go_on() -> None:
            taken_over(store, clock, second)
            for part, method in calls:
                try:
                    getattr(getattr(given.driver, part) if part else given.driver, method)()
                except StaleVersionError:
                    refused.append((part, method))

        return [Step("one", lose_it_and_go_on)]

    ctx = replace(context(store), driver=cast(Driver, Recorded()))
    lock = first.lock_of("db")
    Runner("db", store, clock, lock, {Action.ATTACH: playbook}).run(DECISION, lambda: ctx)
    assert {"promote", "force", "settle", "set_required_acks", "probe"} <= {m for _, m in calls}
    assert reached == []
    assert refused == calls


PARTS = {
    name: get_args(kind)[0]
    for name, kind in get_type_hints(Driver).items()
    if type(None) in get_args(kind)
}
"""The parts that a driver may have, and what has to be asked of each."""


def methods(kind: type) -> list[str]:
    return [name for name, what in vars(kind).items() if isfunction(what) and name[0] != "_"]
