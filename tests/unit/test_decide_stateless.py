"""The table of services without data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.values.decision import Action, Decision
from hamanager.values.service import InstanceRecord
from hamanager.values.snapshot import Contact, Observation, Process, Role, ServerStatus
from tests.unit.test_decide import NOW, PROMOTED, instance, table

STATELESS = replace(PROMOTED, stateless=True)
WELL = Observation(Process.RUNNING, Contact.ANSWERS, ServerStatus(Role.STANDBY, synchronized=True))
GONE = Observation(Process.EXITED, Contact.REFUSED)
HUNG = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=12.0)


def decided(
    *seen: Observation, wanted: int | None = None, record: dict[str, Any] | None = None, **wish: Any
) -> Decision:
    records = tuple(instance(f"db.{n}", **(record or {})) for n in range(len(seen)))
    return with_records(*seen, records=records, instances=wanted or len(seen), **wish)


def with_records(*seen: Observation, records: tuple[InstanceRecord, ...], **wish: Any) -> Decision:
    return table(
        {f"db.{n}": look for n, look in enumerate(seen)},
        capabilities=STATELESS,
        wish=wish,
        record={"primary": None, "term": 0},
        instances=records,
    )


def test_all_is_well() -> None:
    decision = decided(WELL, WELL)
    assert (decision.action, decision.reason) == (
        Action.NOTHING,
        "2 of 2 pass their check",
    )


def test_more_are_wanted() -> None:
    assert decided(WELL, wanted=3).action is Action.ADD_INSTANCE
    new = decided(WELL, record={"joined": False})
    assert (new.action, new.instance) == (Action.MARK_READY, "db.0")


@pytest.mark.parametrize(
    ("since", "connections", "action"),
    [
        pytest.param(None, None, Action.DRAIN, id="no new requests first"),
        pytest.param(NOW - 5, 3, Action.WAIT, id="some are under way"),
        pytest.param(NOW - 5, None, Action.WAIT, id="nobody knows"),
        pytest.param(NOW - 5, 0, Action.TAKE_OUT, id="none is left"),
        pytest.param(NOW - 40, 3, Action.TAKE_OUT, id="they had their time"),
        pytest.param(NOW + 90, 3, Action.TAKE_OUT, id="the clock jumped back"),
    ],
)
def test_fewer_are_wanted(since: float | None, connections: int | None, action: Action) -> None:
    last = replace(WELL, connections=connections)
    records = (instance("db.0"), instance("db.1", draining_since=since))
    decision = with_records(WELL, last, records=records, instances=1)
    assert (decision.action, decision.instance) == (action, "db.1")


def test_a_restart_drains_too() -> None:
    assert decided(WELL, restarts={"db.0": 1}).action is Action.DRAIN
    idle = replace(WELL, connections=0)
    drained = decided(idle, record={"draining_since": NOW - 1}, restarts={"db.0": 1})
    assert drained.action is Action.RESTART


def test_what_failed_comes_back() -> None:
    assert decided(GONE, WELL).action is Action.START_INSTANCE
    assert decided(HUNG, WELL).action is Action.END_INSTANCE
    young = {"started_at": NOW - 20}
    assert decided(HUNG, WELL, record=young).action is Action.NOTHING, "it may still be starting"
    failing = {"starts": 6, "started_at": NOW - 1}
    assert (
        decided(GONE, WELL, record={**failing, "joined": True}).action is not Action.START_INSTANCE
    )
    assert decided(WELL, record={"starts": 2}).action is Action.MARK_READY
