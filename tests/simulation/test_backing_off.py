"""A playbook that fails for ever: it is tried again after pauses, and starves nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from hamanager.act.backoff import LONGEST_PAUSE_SECONDS, LONGEST_URGENT_PAUSE_SECONDS
from hamanager.act.context import Playbook, PlaybookContext, Step
from hamanager.errors import ServerError
from hamanager.model.decision import Action
from hamanager.model.snapshot import Role
from hamanager_playbooks.registry import PLAYBOOKS
from tests.simulation.driver import SimDriver
from tests.simulation.manager import Manager
from tests.simulation.modes import (
    ASYNCHRONOUS,
    LOSSLESS,
    in_all_modes,
    lossless,
    promoted,
    running,
)
from tests.simulation.power import nothing
from tests.simulation.simulation import Simulation


class Failing:
    """What a driver is asked to do with that instance fails until it is repaired."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        method: str,
        name: str,
        error: type[Exception] = ServerError,
    ) -> None:
        original = getattr(SimDriver, method)
        self.tries = 0
        self.repaired = False
        self.during: Callable[[], None] = nothing

        def fails(driver: SimDriver, service: Any, target: Any, *others: Any, **named: Any) -> Any:
            if target.name != name or self.repaired:
                return original(driver, service, target, *others, **named)
            self.tries += 1
            self.during()
            raise error(f"{name} cannot {method}")

        patch.setattr(SimDriver, method, fails)


def often(simulation: Simulation, seconds: float) -> None:
    """Many more passes than there may be tries."""
    for _ in range(round(seconds * 10)):
        simulation.elapse(0.1)
        simulation.event("pass", 0)


@promoted
def test_a_playbook_that_does_nothing_starves_nobody(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rule goes on to ask for it."""
    attach = PLAYBOOKS[Action.ATTACH]

    def mutated(ctx: PlaybookContext) -> Sequence[Step]:
        return [Step("nothing", nothing)] if ctx.name == "db.1" else attach(ctx)

    simulation = running(mode, 3)
    monkeypatch.setitem(cast(dict[Action, Playbook], PLAYBOOKS), Action.ATTACH, mutated)
    simulation.events(("kill", "db.1"), ("kill", "db.2"), ("scale", 4))
    often(simulation, 30)
    assert simulation.told().count("attach db.1") < 100
    for name in ("db.2", "db.3"):
        instance = simulation.record.instance(name)
        assert instance is not None, f"{name} was never added"
        assert instance.synchronized


@promoted
def test_one_that_can_never_be_attached_starves_nobody(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = running(mode, 3)
    failing = Failing(monkeypatch, "attach", "db.1")
    simulation.events(("kill", "db.1"), ("kill", "db.2"), ("scale", 4))
    simulation.live(30)
    assert failing.tries > 3
    for name in ("db.2", "db.3"):
        instance = simulation.record.instance(name)
        assert instance is not None, f"{name} was never added"
        assert instance.synchronized, f"{name} was starved"
        assert mode not in LOSSLESS or name in simulation.record.sync_set
    last = simulation.managers[0].loop.last
    assert last is not None
    assert "attach db.1: tried " in last.message
    assert "s: db.1 cannot attach" in last.message

    simulation.event("kill", "db.0")
    simulation.live(3)
    assert simulation.record.primary in ("db.2", "db.3"), "nor is a failover held up"
    failing.repaired = True
    if mode in ASYNCHRONOUS:
        simulation.settle()
    else:
        simulation.assert_nothing_is_lost()


@in_all_modes
def test_one_that_can_never_start_starves_nobody(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = running(mode, 3)
    simulation.events(("break", "db.1"), ("restart", "db.2"))
    simulation.live(10)
    instance = simulation.record.instance("db.2")
    assert instance is not None
    assert instance.restarts_done == 1
    simulation.settle()


@promoted
def test_pauses_grow(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = running(mode)
    failing = Failing(monkeypatch, "attach", "db.1")
    simulation.event("kill", "db.1")
    often(simulation, 60)
    assert 60 / LONGEST_PAUSE_SECONDS <= failing.tries <= 60 / LONGEST_PAUSE_SECONDS + 6
    tried = simulation.told().count("attach db.1: failed")
    assert tried == failing.tries
    assert "tried" not in simulation.told(), "that it waits is no news"


@promoted
def test_a_promotion_is_tried_again_soon(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = running(mode)
    failing = Failing(monkeypatch, "promote", "db.1")
    simulation.event("break", "db.0")
    often(simulation, 10)
    soon = 10 / LONGEST_URGENT_PAUSE_SECONDS
    assert soon * 0.8 <= failing.tries <= soon + 3
    last = simulation.managers[0].loop.last
    assert last is not None
    assert "again within 0.5 s: db.1 cannot promote" in last.message
    failing.repaired = True
    often(simulation, LONGEST_URGENT_PAUSE_SECONDS + 0.1)
    assert simulation.server("db.1").role is Role.PRIMARY


@promoted
def test_another_failure_later_begins_anew(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = running(mode)
    failing = Failing(monkeypatch, "attach", "db.1")
    simulation.event("kill", "db.1")
    often(simulation, 20)
    failing.repaired = True
    simulation.settle()
    assert simulation.managers[0].loop._retries.backing_off() == ()
    failing.repaired, before = False, failing.tries
    simulation.event("kill", "db.1")
    often(simulation, 1)
    assert failing.tries - before >= 3


@promoted
def test_a_fault_of_ours_starves_nobody_either(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = running(mode)
    failing = Failing(monkeypatch, "attach", "db.1", KeyError)
    simulation.events(("kill", "db.1"), ("scale", 3))
    for _ in range(20):
        simulation.elapse(1)
        try:
            simulation.event("pass", 0)
        except KeyError:
            simulation._passing -= 1
        simulation.event("replicate")
    added = simulation.record.instance("db.2")
    assert added is not None
    assert added.synchronized
    failing.repaired = True
    simulation.settle()


@lossless
def test_a_slow_applier_is_waited_for_from_pass_to_pass(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call of the driver waits for a part of it only; the promotion that was begun goes on."""
    simulation = running(mode)
    assert simulation.writes()
    failing = Failing(monkeypatch, "apply_received", "db.1")
    simulation.event("kill", "db.0")
    often(simulation, 60)
    term = simulation.record.term
    assert simulation.record.promoting == "db.1"
    assert failing.tries > 60
    told: list[str] = []

    def look(manager: Manager) -> None:
        assert manager.loop.last is not None
        told.append(manager.loop.last.message)

    failing.during = lambda: look(simulation.managers[0])
    often(simulation, 1)
    assert "fail over db.1: its promotion" in told[0]
    assert told[0].endswith("; the last try failed: db.1 cannot apply_received")
    failing.repaired = True
    often(simulation, 1)
    assert (simulation.record.primary, simulation.record.term) == ("db.1", term)
    failover = simulation.record.last_failover
    assert failover is not None
    assert failover.lost == "nothing that was acknowledged"
    assert failover.seconds >= 60
    simulation.assert_nothing_is_lost()
