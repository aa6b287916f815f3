"""A primary that nobody can end: who leaves it, and from when on it takes no writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.decide.table import decide
from hamanager.model.decision import Action, Decision
from hamanager.model.durability import Durability
from hamanager.model.host import HostSeen, LeftBehind
from hamanager.model.primary_change import FailoverResult
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Contact, Observation, Process, Role, Snapshot
from hamanager.model.spec import Spec
from tests.unit.test_decide import ACKNOWLEDGING, ENDPOINT, GONE, NOW, PROMOTED, instance, up

BOUND = 5.0
CAPABILITIES = replace(PROMOTED, refuses_alone_after_seconds=BOUND)
SILENT = Observation(Process.UNKNOWN, Contact.SILENT, silent_seconds=9.0)
BROKEN = up(link_up=False, same_source_seconds=600.0)
"""It still follows the primary, of which it hears nothing."""
LEFT = LeftBehind(
    instance="db.3", generation=1, placed_on="h0", serial=9, at=0, reason="its host was silent"
)


def left(seconds: float, role: Role = Role.STANDBY) -> Observation:
    return up(role, source=None, link_up=False, same_source_seconds=seconds)


def decided(
    first: Observation,
    second: Observation,
    *,
    primary: Observation = SILENT,
    candidates: tuple[str, ...] = ("db.1", "db.2"),
    durability: Durability = Durability.STRICT,
    host_silent: float = 9.0,
    **record: Any,
) -> Decision:
    seen = {"db.0": primary, "db.1": first, "db.2": second}
    hosts = {
        f"h{n}": HostSeen(f"h{n}", f"10.0.0.{n}", silent_seconds=0.0 if n else host_silent)
        for n in range(3)
    }
    kept: dict[str, Any] = {
        "term": 3,
        "primary": "db.0",
        "initialized": True,
        "endpoint": ENDPOINT,
        "refuses_alone": True,
        "instances": tuple(instance(f"db.{n}", placed_on=f"h{n}") for n in range(3)),
    }
    return decide(
        Spec(name="db", engine="e", instances=3, image="i", created_at=0, durability=durability),
        ServiceRecord(**{**kept, **record}),
        Snapshot(NOW, seen, candidates, hosts=hosts),
        CAPABILITIES,
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(BROKEN, BROKEN, (Action.LEAVE_PRIMARY, "db.1"), id="both follow it"),
        pytest.param(left(9), BROKEN, (Action.LEAVE_PRIMARY, "db.2"), id="one follows it"),
        pytest.param(GONE, BROKEN, (Action.LEAVE_PRIMARY, "db.2"), id="one has ended"),
        pytest.param(BROKEN, SILENT, (Action.WAIT, "db.0"), id="one may be with it"),
        pytest.param(left(9), SILENT, (Action.WAIT, "db.0"), id="one may be with it still"),
        pytest.param(left(4.9), left(9), (Action.WAIT, "db.0"), id="one left a moment ago"),
        pytest.param(left(5), left(5), (Action.FAIL_OVER, "db.1"), id="it refuses writes now"),
        pytest.param(
            left(5), replace(GONE, silent_seconds=5), (Action.FAIL_OVER, "db.1"), id="or ended"
        ),
        pytest.param(
            left(5),
            replace(GONE, silent_seconds=4.9),
            (Action.WAIT, "db.0"),
            id="one ended a moment ago",
        ),
        pytest.param(
            BROKEN, up(), (Action.WAIT, "db.0"), id="one still replicates from it: we are cut off"
        ),
    ],
)
def test_who_leaves_it_and_when_it_is_passed_over(
    first: Observation, second: Observation, expected: tuple[Action, str]
) -> None:
    decision = decided(first, second)
    assert (decision.action, decision.instance) == expected


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"refuses_alone": False}, id="it was not told to refuse writes"),
        pytest.param({"durability": Durability.AVAILABILITY}, id="it is not to refuse them"),
        pytest.param(
            {"left_behind": (LEFT,)},
            id="what was left somewhere may be its standby",
        ),
        pytest.param({"candidates": ()}, id="nobody could take its place"),
        pytest.param(
            {
                "last_failover": FailoverResult(
                    at=NOW - 9, from_instance="db.1", to_instance="db.0", seconds=1, lost=""
                )
            },
            id="its role flaps",
        ),
        pytest.param({"primary": replace(SILENT, silent_seconds=2.9)}, id="not silent for long"),
    ],
)
def test_nobody_leaves_it_for_nothing(changes: dict[str, Any]) -> None:
    assert decided(BROKEN, BROKEN, **changes).action is Action.WAIT


def test_one_that_can_be_ended_is_not_left() -> None:
    assert decided(BROKEN, BROKEN, host_silent=0.0).action is Action.FAIL_OVER


@pytest.mark.parametrize(
    ("heard", "host", "answered", "expected"),
    [
        pytest.param(4.0, 3.0, None, Action.LEAVE_PRIMARY, id="neither it nor its host was heard"),
        pytest.param(3.9, 3.0, None, Action.WAIT, id="its standbys heard it a moment ago"),
        pytest.param(4.0, 2.9, None, Action.WAIT, id="its host answered a moment ago"),
        pytest.param(4.0, 0.0, None, Action.WAIT, id="only one answer is missing"),
        pytest.param(4.0, 3.0, 2.9, Action.WAIT, id="it answered this manager a moment ago"),
    ],
)
def test_a_silent_host_bears_out_what_the_standbys_say(
    heard: float, host: float, answered: float | None, expected: Action
) -> None:
    """A manager that has just taken over has asked the server once, and the host for seconds."""
    silent = replace(SILENT, silent_seconds=0.1, answered_seconds=answered)
    standby = up(link_up=False, link_age_seconds=heard)
    assert decided(standby, standby, primary=silent, host_silent=host).action is expected


def test_it_has_to_be_silent_for_so_long_itself() -> None:
    decision = decided(left(9), left(9), primary=replace(SILENT, silent_seconds=4.9))
    assert decision.action is Action.WAIT


@pytest.mark.parametrize(
    ("silent", "answered", "host_silent", "leaves"),
    [
        pytest.param(3.0, 3.0, 0.0, True, id="silent for long enough"),
        pytest.param(2.9, 2.9, 0.0, False, id="not yet"),
        pytest.param(1.0, None, 4.6, True, id="its host was, before this manager led"),
        pytest.param(0.9, None, 4.6, False, id="itself not asked for long enough"),
        pytest.param(1.0, None, 2.9, False, id="nor is its host silent for long enough"),
        pytest.param(1.0, 1.0, 60.0, False, id="it answered while its host did not"),
    ],
)
def test_writes_wait_no_longer_for_a_standby_on_a_host_that_went_with_the_manager(
    silent: float, answered: float | None, host_silent: float, leaves: bool
) -> None:
    standby = Observation(
        Process.UNKNOWN, Contact.SILENT, silent_seconds=silent, answered_seconds=answered
    )
    seen = {"db.0": up(Role.PRIMARY, required_acks=2), "db.1": standby, "db.2": up()}
    hosts = {
        f"h{n}": HostSeen(f"h{n}", f"10.0.0.{n}", silent_seconds=host_silent if n == 1 else 0.0)
        for n in range(3)
    }
    decision = decide(
        Spec(name="db", engine="e", instances=3, image="i", created_at=0),
        ServiceRecord(
            term=3,
            primary="db.0",
            initialized=True,
            endpoint=ENDPOINT,
            sync_set=("db.1", "db.2"),
            instances=tuple(instance(f"db.{n}", placed_on=f"h{n}") for n in range(3)),
        ),
        Snapshot(NOW, seen, ("db.2",), hosts=hosts),
        ACKNOWLEDGING,
    )
    assert (decision.action is Action.LEAVE_SYNC_SET) is leaves, decision
