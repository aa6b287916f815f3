"""Clients are led under the lease, and only when they are led elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hamanager.act.context import PlaybookContext
from hamanager.act.lock import ELSEWHERE
from hamanager.act.runner import Runner
from hamanager.contracts.endpoint import Listener
from hamanager.decide.leading import DEAD_SECONDS
from hamanager.errors import EndpointFailedError
from hamanager.loop import KeptRecords
from hamanager.model.decision import Action, Decision
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.instance import InstanceRecord
from hamanager.model.primary_change import Promotion
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from hamanager.stores.repository import lock_key, save_record
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power, SimClock
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.altered import altered
from tests.support.managers import lock, manager
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore

INSTANCES = tuple(
    InstanceRecord(
        name=f"db.{number}", host="10.0.0.1", port=20001 + number, serial=number, generation=0
    )
    for number in range(2)
)
RECORD = ServiceRecord(
    term=1,
    primary="db.0",
    initialized=True,
    instances=INSTANCES,
    endpoint=EndpointRecord(host="10.0.0.1", port=20000),
)


class CountingEndpoint(MemoryEndpoint):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.problem = ""

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        self.told += 1
        super().publish(service, listeners, cut=cut)
        self.settle(service)

    def settle(self, service: str) -> None:
        if self.problem:
            raise EndpointFailedError(self.problem)


class Bench:
    """One runner, one store, one endpoint."""

    def __init__(self) -> None:
        self.store, self.clock, self.endpoint = MemoryStore(), SimClock(), CountingEndpoint()
        self.version = save_record(self.store, "db", RECORD, 0)
        self.manager = manager(self.store, self.clock, "a")
        self.runner = Runner("db", self.store, self.clock, self.manager.lock_of("db"), {})

    def lead(self, record: ServiceRecord = RECORD) -> str:
        world, power = World(), Power()
        context = PlaybookContext(
            Spec(name="db", engine="sim", instances=2, image="i", created_at=0),
            ServiceContext("db", "sim", None, {}),
            Decision("well", Action.NOTHING, "all is well"),
            Snapshot(0, {}),
            KeptRecords(self.store, "db", record, self.version),
            SimDriver(world, power),
            SimRuntime(world, power),
            self.clock,
            self.endpoint,
        )
        return self.runner.lead_clients(context)

    @property
    def leads_to(self) -> tuple[str, ...]:
        return self.endpoint.leads_to("db")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_as_it_should_be_takes_neither_the_lease_nor_a_word(bench: Bench) -> None:
    assert bench.lead() == ""
    assert bench.leads_to == ("db.0",)
    bench.clock.sleep(2 * DEAD_SECONDS)
    kept = bench.store.get(lock_key("db"))
    assert bench.lead() == ""
    assert bench.endpoint.told == 1
    assert bench.store.get(lock_key("db")) == kept, "no lease was taken"


def test_it_is_told_once_where_writes_go(bench: Bench) -> None:
    bench.lead()
    bench.lead()
    promoting = altered(RECORD, under_way=Promotion(to="db.1"))
    bench.lead(promoting)
    assert bench.leads_to == ()
    bench.lead(altered(promoting, primary="db.1"))
    assert [(entry.kind, entry.text) for entry in bench.store.history("db")] == [
        ("note", "clients are sent to db.0"),
        ("note", "clients are sent to db.1"),
    ]


def test_nobody_without_the_lease_changes_anything(bench: Bench) -> None:
    assert lock(bench.store, bench.clock, "b").take()
    assert bench.lead() == ELSEWHERE.format(owner="b")
    assert bench.endpoint.told == 0


def test_what_was_seen_before_the_record_changed_is_not_done(bench: Bench) -> None:
    changed = altered(RECORD, term=2, primary="db.1")
    save_record(bench.store, "db", changed, bench.version)
    assert "has just changed" in bench.lead()
    assert bench.endpoint.told == 0


def test_what_is_not_in_force_is_told_each_time_and_changed_once(bench: Bench) -> None:
    bench.endpoint.problem = "HAProxy does not answer"
    for _ in range(3):
        assert bench.lead() == "not in force yet: HAProxy does not answer"
    assert bench.endpoint.told == 1
    bench.endpoint.problem = ""
    assert bench.lead() == ""
