"""The sync set's playbook on the simulated world: what it leaves behind when it fails half-way."""

from __future__ import annotations

import pytest

from hamanager.act.context import PlaybookContext
from hamanager.loop import KeptRecords
from hamanager.model.decision import Action, Decision
from hamanager.model.spec import Spec
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from hamanager_playbooks import syncing
from tests.simulation.power import InlineExecutor
from tests.simulation.servers import Engine
from tests.simulation.world import World
from tests.support.altered import altered
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore
from tests.unit.test_observe import SERVICE, started


@pytest.mark.parametrize("members", [(), ("db.1",)])
def test_only_members_go_on_acknowledging(members: tuple[str, ...]) -> None:
    world = World(Engine.ACKNOWLEDGING)
    driver, runtime, record = started(world, "db.0", "db.1")
    record = altered(record, sync_set=members)
    standby = world.named("db.1")
    assert standby is not None
    standby.acknowledges = standby.link_acknowledges = True
    ctx = PlaybookContext(
        Spec(name="db", engine="sim", instances=2, image="i", created_at=0),
        SERVICE,
        Decision("rule", Action.SET_REQUIRED_ACKS, "because", "db.0"),
        Observer(driver, runtime, world.clock, Threads.all_in(InlineExecutor())).observe(
            SERVICE, record
        ),
        KeptRecords(MemoryStore(), "db", record, 0),
        driver,
        runtime,
        world.clock,
        MemoryEndpoint(),
    )
    for step in syncing.set_required_acks(ctx):
        step.run()
    assert standby.acknowledges is bool(members)
