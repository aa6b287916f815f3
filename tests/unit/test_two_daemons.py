"""Two daemons on one store: one of them watches over a service, both answer for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from hamanager.api.environment import EnvironmentFile
from hamanager.contracts.clock import SystemClock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import Runtime
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.leading import Leading
from hamanager.daemon.supervisor import Daemon
from hamanager.decide.leading import preferred
from hamanager.errors import StoreError
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.manager import Manager
from hamanager.model.record import ServiceRecord
from hamanager.model.spec import Spec
from hamanager.stores.repository import save_record, save_secrets, save_spec
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeDriver, capabilities, instance, no_engine

RECORD = ServiceRecord(
    initialized=True,
    primary="db.0",
    instances=(instance("db.0"),),
    endpoint=EndpointRecord(host="10.0.0.1", port=7100),
)


class Two:
    """The one that should lead `db`, and another one; not started yet."""

    def __init__(self, path: Path) -> None:
        self.store = MemoryStore()
        self.path = path
        save_spec(self.store, Spec(name="db", engine="e", instances=1, image="i", created_at=5), 0)
        save_secrets(self.store, "db", {"password": "p"}, 0)
        save_record(self.store, "db", RECORD, 0)
        first = preferred("db", ("one", "two")) or ""
        (second,) = {"one", "two"} - {first}
        self.first, self.second = self.daemon(first), self.daemon(second)

    def daemon(self, name: str) -> Daemon:
        driver, clock = SimDriver(World(), Power()), SystemClock()
        driver.connection = FakeDriver("redis", capabilities()).connection  # type: ignore[method-assign]
        me = Manager(name=name, incarnation=name, place=name)
        runtime = cast(Runtime, SimRuntime(World(), Power()))
        return Daemon(
            self.store,
            cast("dict[str, Driver]", {"e": driver}),
            runtime,
            Addresses(self.store, MemoryEndpoint()),
            clock,
            Leading(self.store, clock, me),
            EnvironmentFile(self.path / f"{name}.json"),
            Hosts(self.store, runtime, clock, no_engine, list),
        )

    def watching(self) -> list[str]:
        return [d._leading.name for d in (self.first, self.second) if d._workers]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    made.first.start()
    made.second.start()
    yield made
    for daemon in (made.first, made.second):
        if daemon._scheduler.running:
            daemon.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_watches_and_both_tell(two: Two) -> None:
    leader = two.first._leading.name
    until(lambda: two.watching() == [leader])
    until(lambda: two.first.queries.view("db").message != "")
    assert two.first.queries.view("db").led_by == ""
    seen = two.second.queries.view("db")
    assert seen.led_by == leader
    assert seen.primary == "db.0"
    until(lambda: [v.leads for v in two.second.queries.managers() if v.name == leader] == [["db"]])
    assert two.watching() == [leader]


def test_a_command_given_to_the_other_one_wakes_the_leader(two: Two) -> None:
    until(lambda: two.watching() == [two.first._leading.name])
    worker = two.first._workers["db"]
    woken: list[bool] = []
    worker.wake = lambda: woken.append(True)  # type: ignore[method-assign]
    two.first._scheduler.pause()  # it would look by itself
    two.second.wake("db")
    until(lambda: bool(woken))
    until(lambda: two.store.keys("calls/") == [])


def test_another_one_follows_at_once_when_the_leader_is_stopped(two: Two) -> None:
    until(lambda: two.watching() == [two.first._leading.name])
    two.first.stop()
    two.first._workers.clear()
    until(lambda: two.watching() == [two.second._leading.name])
    assert [view.name for view in two.second.queries.managers()] == [two.second._leading.name]


def test_without_the_store_the_leader_goes_on_looking_and_says_so(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: two.first.queries.view("db").message != "")

    def away(*_: object) -> None:
        raise StoreError("the store does not answer")

    for call in ("get", "changed", "put", "keys", "delete", "append", "wait"):
        monkeypatch.setattr(two.store, call, away)
    until(lambda: "this manager has lost the store" in two.first._leading.problem)
    shown = two.first.queries.view("db")
    assert "nothing is done before it answers" in shown.message
    assert "it only observes" in shown.message
    assert shown.primary == "db.0"
    assert [view.name for view in two.first.queries.views()] == ["db"]
    monkeypatch.undo()
    until(lambda: two.first._leading.problem == "")
    until(lambda: two.first.queries.view("db").message != "")
