"""The table of services without data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.model.decision import Action, Decision
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.snapshot import Contact, Observation, Process, Role, ServerStatus
from tests.unit.test_decide import NOW, PROMOTED, instance, table

STATELESS = replace(PROMOTED, stateless=True)
WELL = Observation(Process.RUNNING, Contact.ANSWERS, ServerStatus(Role.STANDBY, synchronized=True))
GONE = Observation(Process.EXITED, Contact.REFUSED)
HUNG = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=12.0)


def decided(
    *seen: Observation, wanted: int | None = None, record: dict[str, Any] | None = None, **spec: Any
) -> Decision:
    records = tuple(instance(f"db.{n}", **(record or {})) for n in range(len(seen)))
    return with_records(*seen, records=records, instances=wanted or len(seen), **spec)


def with_records(*seen: Observation, records: tuple[InstanceRecord, ...], **spec: Any) -> Decision:
    return table(
        {f"db.{n}": look for n, look in enumerate(seen)},
        capabilities=STATELESS,
        spec=spec,
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


# --- Another image ------------------------------------------------------------------------------

OLD = PinnedImage(id="sha256:1", name="www:1")
NEW = PinnedImage(id="sha256:2", name="www:2")
WANTED = {"pinned": NEW, "image": "www:2", "made_from": OLD}


def upgrading(*records: InstanceRecord, seen: dict[int, Observation] | None = None) -> Decision:
    looks = [(seen or {}).get(n, WELL) for n in range(len(records))]
    return with_records(*looks, records=records, instances=len(records), **WANTED)


def from_old(number: int, **changes: Any) -> InstanceRecord:
    return instance(f"db.{number}", image=OLD, **changes)


def from_new(number: int, **changes: Any) -> InstanceRecord:
    return instance(f"db.{number}", image=NEW, **changes)


def test_another_image_one_after_the_other() -> None:
    decision = upgrading(from_old(0), from_old(1))
    assert (decision.action, decision.instance) == (Action.DRAIN, "db.0")
    assert decision.reason == "it is to run from www:2"
    idle = replace(WELL, connections=0)
    drained = upgrading(from_old(0), from_old(1, draining_since=NOW - 1), seen={1: idle})
    assert (drained.action, drained.instance) == (Action.UPGRADE, "db.1")
    assert upgrading(from_new(0), from_new(1)).action is Action.NOTHING
    alone = upgrading(from_old(0))
    assert "there is no other, so requests wait until it is back" in alone.reason


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        pytest.param(from_new(1), HUNG, id="it does not pass its check"),
        pytest.param(from_new(1, joined=False), HUNG, id="it is starting"),
        pytest.param(from_new(1, former_image=OLD), WELL, id="it has not been seen at work"),
        pytest.param(from_new(1, draining_since=NOW - 1), WELL, id="it gets no requests"),
    ],
)
def test_not_while_another_is_missing(other: InstanceRecord, seen: Observation) -> None:
    decision = upgrading(from_old(0), other, seen={1: replace(seen, silent_seconds=1.0)})
    assert decision.action not in (Action.DRAIN, Action.UPGRADE)


def test_one_that_was_not_asked_to_stop_is_asked_again() -> None:
    """The manager died before it did; until then it is not given requests again."""
    begun = {"upgrading": True, "joined": False}
    decision = upgrading(from_old(0, draining_since=NOW - 5, **begun), from_old(1))
    assert (decision.action, decision.reason) == (Action.WAIT, "db.0 stops")
    decision = upgrading(from_old(0, draining_since=NOW - 36, **begun), from_old(1))
    assert (decision.action, decision.instance) == (Action.UPGRADE, "db.0")
    gone = upgrading(from_old(0, draining_since=NOW - 5, **begun), from_old(1), seen={0: GONE})
    assert (gone.action, gone.instance) == (Action.START_INSTANCE, "db.0")


def test_an_image_that_does_not_come_up_stops_it() -> None:
    failing = from_new(0, former_image=OLD, joined=False, starts=4, started_at=NOW - 1)
    decision = upgrading(failing, from_old(1), seen={0: GONE})
    assert decision.rule == "upgrade-stopped"
    assert "`hamanager upgrade db --image www:1` goes back" in decision.reason
