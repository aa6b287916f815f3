"""The rules about acknowledgements, orders and pauses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.model.decision import Action, Decision
from hamanager.model.durability import Durability
from hamanager.model.order import Order, OrderKind, OrderResult
from hamanager.model.primary_change import FailoverResult, Promotion
from hamanager.model.snapshot import Contact, Observation, Relation, Role
from tests.unit.test_decide import (
    ELECTING,
    GONE,
    LONG_SILENT,
    NOW,
    PROMOTED,
    SILENT,
    instance,
    table,
    up,
)

ACKNOWLEDGING = replace(PROMOTED, acknowledges=True)
STRICT = {"durability": Durability.STRICT}
SET = {"sync_set": ("db.1",), "guarded": True}


def decided(
    seen: dict[str, Observation],
    candidates: tuple[str, ...] = (),
    *,
    record: dict[str, Any] | None = None,
    **more: Any,
) -> Decision:
    return table(
        seen, candidates, capabilities=ACKNOWLEDGING, record={**SET, **(record or {})}, **more
    )


def leads(required_acks: int) -> Observation:
    return up(Role.PRIMARY, required_acks=required_acks)


ACKNOWLEDGES = up(acknowledges=True, acknowledges_from_disk=True)


def test_all_is_well() -> None:
    assert decided({"db.0": leads(1), "db.1": ACKNOWLEDGES}).rule == "well"


@pytest.mark.parametrize(
    ("standby", "reason"),
    [
        pytest.param(GONE, "its process has ended", id="gone"),
        pytest.param(LONG_SILENT, "no sign of life for 3.5 s", id="silent"),
        pytest.param(
            up(relation=Relation.DETACHED), "it does not replicate from db.0", id="detached"
        ),
        pytest.param(
            up(link_up=False, link_age_seconds=4.0, relation=Relation.UNKNOWN),
            "its link has been silent for 4.0 s",
            id="its link is down",
        ),
    ],
)
def test_a_member_that_does_not_follow_leaves_unless_writes_are_to_wait(
    standby: Observation, reason: str
) -> None:
    seen = {"db.0": leads(1), "db.1": standby}
    decision = decided(seen)
    assert (decision.action, decision.instance) == (Action.LEAVE_SYNC_SET, "db.1")
    assert decision.reason == reason
    assert decided(seen, spec=STRICT).action is not Action.LEAVE_SYNC_SET


@pytest.mark.parametrize("relation", [Relation.DIVERGED, Relation.EMPTY])
@pytest.mark.parametrize("spec", [{}, STRICT])
def test_a_member_whose_data_are_not_what_they_were_leaves_in_any_mode(
    relation: Relation, spec: dict[str, Any]
) -> None:
    seen = {"db.0": leads(1), "db.1": up(relation=relation, errant_writes="x:1")}
    assert decided(seen, spec=spec).action is Action.LEAVE_SYNC_SET


def test_of_two_members_one_leaves_in_strict_mode_too() -> None:
    seen = {"db.0": leads(2), "db.1": ACKNOWLEDGES, "db.2": GONE}
    decision = decided(seen, record={"sync_set": ("db.1", "db.2")}, spec=STRICT)
    assert (decision.action, decision.instance) == (Action.LEAVE_SYNC_SET, "db.2")


def test_a_standby_that_follows_enters() -> None:
    seen = {"db.0": leads(0), "db.1": up()}
    decision = decided(seen, record={"sync_set": ()})
    assert (decision.action, decision.instance) == (Action.JOIN_SYNC_SET, "db.1")
    unproven = (instance("db.0"), instance("db.1", synchronized=False))
    assert decided(seen, record={"sync_set": ()}, instances=unproven).action is (
        Action.MARK_SYNCHRONIZED
    )


def test_a_member_that_was_restarted_acknowledges_again() -> None:
    seen = {"db.0": leads(1), "db.1": up(acknowledges=False)}
    assert decided(seen).action is Action.JOIN_SYNC_SET


@pytest.mark.parametrize(
    ("required_acks", "members", "spec", "expected"),
    [
        (1, (), {}, True),
        (0, ("db.1",), {}, True),
        (2, ("db.1",), {}, True),
        (1, ("db.1",), {}, False),
        (0, (), STRICT, True),
        (1, (), STRICT, False),
        (0, (), {**STRICT, "instances": 1}, False),
    ],
)
def test_the_primary_waits_for_whom_it_should(
    required_acks: int, members: tuple[str, ...], spec: dict[str, Any], expected: bool
) -> None:
    seen = {
        "db.0": leads(required_acks),
        "db.1": up(acknowledges=bool(members), acknowledges_from_disk=bool(members)),
    }
    decision = decided(seen, record={"sync_set": members}, spec=spec)
    assert (decision.action is Action.SET_REQUIRED_ACKS) is expected


def test_a_member_puts_on_its_disk_what_it_acknowledges() -> None:
    seen = {"db.0": leads(1), "db.1": up(acknowledges=True)}
    decision = decided(seen)
    assert decision.action is Action.JOIN_SYNC_SET
    assert "not on its disk" in decision.reason


def test_the_number_does_not_fall_while_a_member_is_silent() -> None:
    """It would never be proven to have received everything."""
    silent = up(acknowledges=True, acknowledges_from_disk=True, link_up=False, link_age_seconds=1.0)
    assert decided({"db.0": leads(2), "db.1": silent}).action is not Action.SET_REQUIRED_ACKS
    assert decided({"db.0": leads(2), "db.1": ACKNOWLEDGES}).action is Action.SET_REQUIRED_ACKS


def test_one_that_acknowledges_for_nobody_is_let_catch_up() -> None:
    behind = up(acknowledges=True, synchronized=False)
    decision = decided({"db.0": leads(0), "db.1": behind}, record={"sync_set": ()})
    assert (decision.action, decision.instance) == (Action.SET_REQUIRED_ACKS, "db.0")
    assert "keeps it from catching up" in decision.reason
    close = decided({"db.0": leads(0), "db.1": ACKNOWLEDGES}, record={"sync_set": ()})
    assert close.action is Action.JOIN_SYNC_SET


def test_only_members_are_promoted_and_the_rest_is_for_a_person() -> None:
    seen = {"db.0": GONE, "db.1": up(link_up=False)}
    assert decided(seen, ("db.1",)).action is Action.FAIL_OVER
    broken = (instance("db.0", starts=4, started_at=NOW - 1), instance("db.1"))
    decision = decided(
        seen,
        record={"sync_set": (), "sync_lost_at": NOW - 7},
        instances=broken,
        unsafe_candidates=("db.1",),
        missing_writes={"db.1": "at least 12 transactions"},
    )
    assert (decision.rule, decision.action) == ("no-safe-candidate", Action.WAIT)
    assert decision.reason == (
        "db.0: the runtime says that its process has ended; no standby is known to hold every"
        " acknowledged write: db.1 may lack at least 12 transactions, all of them from the last"
        " 7 s; `hamanager failover db --to db.1 --force` promotes db.1 and loses that"
    )


def test_whoever_may_have_taken_writes_is_waited_for() -> None:
    begun = {"under_way": Promotion(to="db.1", may_write=True)}
    seen = {"db.0": up(), "db.1": LONG_SILENT}
    in_vain = (instance("db.0"), instance("db.1", starts=3))
    decision = decided(seen, record=begun, instances=in_vain, primary_has_all=True)
    assert (decision.rule, decision.action) == ("another-may-have-led", Action.WAIT)
    assert "db.1 may have taken writes in term 3" in decision.reason


def test_one_that_hangs_and_may_have_led_is_started_anew() -> None:
    begun = {"under_way": Promotion(to="db.1", may_write=True)}
    for former in (up(), leads(1), GONE):
        decision = decided({"db.0": former, "db.1": LONG_SILENT}, record=begun)
        assert (decision.action, decision.instance) == (Action.END_INSTANCE, "db.1")
        assert decision.rule == "unfinished-promotion"
    follower = up(source=instance("db.1").address, link_up=True)
    reached = decided({"db.0": follower, "db.1": LONG_SILENT}, record=begun)
    assert reached.action is Action.WAIT, "it is only the manager who does not reach it"
    suspect = decided({"db.0": up(), "db.1": SILENT}, record=begun)
    assert suspect.action is Action.WAIT


@pytest.mark.parametrize("other", [LONG_SILENT, GONE, up(empty=True)])
def test_a_primary_that_works_does_not_go_on_without_whoever_may_have_led(
    other: Observation,
) -> None:
    """Neither is that one taken out of the sync set or off the record, nor is it rebuilt."""
    begun = {"under_way": Promotion(to="db.1", may_write=True), "sync_set": ("db.1",)}
    seen = {"db.0": up(Role.PRIMARY, required_acks=1), "db.1": other}
    started_often = (instance("db.0"), instance("db.1", starts=7, started_at=NOW - 5))
    for wanted in ({}, {"instances": 1}, {"durability": Durability.STRICT}):
        decision = decided(seen, record=begun, instances=started_often, spec=wanted)
        assert (decision.rule, decision.action) == ("another-may-have-led", Action.WAIT)
        assert "db.1 may have taken writes in term 3" in decision.reason
        assert "--to db.0 --force` lets db.0 go on" in decision.reason


FLAPPED = FailoverResult(at=NOW - 20, from_instance="db.1", to_instance="db.0", seconds=1, lost="")


@pytest.mark.parametrize(
    ("primary", "period", "expected"),
    [
        (LONG_SILENT, 60.0, "flapping"),
        (LONG_SILENT, 10.0, "primary-dead"),
        (GONE, 60.0, "primary-dead"),
    ],
)
def test_a_second_silent_failure_needs_proof(
    primary: Observation, period: float, expected: str
) -> None:
    decision = decided(
        {"db.0": primary, "db.1": up(link_up=False)},
        ("db.1",),
        record={"last_failover": FLAPPED},
        spec={"failover_period_seconds": period},
    )
    assert decision.rule == expected


def test_paused_nothing_is_done() -> None:
    seen = {"db.0": GONE, "db.1": up(link_up=False)}
    decision = decided(seen, ("db.1",), spec={"paused": True})
    assert (decision.rule, decision.action) == ("paused", Action.WAIT)
    assert "its process has ended" in decision.reason


def order(kind: OrderKind, to: str | None = None, age: float = 1.0) -> dict[str, Any]:
    return {"order": Order(number=4, kind=kind, asked_at=NOW - age, to=to)}


WELL = {"db.0": leads(1), "db.1": ACKNOWLEDGES}
DEAD = {"db.0": GONE, "db.1": up(link_up=False)}


@pytest.mark.parametrize(
    ("seen", "candidates", "spec", "action", "words"),
    [
        (WELL, ("db.1",), order(OrderKind.SWITCHOVER), Action.SWITCHOVER, "asked"),
        (WELL, (), order(OrderKind.SWITCHOVER), Action.REFUSE, "no standby could take over"),
        (WELL, ("db.1",), order(OrderKind.SWITCHOVER, "db.0"), Action.REFUSE, "primary already"),
        (WELL, (), order(OrderKind.SWITCHOVER, "db.1"), Action.REFUSE, "not in step with db.0"),
        (WELL, ("db.1",), order(OrderKind.SWITCHOVER, age=99), Action.REFUSE, "a minute ago"),
        (DEAD, ("db.1",), order(OrderKind.SWITCHOVER), Action.REFUSE, "does not take writes"),
        (WELL, ("db.1",), order(OrderKind.FAILOVER, "db.1"), Action.REFUSE, "takes writes"),
        (DEAD, (), order(OrderKind.FAILOVER, "db.1"), Action.FAIL_OVER, "an operator decided it"),
        (WELL, ("db.1",), order(OrderKind.DISCARD), Action.DISCARD, "asked"),
    ],
)
def test_orders(
    seen: dict[str, Observation],
    candidates: tuple[str, ...],
    spec: dict[str, Any],
    action: Action,
    words: str,
) -> None:
    decision = decided(seen, candidates, spec=spec)
    assert decision.action is action
    assert words in decision.reason
    done = OrderResult(number=4, ok=False, text="", at=NOW)
    again = decided(seen, candidates, spec=spec, record={"order_result": done})
    assert again.action is not action or action is Action.FAIL_OVER


@pytest.mark.parametrize("other", [LONG_SILENT, GONE, up(empty=True)])
def test_where_nobody_is_known_to_hold_everything_a_primary_that_works_goes_on(
    other: Observation,
) -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": other}
    record = {"under_way": Promotion(to="db.1", may_write=True)}
    in_vain = (instance("db.0"), instance("db.1", starts=3))
    decision = table(seen, record=record, instances=in_vain)
    assert (decision.action, decision.instance) == (Action.RESUME, "db.0")
    suspect = table({**seen, "db.1": SILENT}, record=record, instances=in_vain)
    assert suspect.action is not Action.RESUME


@pytest.mark.parametrize(
    ("broken_for", "changes", "expected"),
    [
        pytest.param(61, {}, Action.END_INSTANCE, id="for too long"),
        pytest.param(59, {}, Action.NOTHING, id="it is given some time"),
        pytest.param(61, {"started_at": NOW - 30}, Action.NOTHING, id="counted from its start"),
        pytest.param(61, {"starts": 1}, Action.END_INSTANCE, id="it came back as a standby"),
        pytest.param(100, {"starts": 2}, Action.NOTHING, id="and more time when it was ended"),
        pytest.param(121, {"starts": 2}, Action.REBUILD, id="which has an end, too"),
    ],
)
def test_one_that_undoes_writes_for_ever_is_started_anew_and_then_rebuilt(
    broken_for: float, changes: dict[str, Any], expected: Action
) -> None:
    undoing = up(undoes=True, relation=Relation.UNKNOWN, broken_since=NOW - broken_for)
    decision = table(
        {"db.0": up(Role.PRIMARY), "db.1": undoing, "db.2": up()},
        capabilities=ELECTING,
        instances=(instance("db.0"), instance("db.1", **changes), instance("db.2")),
    )
    assert decision.action is expected
    assert expected is Action.NOTHING or decision.instance == "db.1"


@pytest.mark.parametrize(
    ("source", "ago", "starts"),
    [("h:0", 0.2, False), (None, 0.2, False), ("h:1", 0.2, True), ("h:0", 1.5, True)],
)
def test_a_former_primary_is_started_when_the_others_have_found_the_new_one(
    source: str | None, ago: float, starts: bool
) -> None:
    """Its address answers nobody while it is being started, and they ask there."""
    last = FailoverResult(
        at=NOW - ago, from_instance="db.0", to_instance="db.1", seconds=0.1, lost=""
    )
    seen = {"db.0": GONE, "db.1": up(Role.PRIMARY), "db.2": up(source=source)}
    record = {"primary": "db.1", "last_failover": last}
    decision = table(seen, ("db.2",), record=record, capabilities=ELECTING)
    assert (decision.action is Action.START_INSTANCE) is starts
    promoted = table(seen, ("db.2",), record=record)
    assert promoted.action is Action.START_INSTANCE


def test_the_last_one_left_does_not_keep_it_waiting() -> None:
    last = FailoverResult(at=NOW, from_instance="db.0", to_instance="db.1", seconds=0.1, lost="")
    seen = {"db.0": GONE, "db.1": up(Role.PRIMARY), "db.2": GONE}
    record = {"primary": "db.1", "last_failover": last}
    decision = table(seen, (), record=record, capabilities=ELECTING)
    assert decision.action is Action.START_INSTANCE


HEARD = up(acknowledges=True, acknowledges_from_disk=True, link_age_seconds=0.2)
LINK_CUT = up(acknowledges=True, acknowledges_from_disk=True, link_age_seconds=1.6)


@pytest.mark.parametrize(
    ("waiting_seconds", "standby", "required_acks", "rule"),
    [
        pytest.param(1.5, HEARD, 1, "unheard", id="it was lost"),
        pytest.param(0.5, HEARD, 1, "well", id="it may be on its way"),
        pytest.param(1.5, LINK_CUT, 1, "well", id="its link may have been cut"),
        pytest.param(1.5, ACKNOWLEDGES, 1, "well", id="nobody knows of its link"),
        pytest.param(1.5, up(), 1, "sync-join", id="it does not acknowledge yet"),
        pytest.param(1.5, SILENT, 1, "well", id="it may have died"),
        pytest.param(1.5, HEARD, 2, "sync-adjust", id="for one more than there are"),
    ],
)
def test_writes_that_wait_for_standbys_which_have_them(
    waiting_seconds: float, standby: Observation, required_acks: int, rule: str
) -> None:
    primary = up(Role.PRIMARY, required_acks=required_acks, waiting_seconds=waiting_seconds)
    decision = decided({"db.0": primary, "db.1": standby})
    assert decision.rule == rule
    assert (decision.action is Action.PROMPT) is (rule == "unheard")


@pytest.mark.parametrize(
    ("member", "heard", "started_seconds_ago", "ended"),
    [
        pytest.param(replace(SILENT, silent_seconds=12), 30.0, 100, True, id="it hangs"),
        pytest.param(replace(SILENT, silent_seconds=9), 30.0, 100, False, id="not for long"),
        pytest.param(replace(SILENT, silent_seconds=12), 0.2, 100, False, id="others hear of it"),
        pytest.param(replace(SILENT, silent_seconds=12), None, 100, False, id="nobody knows"),
        pytest.param(replace(SILENT, silent_seconds=12), 30.0, 30, False, id="it starts"),
        pytest.param(
            replace(SILENT, silent_seconds=12, contact=Contact.REFUSED),
            30.0,
            100,
            False,
            id="refuses",
        ),
        pytest.param(GONE, 30.0, 100, False, id="it has ended"),
    ],
)
def test_a_member_that_nobody_has_heard_of_is_ended(
    member: Observation, heard: float | None, started_seconds_ago: float, ended: bool
) -> None:
    hears = {} if heard is None else {"h:1": heard}
    decision = table(
        {
            "db.0": up(Role.PRIMARY, heard_seconds=hears),
            "db.1": member,
            "db.2": up(heard_seconds=hears),
        },
        capabilities=ELECTING,
        instances=(
            instance("db.0"),
            instance("db.1", started_at=NOW - started_seconds_ago),
            instance("db.2"),
        ),
    )
    assert (decision.rule == "hung") is ended, decision
    assert (decision.action is Action.END_INSTANCE) is ended
