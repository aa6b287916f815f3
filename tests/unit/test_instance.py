"""What happens to an instance, as its record says it."""

from __future__ import annotations

from typing import Any

import pytest

from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from tests.support.altered import altered

OLD = InstanceRecord(
    name="db.1",
    serial=1,
    generation=1,
    host="h",
    port=1,
    joined=True,
    synchronized=True,
    was_primary=True,
    unacknowledged_only=True,
    starts=3,
    upgrading=True,
    restarting_since=5.0,
    restart_started=True,
    memory_problem="full",
    memory_tried_at=5.0,
    memory_shrinks_since=4.0,
    draining_since=6.0,
)


@pytest.mark.parametrize(
    ("after", "fields"),
    [
        (OLD.moved("g", 9, 10), {"host": "g", "port": 9, "admin_port": 10}),
        (OLD.set_up(), {"starts": 0}),
        (
            OLD.seen_synchronized(4),
            {
                "synchronized_term": 4,
                "was_primary": False,
                "unacknowledged_only": False,
                "starts": 0,
            },
        ),
        (
            OLD.became_primary(),
            {
                "unacknowledged_only": False,
                "starts": 0,
                "upgrading": False,
                "restarting_since": None,
            },
        ),
        (
            OLD.was_replaced(lossless=False),
            {"synchronized": False, "unacknowledged_only": False},
        ),
        (OLD.was_replaced(lossless=True), {"synchronized": False}),
        (OLD.took_writes(acknowledged_by_nobody=True), {"synchronized": False}),
        (
            OLD.took_writes(acknowledged_by_nobody=False),
            {"synchronized": False, "unacknowledged_only": False},
        ),
        (
            OLD.rebuilt(8),
            {
                "generation": 8,
                "joined": False,
                "synchronized": False,
                "was_primary": False,
                "unacknowledged_only": False,
                "starts": 0,
                "upgrading": False,
            },
        ),
        (
            altered(OLD, upgrading=False).restart_began(7.0, 2),
            {
                "restarting_since": 7.0,
                "restart_started": False,
                "restarts_done": 2,
                "upgrading": False,
            },
        ),
        (
            altered(OLD, upgrading=False).upgrade_began(7.0, 2),
            {
                "restarting_since": 7.0,
                "restart_started": False,
                "restarts_done": 2,
                "starts": 0,
            },
        ),
        (
            OLD.restart_finished(),
            {"restarting_since": None, "restart_started": False, "starts": 0, "upgrading": False},
        ),
        (
            OLD.memory_set(64),
            {
                "memory_bytes": 64,
                "memory_problem": "",
                "memory_tried_at": None,
                "memory_shrinks_since": None,
            },
        ),
        (OLD.memory_shrinks(9.0), {"memory_shrinks_since": 9.0}),
        (
            OLD.memory_not_set("no", 9.0),
            {"memory_problem": "no", "memory_tried_at": 9.0, "memory_shrinks_since": None},
        ),
        (OLD.passed_its_check(), {"starts": 0, "draining_since": None}),
        (OLD.drains(9.0), {"draining_since": 9.0}),
        (
            OLD.left_for_restart(2),
            {"restarts_done": 2, "draining_since": None, "joined": False},
        ),
        (OLD.left_for_upgrade(9.0), {"draining_since": 9.0, "joined": False, "starts": 0}),
    ],
)
def test_what_happens_to_an_instance(after: InstanceRecord, fields: dict[str, Any]) -> None:
    """These fields changed, and no other."""
    assert after == altered(OLD, **fields)


@pytest.mark.parametrize("is_primary", [True, False])
@pytest.mark.parametrize("restarting_since", [None, 5.0])
def test_a_start_began(is_primary: bool, restarting_since: float | None) -> None:
    image, before = PinnedImage(id="new"), PinnedImage(id="old")
    old = altered(OLD, restarting_since=restarting_since, restart_started=False)
    after = old.start_began(
        image, unproven_after=before, memory_bytes=64, at=9.0, is_primary=is_primary
    )
    assert after == altered(
        old,
        image=image,
        former_image=before,
        upgrading=False,
        starts=4,
        started_at=9.0,
        synchronized=is_primary,
        memory_bytes=64,
        restart_started=restarting_since is not None,
    )


def test_an_older_version_had_another_word() -> None:
    stored = OLD.model_dump(mode="json")
    del stored["was_primary"]
    for keys, expected in (({"has_led": True}, True), ({"was_primary": True}, True), ({}, False)):
        assert InstanceRecord.model_validate({**stored, **keys}).was_primary is expected
