"""The runner: lock, second look, journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from inspect import isfunction
from typing import cast, get_args, get_type_hints

import pytest

from hamanager.act.context import PlaybookContext, Step
from hamanager.act.runner import ASSURED_SECONDS, LEASE_SECONDS, Runner, ServiceLock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import InstanceRef
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


def runner(store: MemoryStore, steps: Sequence[Step], clock: SimClock, owner: str = "a") -> Runner:
    return Runner("db", store, clock, owner, {Action.ATTACH: lambda _: steps})


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


def test_two_managers_never_act_at_once_and_a_dead_ones_lease_ends(store: MemoryStore) -> None:
    clock = SimClock()
    assert ServiceLock(store, "db", "a", clock).take()
    outcome = runner(store, [], clock, "b").run(DECISION, lambda: context(store))
    assert outcome.text == "another manager is acting on this service"
    clock.sleep(LEASE_SECONDS - 1)
    assert not ServiceLock(store, "db", "b", clock).take()
    clock.sleep(2)
    assert ServiceLock(store, "db", "b", clock).take()
    assert not ServiceLock(store, "db", "a", clock).take()


def test_a_lease_from_the_future_does_not_hold_for_ever(store: MemoryStore) -> None:
    """A clock that jumped back must not leave the service without a manager."""
    clock = SimClock()
    assert ServiceLock(store, "db", "a", clock).take()
    clock.seconds -= 3600
    assert ServiceLock(store, "db", "b", clock).take()


def test_a_manager_that_lost_the_lock_in_the_middle_stops(store: MemoryStore) -> None:
    clock = SimClock()
    done: list[int] = []

    def lose() -> None:
        clock.sleep(LEASE_SECONDS + 1)
        assert ServiceLock(store, "db", "b", clock).take()

    steps = [Step("one", lose), Step("two", lambda: done.append(1))]
    outcome = runner(store, steps, clock).run(DECISION, lambda: context(store))
    assert not outcome.done
    assert done == []


def test_a_step_with_many_slow_calls_keeps_its_lease(store: MemoryStore) -> None:
    """However long it takes, each call begins with what is assured left."""
    clock = SimClock()
    ctx = context(store)
    left: list[float] = []

    class Slow(SimRuntime):
        def kill(self, ref: InstanceRef) -> None:
            lease = json.loads(store.get("services/db/lock").value)  # type: ignore[union-attr]
            left.append(lease["expires_at"] - clock.now())
            clock.sleep(ASSURED_SECONDS - 1)

    slow = replace(ctx, clock=clock, runtime=Slow(World(), Power()))

    def playbook(given: PlaybookContext) -> Sequence[Step]:
        def kill_five() -> None:
            for _ in range(5):
                given.runtime.kill(InstanceRef("db", "db.1", 1))

        return [Step("one", kill_five), Step("two", lambda: None)]

    done = Runner("db", store, clock, "a", {Action.ATTACH: playbook}).run(DECISION, lambda: slow)
    assert done.done, done.text
    assert len(left) == 5
    assert min(left) >= ASSURED_SECONDS


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

    def playbook(given: PlaybookContext) -> Sequence[Step]:
        def lose_it_and_go_on() -> None:
            clock.sleep(LEASE_SECONDS + 1)
            assert ServiceLock(store, "db", "b", clock).take()
            for part, method in calls:
                try:
                    getattr(getattr(given.driver, part) if part else given.driver, method)()
                except StaleVersionError:
                    refused.append((part, method))

        return [Step("one", lose_it_and_go_on)]

    ctx = replace(context(store), driver=cast(Driver, Recorded()))
    Runner("db", store, clock, "a", {Action.ATTACH: playbook}).run(DECISION, lambda: ctx)
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
