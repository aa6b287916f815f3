"""How a service's record changes, what it refuses, and how one is read that an older version
wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hamanager.errors import TransitionError
from hamanager.model.instance import InstanceRecord
from hamanager.model.order import Order, OrderKind, OrderResult
from hamanager.model.primary_change import FailoverResult, Promotion, Switchover, SwitchoverResult
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.spec import Spec
from tests.support.altered import altered

ROOT = Path(__file__).parents[2]
AT = 1000.0


def instance(number: int, **fields: Any) -> InstanceRecord:
    return InstanceRecord(
        name=f"db.{number}", serial=number, generation=number, host="h", port=number, **fields
    )


SETTLED = ServiceRecord(
    term=3,
    primary="db.0",
    initialized=True,
    sync_set=("db.2",),
    instances=(instance(0, synchronized=True), instance(1, starts=2), instance(2)),
    next_serial=3,
    next_generation=7,
)
RECORDS = {
    "settled": SETTLED,
    "promoting": altered(SETTLED, under_way=Promotion(to="db.1")),
    "promoting, may write": altered(SETTLED, under_way=Promotion(to="db.1", may_write=True)),
    "switching": altered(SETTLED, under_way=Switchover(to="db.1")),
    "switching, may write": altered(SETTLED, under_way=Switchover(to="db.1", may_write=True)),
    "resuming": altered(SETTLED, under_way=Promotion(to="db.0")),
}
DONE = SwitchoverResult(at=AT, from_instance="db.0", to_instance="db.1", seconds=1, note="")
LOST = FailoverResult(at=AT, from_instance="db.0", to_instance="db.1", seconds=1, lost="nothing")

Change = Callable[[ServiceRecord], ServiceRecord]
CHANGES: dict[str, Change] = {
    "begin promotion": lambda r: r.begin_promotion("db.1"),
    "begin another promotion": lambda r: r.begin_promotion("db.2"),
    "begin switchover": lambda r: r.begin_switchover("db.1"),
    "begin another switchover": lambda r: r.begin_switchover("db.2"),
    "publish promotion": lambda r: r.publish_promotion("db.1", acknowledges=True),
    "publish switchover": lambda r: r.publish_switchover("db.1", acknowledges=True),
    "finish promotion": lambda r: r.finish_promotion("db.1", AT, acknowledges=True, failover=LOST),
    "finish switchover": lambda r: r.finish_switchover(DONE, acknowledges=True),
    "undo switchover": lambda r: r.undo_switchover(("db.1", "db.2")),
    "abandon switchover": lambda r: r.abandon_switchover(),
    "elect": lambda r: r.elect("db.1", AT, acknowledges=False, failover=LOST),
    "remove": lambda r: r.without_instance("db.1"),
    "remove another": lambda r: r.without_instance("db.2"),
}
SAME = "as it was"
REFUSED = "refused"
PROMOTION, PROMOTION_WRITES = Promotion(to="db.1"), Promotion(to="db.1", may_write=True)
SWITCHOVER, SWITCHOVER_WRITES = Switchover(to="db.1"), Switchover(to="db.1", may_write=True)
OTHER_PROMOTION, OTHER_SWITCHOVER = Promotion(to="db.2"), Switchover(to="db.2")

# What is under way afterwards, and the term.
Expected = str | tuple[Promotion | Switchover | None, int]
TABLE: dict[str, dict[str, Expected]] = {
    "settled": {
        "begin promotion": (PROMOTION, 4),
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": (SWITCHOVER, 3),
        "begin another switchover": (OTHER_SWITCHOVER, 3),
        "publish promotion": REFUSED,
        "publish switchover": REFUSED,
        "finish promotion": REFUSED,
        "finish switchover": REFUSED,
        "undo switchover": REFUSED,
        "abandon switchover": REFUSED,
        "elect": (None, 4),
        "remove": (None, 3),
        "remove another": (None, 3),
    },
    "promoting": {
        "begin promotion": SAME,
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": (SWITCHOVER, 3),
        "begin another switchover": (OTHER_SWITCHOVER, 3),
        "publish promotion": (PROMOTION_WRITES, 3),
        "publish switchover": REFUSED,
        "finish promotion": (None, 3),
        "finish switchover": REFUSED,
        "undo switchover": REFUSED,
        "abandon switchover": REFUSED,
        "elect": (None, 4),
        "remove": (None, 3),
        "remove another": (PROMOTION, 3),
    },
    "promoting, may write": {
        "begin promotion": SAME,
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": (SWITCHOVER_WRITES, 3),
        "begin another switchover": REFUSED,
        "publish promotion": SAME,
        "publish switchover": REFUSED,
        "finish promotion": (None, 3),
        "finish switchover": REFUSED,
        "undo switchover": REFUSED,
        "abandon switchover": REFUSED,
        "elect": (None, 4),
        "remove": (None, 3),
        "remove another": (PROMOTION_WRITES, 3),
    },
    "switching": {
        "begin promotion": (PROMOTION, 4),
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": SAME,
        "begin another switchover": (OTHER_SWITCHOVER, 3),
        "publish promotion": REFUSED,
        "publish switchover": (SWITCHOVER_WRITES, 4),
        "finish promotion": REFUSED,
        "finish switchover": (None, 3),
        "undo switchover": (None, 3),
        "abandon switchover": (None, 3),
        "elect": (None, 4),
        "remove": (SWITCHOVER, 3),
        "remove another": (SWITCHOVER, 3),
    },
    "switching, may write": {
        "begin promotion": SAME,
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": SAME,
        "begin another switchover": REFUSED,
        "publish promotion": SAME,
        "publish switchover": (SWITCHOVER_WRITES, 4),
        "finish promotion": (None, 3),
        "finish switchover": (None, 3),
        "undo switchover": (None, 3),
        "abandon switchover": (PROMOTION_WRITES, 3),
        "elect": (None, 4),
        "remove": (SWITCHOVER, 3),
        "remove another": (SWITCHOVER_WRITES, 3),
    },
    "resuming": {
        "begin promotion": (PROMOTION, 4),
        "begin another promotion": (OTHER_PROMOTION, 4),
        "begin switchover": (SWITCHOVER, 3),
        "begin another switchover": (OTHER_SWITCHOVER, 3),
        "publish promotion": REFUSED,
        "publish switchover": REFUSED,
        "finish promotion": REFUSED,
        "finish switchover": REFUSED,
        "undo switchover": REFUSED,
        "abandon switchover": REFUSED,
        "elect": (None, 4),
        "remove": (Promotion(to="db.0"), 3),
        "remove another": (Promotion(to="db.0"), 3),
    },
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", RECORDS)
def test_what_a_change_makes_of_what_is_under_way(state: str, change: str) -> None:
    before, expected = RECORDS[state], TABLE[state][change]
    if expected == REFUSED:
        with pytest.raises(TransitionError, match=r"; nothing was changed$"):
            CHANGES[change](before)
        return
    after = CHANGES[change](before)
    assert (after.under_way, after.term) == (
        (before.under_way, before.term) if expected == SAME else expected
    )
    if change.startswith(("finish", "elect")):
        assert after.primary == "db.1"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.initialize("db.0"),
        lambda r: r.begin_switchover("db.0"),
        lambda r: r.begin_promotion("db.9"),
        lambda r: r.elect("db.9", AT, acknowledges=False, failover=None),
        lambda r: r.mark_synchronized("db.9"),
        lambda r: r.mark_ready("db.9"),
        lambda r: r.rebuild("db.9"),
        lambda r: r.join_sync_set("db.9"),
        lambda r: r.join_sync_set("db.0"),
        lambda r: r.add_instance("db.1", "h", 1, None, memory_bytes=None, restarts_done=0),
        lambda r: r.settle_order(OrderResult(number=1, ok=True, text="", at=AT)).settle_order(
            OrderResult(number=1, ok=False, text="", at=AT)
        ),
    ],
)
def test_what_is_refused(change: Change) -> None:
    with pytest.raises(TransitionError, match=r"; nothing was changed$"):
        change(SETTLED)


def test_a_new_primary() -> None:
    begun = SETTLED.begin_promotion("db.1", told_term=8)
    assert begun.term == 9, "the servers know of a later one"
    published = begun.publish_promotion("db.1", acknowledges=True)
    assert published.sync_set == ("db.1",), "from here on nobody else is counted on"
    done = published.finish_promotion("db.1", AT, acknowledges=True, lossless=True, failover=LOST)
    assert (done.sync_set, done.sync_lost_at, done.last_failover) == ((), AT, LOST)
    former, new = done.instances[0], done.instances[1]
    assert (former.synchronized, former.unacknowledged_only) == (False, True)
    assert new == instance(1, joined=True, synchronized=True, was_primary=True)
    quiet = begun.publish_promotion("db.1", acknowledges=False)
    assert quiet.finish_promotion("db.1", AT, acknowledges=False).sync_set == SETTLED.sync_set


def test_a_primary_that_is_one_again_keeps_its_sync_set() -> None:
    done = SETTLED.begin_promotion("db.0").finish_promotion("db.0", AT, acknowledges=True)
    assert (done.sync_set, done.sync_lost_at, done.last_failover) == (("db.2",), None, None)


def test_the_sync_set() -> None:
    joined = SETTLED.join_sync_set("db.1")
    assert (joined.sync_set, joined.guarded) == (("db.1", "db.2"), True)
    one = joined.leave_sync_set("db.2", AT)
    assert (one.sync_set, one.sync_lost_at) == (("db.1",), None)
    none = one.leave_sync_set("db.1", AT)
    assert (none.sync_set, none.sync_lost_at) == ((), AT)
    assert none.leave_sync_set("db.1", AT + 1) == none
    assert none.join_sync_set("db.2").sync_lost_at is None


def test_no_serial_and_no_generation_is_used_twice() -> None:
    added = SETTLED.add_instance("db.3", "h", 3, None, memory_bytes=None, restarts_done=1)
    rebuilt = added.rebuild("db.3")
    assert [(i.serial, i.generation) for i in (added.instances[3], rebuilt.instances[3])] == [
        (3, 7),
        (3, 8),
    ]
    assert (rebuilt.next_serial, rebuilt.next_generation) == (4, 9)


# --- What an older version wrote -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"promoting": None, "promoting_may_write": False, "switching_to": None}, None),
        ({"promoting": "db.1", "promoting_may_write": False}, PROMOTION),
        ({"promoting": "db.1", "promoting_may_write": True}, PROMOTION_WRITES),
        # Written before there was that key: then nobody knows.
        ({"promoting": "db.1"}, PROMOTION_WRITES),
        ({"switching_to": "db.1", "promoting": None}, SWITCHOVER),
        (
            {"switching_to": "db.1", "promoting": "db.1", "promoting_may_write": True},
            SWITCHOVER_WRITES,
        ),
        ({"switching_to": "db.1", "promoting": "db.1", "promoting_may_write": False}, PROMOTION),
        # A promotion that began while a planned change was unfinished.
        (
            {"switching_to": "db.2", "promoting": "db.1", "promoting_may_write": True},
            PROMOTION_WRITES,
        ),
        ({"switching_to": "db.2", "promoting": "db.1", "promoting_may_write": False}, PROMOTION),
    ],
)
def test_what_was_under_way(keys: dict[str, Any], expected: Promotion | Switchover | None) -> None:
    stored = SETTLED.model_dump(mode="json")
    del stored["under_way"]
    record = ServiceRecord.model_validate_json(json.dumps({**stored, **keys}))
    assert record == altered(SETTLED, under_way=expected)
    assert record.promoting == (keys.get("promoting"))
    assert record.promoting_may_write >= bool(keys.get("promoting_may_write"))
    assert ServiceRecord.model_validate_json(record.model_dump_json()) == record


def test_which_volumes_were_retained() -> None:
    volume = RetainedVolume(instance="db.1", volume="v1", at=AT, reason="it was primary")
    stored = SETTLED.model_dump(mode="json")
    del stored["retained"]
    for key in ("kept", "retained"):
        record = ServiceRecord.model_validate({**stored, key: [volume.model_dump()]})
        assert record == SETTLED.retain(volume)
    assert SETTLED.retain(volume).let_go([volume]) == SETTLED


def test_what_was_under_way_is_no_name() -> None:
    with pytest.raises(ValidationError):
        ServiceRecord.model_validate({"promoting": 7})


# --- No change escapes the checks ----------------------------------------------------------------


def test_a_misspelt_or_wrong_field_fails_at_once() -> None:
    with pytest.raises(TypeError, match="ServiceRecord has no field promotng"):
        SETTLED._with(promotng="db.1")
    with pytest.raises(ValidationError):
        SETTLED._with(term="4")
    with pytest.raises(ValidationError):
        SETTLED._with(sync_set="db.1")


def test_changes_are_made_by_the_model_alone() -> None:
    """`model_copy(update=...)` checks neither names nor types, and no type checker sees it."""
    found = [
        str(path.relative_to(ROOT))
        for folder in ("hamanager", "drivers", "playbooks", "tests", "benchmarks", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if "model_copy(" in path.read_text().replace("`model_copy(update=...)`", "")
        and path != Path(__file__)
    ]
    assert found == []


def test_an_order_is_never_given_an_older_number() -> None:
    spec = Spec(name="db", engine="e", instances=1, image="i", created_at=0)

    def order(number: int) -> Order:
        return Order(number=number, kind=OrderKind.DISCARD, asked_at=0)

    second = spec.ordering(order(1)).ordering(order(2))
    with pytest.raises(ValueError, match="comes after"):
        second.ordering(order(2))
