"""The sync set's playbook on the simulated world: what it leaves behind when it fails half-way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import WritesWaitError
from hamanager.loop import KeptRecords
from hamanager.model.decision import Action, Decision
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Role
from hamanager.model.spec import Spec
from hamanager.observe.observer import Observer
from hamanager.observe.questions import Threads
from hamanager_playbooks import syncing
from tests.simulation.driver import SimDriver
from tests.simulation.power import InlineExecutor
from tests.simulation.runtime import SimRuntime
from tests.simulation.servers import Engine
from tests.simulation.world import World
from tests.support.altered import altered
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore
from tests.unit.test_observe import SERVICE, started

Started = tuple[SimDriver, SimRuntime, ServiceRecord]


def asked(
    world: World, so_far: Started, members: tuple[str, ...], **changes: object
) -> PlaybookContext:
    """What a playbook is given; `changes` are db.1's on record."""
    driver, runtime, record = so_far
    standby = altered(record.instances[1], **changes)
    instances = (record.instances[0], standby, record.instances[2])
    record = altered(record, sync_set=members, instances=instances)
    looked = Observer(driver, runtime, world.clock, Threads.all_in(InlineExecutor()))
    return PlaybookContext(
        Spec(name="db", engine="sim", instances=3, image="i", created_at=0),
        SERVICE,
        Decision("rule", Action.SET_REQUIRED_ACKS, "because", "db.0"),
        looked.observe(SERVICE, record),
        KeptRecords(MemoryStore(), "db", record, 0),
        driver,
        runtime,
        world.clock,
        MemoryEndpoint(),
    )


@pytest.mark.parametrize("members", [(), ("db.1",)])
def test_only_members_go_on_acknowledging(members: tuple[str, ...]) -> None:
    world = World(Engine.ACKNOWLEDGING)
    so_far = started(world, "db.0", "db.1", "db.2")
    standby = world.named("db.1")
    assert standby is not None
    standby.acknowledges = standby.link_acknowledges = True
    for step in syncing.set_required_acks(asked(world, so_far, members)):
        step.run()
    assert standby.acknowledges is bool(members)


@pytest.mark.parametrize("joined", [True, False])
def test_one_that_hangs_is_killed_lest_it_acknowledges_but_not_in_its_first_start(
    joined: bool,
) -> None:
    world = World(Engine.ACKNOWLEDGING)
    so_far = started(world, "db.0", "db.1", "db.2")
    standby = world.named("db.1")
    assert standby is not None
    standby.hung = True
    syncing.silence_non_members(asked(world, so_far, ("db.2",), joined=joined))
    assert standby.running is not joined


@pytest.mark.parametrize("playbook", [syncing.join, syncing.set_required_acks, syncing.prompt])
def test_clients_whose_writes_keep_the_log_from_ending_are_ended(
    playbook: Callable[[PlaybookContext], Sequence[Step]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told where it ends before they have, whoever needs to know."""
    world = World(Engine.ACKNOWLEDGING)
    driver, runtime, record = started(world, "db.0", "db.1", "db.2")
    primary = world.named("db.0")
    assert primary is not None
    primary.role, primary.required_acks = Role.PRIMARY, 2
    world.write()
    assert primary.waiting

    def blocked(*_: object) -> None:
        raise WritesWaitError("db.0 does not tell it")

    for name in ("wait_until_received", "prompt"):
        monkeypatch.setattr(driver, name, blocked)
    ctx = asked(world, (driver, runtime, record), ("db.1",))
    name = "db.0" if playbook is syncing.prompt else "db.1"
    ctx = replace(ctx, decision=Decision("rule", Action.SET_REQUIRED_ACKS, "because", name))
    told = next(note for step in playbook(ctx) if "does not tell" in (note := str(step.run())))
    assert "acknowledging none" in told
    assert not primary.waiting
    assert not world.acknowledged
