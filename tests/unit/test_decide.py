"""The rule table: the golden list of its rows, and what each row decides."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hamanager.decide.table import decide, describe_rules, rules_of
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import Action, BackingOff, Decision
from hamanager.model.durability import Durability
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.instance import InstanceRecord
from hamanager.model.order import Order, OrderKind
from hamanager.model.record import RETAINED_LIMIT, RetainedVolume, ServiceRecord
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Process,
    Relation,
    Role,
    ServerStatus,
    Snapshot,
)
from hamanager.model.spec import Spec

GOLDEN = Path(__file__).parent / "golden" / "rules.txt"
PROMOTED = Capabilities((1, 2, 3), 1, (Durability.AVAILABILITY, Durability.STRICT))
ACKNOWLEDGING = replace(PROMOTED, acknowledges=True)
ELECTING = replace(PROMOTED, elects_itself=True, allowed_instances=(1, 3, 5))
NOW = 10_000.0


def test_the_table_is_what_the_golden_file_says() -> None:
    """Set HAMANAGER_GOLDEN=write to accept an intended change."""
    table = "".join(f"{name}\n    {row}\n" for name, row in describe_rules())
    if os.environ.get("HAMANAGER_GOLDEN") == "write":
        GOLDEN.write_text(table)
    assert table == GOLDEN.read_text()


def instance(name: str, **changes: Any) -> InstanceRecord:
    number = int(name[-1])
    settled: dict[str, Any] = {"joined": True, "synchronized": True, "was_primary": number == 0}
    settled |= {"synchronized_term": 99}
    return InstanceRecord(
        name=name, serial=number, generation=1, host="h", port=number, **{**settled, **changes}
    )


def up(role: Role = Role.STANDBY, **changes: Any) -> Observation:
    status = ServerStatus(
        role, source=None if role is Role.PRIMARY else "h:0", link_up=True, synchronized=True
    )
    relation = Relation.UNKNOWN if role is Role.PRIMARY else Relation.ATTACHED
    status_changes = {k: v for k, v in changes.items() if hasattr(status, k)}
    rest = {k: v for k, v in changes.items() if not hasattr(status, k)}
    seen = Observation(
        Process.RUNNING, Contact.ANSWERS, replace(status, **status_changes), relation
    )
    return replace(seen, **rest)


GONE = Observation(Process.EXITED, Contact.REFUSED)
REFUSED = Observation(Process.RUNNING, Contact.REFUSED)
BUSY = Observation(Process.RUNNING, Contact.BUSY)
SILENT = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=1.0)
LONG_SILENT = replace(SILENT, silent_seconds=3.5)
BLIND = Observation(Process.UNKNOWN, Contact.SILENT, silent_seconds=60)
LINK_DOWN = up(link_up=False)


ENDPOINT = EndpointRecord(host="10.0.0.1", port=7100)


def table(
    seen: dict[str, Observation],
    candidates: tuple[str, ...] = (),
    *,
    unsafe_candidates: tuple[str, ...] = (),
    missing_writes: dict[str, str] | None = None,
    capabilities: Capabilities = PROMOTED,
    spec: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    instances: tuple[InstanceRecord, ...] | None = None,
    primary_has_all: bool = False,
    backing_off: tuple[BackingOff, ...] = (),
) -> Decision:
    wanted = {"name": "db", "engine": "e", "instances": len(seen), "image": "i", "created_at": 0}
    kept = {"term": 3, "primary": "db.0", "initialized": True, "endpoint": ENDPOINT}
    decision = decide(
        Spec(**{**wanted, **(spec or {})}),
        ServiceRecord(
            **{**kept, **(record or {})},
            instances=instances or tuple(instance(name) for name in seen),
        ),
        Snapshot(NOW, seen, candidates, unsafe_candidates, missing_writes or {}, primary_has_all),
        capabilities,
        backing_off,
    )
    may = {rule.name: rule.may for rule in rules_of(capabilities)}
    assert decision.action in may.get(decision.rule, [decision.action]), "its row says so"
    return decision


WELL = {"db.0": up(Role.PRIMARY), "db.1": up()}


def failed(rule: str, action: Action, name: str | None, tries: int = 3) -> BackingOff:
    return BackingOff(rule, action, name, tries, 0.8, "it is broken")


def test_all_is_well() -> None:
    decision = table(WELL)
    assert (decision.rule, decision.action) == ("well", Action.NOTHING)
    assert decision.reason == "db.0 is primary, standbys following: 1 of 1"


@pytest.mark.parametrize(
    ("primary", "standby", "expected"),
    [
        pytest.param(GONE, up(), Action.FAIL_OVER, id="the runtime's word is proof"),
        pytest.param(REFUSED, LINK_DOWN, Action.FAIL_OVER, id="two sides agree: proof"),
        pytest.param(REFUSED, up(), Action.WAIT, id="refused, but a standby replicates: veto"),
        pytest.param(SILENT, LINK_DOWN, Action.WAIT, id="a short silence"),
        pytest.param(LONG_SILENT, LINK_DOWN, Action.FAIL_OVER, id="a long silence"),
        pytest.param(LONG_SILENT, up(), Action.WAIT, id="a long silence, but replicating: veto"),
        pytest.param(
            replace(SILENT, contact=Contact.BUSY), LINK_DOWN, Action.WAIT, id="busy is alive"
        ),
        pytest.param(BLIND, BLIND, Action.WAIT, id="blind"),
        pytest.param(
            SILENT,
            up(link_up=False, link_age_seconds=4.0),
            Action.FAIL_OVER,
            id="a short silence, and the standby's of long: of a manager that took over",
        ),
        pytest.param(
            SILENT, up(link_up=False, link_age_seconds=3.9), Action.WAIT, id="it may have said less"
        ),
        pytest.param(
            replace(SILENT, silent_seconds=0.9),
            up(link_up=False, link_age_seconds=4.0),
            Action.WAIT,
            id="the manager has hardly asked itself",
        ),
        pytest.param(
            SILENT,
            up(link_up=False, link_age_seconds=16.0),
            Action.WAIT,
            id="that link was broken before",
        ),
        pytest.param(
            SILENT,
            up(source=None, link_up=False, heard_seconds={"h:0": 4.0}),
            Action.FAIL_OVER,
            id="its standby has given it up: nobody knows whom it followed, but whom it heard",
        ),
        pytest.param(
            SILENT,
            up(source=None, link_up=False, heard_seconds={"h:0": 3.9}),
            Action.WAIT,
            id="it was heard of a moment ago",
        ),
        pytest.param(
            SILENT,
            up(source=None, link_up=False, heard_seconds={"h:0": 4.0}, believes_in="h:7"),
            Action.WAIT,
            id="it believes in another one",
        ),
    ],
)
def test_evidence_of_death(primary: Observation, standby: Observation, expected: Action) -> None:
    decision = table({"db.0": primary, "db.1": standby}, ("db.1",))
    assert decision.action is expected
    if expected is Action.FAIL_OVER:
        assert decision.instance == "db.1"


def test_without_a_candidate_the_dead_primary_is_started_again() -> None:
    decision = table({"db.0": GONE, "db.1": up()})
    assert (decision.action, decision.instance) == (Action.START_INSTANCE, "db.0")
    alone = table({"db.0": GONE})
    assert (alone.action, alone.instance) == (Action.START_INSTANCE, "db.0")


def test_a_restarted_primary_resumes_only_when_it_has_everything() -> None:
    seen = {"db.0": up(Role.STANDBY, relation=Relation.UNKNOWN), "db.1": LINK_DOWN}
    assert table(seen, ("db.1",), primary_has_all=True).action is Action.RESUME
    assert table(seen, ("db.1",)).action is Action.FAIL_OVER
    assert table(seen).action is Action.WAIT


def test_an_old_primary_that_woke_up_is_demoted_before_anything_else() -> None:
    decision = table({"db.0": GONE, "db.1": up(Role.PRIMARY), "db.2": up()}, ("db.2",))
    assert (decision.action, decision.instance) == (Action.DEMOTE, "db.1")


def test_a_planned_restart_is_no_failure_until_it_is_overdue() -> None:
    def with_restart(seconds_ago: float) -> Decision:
        restarting = instance("db.0", restarting_since=NOW - seconds_ago)
        return table(
            {"db.0": GONE, "db.1": LINK_DOWN}, ("db.1",), instances=(restarting, instance("db.1"))
        )

    assert (with_restart(5).action, with_restart(5).instance) == (Action.START_INSTANCE, "db.0")
    assert with_restart(61).action is Action.FAIL_OVER


def test_engines_that_elect_are_followed_and_helped() -> None:
    seen = {"db.0": GONE, "db.1": up(believes_in="h:0"), "db.2": up(believes_in=None)}
    helped = table(seen, ("db.1", "db.2"), capabilities=ELECTING)
    assert (helped.action, helped.instance) == (Action.FAIL_OVER, "db.1")
    elected = table({**seen, "db.2": up(Role.PRIMARY)}, ("db.1",), capabilities=ELECTING)
    assert (elected.action, elected.instance) == (Action.ADOPT, "db.2")


def test_a_lost_majority_is_said_and_nothing_is_forced() -> None:
    seen = {"db.0": up(), "db.1": SILENT, "db.2": SILENT}
    record = {"primary": "db.1"}
    lost = table(
        {**seen, "db.1": LONG_SILENT, "db.0": up(source=None)},
        ("db.0",),
        capabilities=ELECTING,
        record=record,
    )
    assert (lost.rule, lost.action) == ("majority-lost", Action.WAIT)
    assert "1 of 3 members is up" in lost.reason
    ended = table(
        {**seen, "db.1": GONE, "db.2": GONE}, ("db.0",), capabilities=ELECTING, record=record
    )
    assert ended.action is Action.START_INSTANCE


@pytest.mark.parametrize(
    ("relation", "was_primary", "expected"),
    [
        (Relation.EMPTY, False, Action.SEED),
        (Relation.DETACHED, True, Action.ATTACH),
        (Relation.UNPROVEN, False, Action.ATTACH),
        (Relation.UNPROVEN, True, Action.REBUILD),
        (Relation.DIVERGED, False, Action.REBUILD),
        (Relation.SEEDING, False, Action.NOTHING),
        (Relation.UNKNOWN, False, Action.NOTHING),
    ],
)
def test_what_a_standby_needs(relation: Relation, was_primary: bool, expected: Action) -> None:
    instances = (instance("db.0"), instance("db.1", was_primary=was_primary))
    seen = {**WELL, "db.1": up(relation=relation)}
    assert table(seen, instances=instances).action is expected


def test_scaling() -> None:
    more = table(WELL, spec={"instances": 3})
    assert (more.action, more.instance) == (Action.ADD_INSTANCE, "db.2")
    fewer = table(WELL, spec={"instances": 1})
    assert (fewer.action, fewer.instance) == (Action.REMOVE_INSTANCE, "db.1")
    # The primary stays, whatever its number; a broken standby goes before a good one.
    seen = {"db.0": up(), "db.1": up(Role.PRIMARY), "db.2": up(relation=Relation.DIVERGED)}
    led = table(seen, spec={"instances": 2}, record={"primary": "db.1"})
    assert (led.action, led.instance) == (Action.REMOVE_INSTANCE, "db.2")


def test_a_free_number_is_reused() -> None:
    seen = {"db.1": up(Role.PRIMARY)}
    decision = table(seen, spec={"instances": 2}, record={"primary": "db.1"})
    assert (decision.action, decision.instance) == (Action.ADD_INSTANCE, "db.0")


def test_a_standby_that_never_comes_up_is_rebuilt_and_tried_ever_more_slowly() -> None:
    seen = {**WELL, "db.1": GONE}

    def after(starts: int, seconds_ago: float) -> Decision:
        ended = instance("db.1", starts=starts, started_at=NOW - seconds_ago)
        return table(seen, instances=(instance("db.0"), ended))

    assert after(0, 0).action is Action.START_INSTANCE
    assert after(3, 0.5).action is not Action.START_INSTANCE
    assert after(3, 2.5).action is Action.START_INSTANCE
    assert after(5, 0.5).action is Action.REBUILD


def test_one_that_is_not_rebuilt_for_want_of_room_stops_nothing_else() -> None:
    retained = tuple(
        RetainedVolume(instance="db.1", volume=f"v{n}", at=0, reason="")
        for n in range(RETAINED_LIMIT)
    )
    seen = {"db.0": up(Role.PRIMARY), "db.1": GONE, "db.2": up()}
    broken = instance("db.1", starts=9, started_at=NOW - 1)

    def full(third: InstanceRecord, **more: Any) -> Decision:
        record = {"retained": retained, **more.pop("record", {})}
        instances = (instance("db.0"), broken, third)
        return table(seen, capabilities=ACKNOWLEDGING, instances=instances, record=record, **more)

    seen["db.0"] = up(Role.PRIMARY, required_acks=1)
    seen["db.2"] = up(acknowledges=True, acknowledges_from_disk=True)
    members = {"sync_set": ("db.2",)}
    decision = full(instance("db.2"), record=members)
    assert (decision.rule, decision.action) == ("no-room", Action.WAIT)
    assert "5 sets of data are kept already" in decision.reason
    asked = Order(number=1, kind=OrderKind.DISCARD, asked_at=NOW)
    assert full(instance("db.2"), record=members, spec={"order": asked}).action is Action.DISCARD
    late = full(instance("db.2", synchronized=False), record=members)
    assert (late.action, late.instance) == (Action.MARK_SYNCHRONIZED, "db.2")
    broken = instance("db.1", starts=9, started_at=NOW - 61)
    assert full(instance("db.2"), record=members).action is Action.START_INSTANCE


def test_a_restart_a_person_asked_for_and_a_new_limit() -> None:
    assert table(WELL, spec={"restarts": {"db.1": 1}}).action is Action.RESTART
    done = (instance("db.0"), instance("db.1", restarts_done=1))
    assert table(WELL, spec={"restarts": {"db.1": 1}}, instances=done).action is Action.NOTHING
    assert table(WELL, spec={"memory_bytes": 2**28}).action is Action.SHRINK


def test_a_new_service() -> None:
    fresh = {"term": 0, "primary": None, "initialized": False}
    address = table({}, spec={"instances": 2}, record={**fresh, "endpoint": None})
    assert (address.rule, address.action) == ("first-address", Action.RESERVE_ADDRESS)
    first = table({}, spec={"instances": 2}, record=fresh)
    assert (first.action, first.instance) == (Action.ADD_INSTANCE, "db.0")
    started = table({"db.0": up()}, spec={"instances": 2}, record=fresh)
    assert (started.action, started.instance) == (Action.INITIALIZE, "db.0")


def test_an_address_is_made_up_for_only_when_all_else_is_well() -> None:
    old = {"endpoint": None}
    assert table(WELL, record=old).rule == "address"
    assert table({**WELL, "db.0": GONE}, ("db.1",), record=old).action is Action.FAIL_OVER
    assert (
        table(WELL, record=old, capabilities=replace(ELECTING, url_names_all=True)).rule == "well"
    )
    reads = table(WELL, spec={"reads_max_lag_seconds": 5.0})
    assert (reads.rule, reads.action) == ("address", Action.RESERVE_ADDRESS)
    both = EndpointRecord(host="10.0.0.1", port=7100, reads_port=7101)
    assert (
        table(WELL, spec={"reads_max_lag_seconds": 5.0}, record={"endpoint": both}).rule == "well"
    )


def test_destroy_comes_before_everything() -> None:
    assert table({"db.0": BLIND}, spec={"destroy": True}).action is Action.DESTROY


ENDING = up(Role.PRIMARY, asked_to_end_seconds=0.1)


def test_a_primary_that_somebody_stops_is_replaced_before_it_ends() -> None:
    seen = {"db.0": ENDING, "db.1": up(), "db.2": up()}
    for candidates in (("db.1", "db.2"), ("db.2", "db.1")):
        decision = table(seen, candidates)
        assert (decision.rule, decision.action) == ("primary-is-ending", Action.SWITCHOVER)
        assert decision.instance == "db.1", "the heir changes from look to look"
        assert decision.reason == "somebody else asked db.0 to end 0.1 s ago, and db.1 is in step"
    late = {**seen, "db.1": replace(up(), lag_seconds=5.0), "db.2": replace(up(), lag_seconds=0.1)}
    assert table(late, ("db.1", "db.2")).instance == "db.2"
    pauses = (failed("primary-is-ending", Action.SWITCHOVER, "db.1"),)
    assert table(seen, ("db.1", "db.2"), backing_off=pauses).instance == "db.2"


@pytest.mark.parametrize(
    ("primary", "standby", "candidates"),
    [
        pytest.param(replace(ENDING, asked_to_end_seconds=0.9), up(), ("db.1",), id="too late"),
        pytest.param(ENDING, up(), (), id="nobody could take over"),
        pytest.param(ENDING, LINK_DOWN, ("db.1",), id="its link is down"),
        pytest.param(ENDING, up(asked_to_end_seconds=0.1), ("db.1",), id="it ends, too"),
        pytest.param(up(asked_to_end_seconds=0.1), up(), ("db.1",), id="it does not lead"),
        pytest.param(GONE, up(), ("db.1",), id="it has ended"),
    ],
)
def test_without_an_heir_or_time_it_is_not(
    primary: Observation, standby: Observation, candidates: tuple[str, ...]
) -> None:
    standby = replace(standby, relation=Relation.DETACHED) if standby is LINK_DOWN else standby
    decision = table({"db.0": primary, "db.1": standby}, candidates)
    assert decision.action is not Action.SWITCHOVER


def test_a_planned_restart_is_not_somebody_elses_stop() -> None:
    instances = (instance("db.0", restarting_since=NOW - 1), instance("db.1"))
    decision = table({"db.0": ENDING, "db.1": up()}, ("db.1",), instances=instances)
    assert decision.rule != "primary-is-ending"
    paused = table({"db.0": ENDING, "db.1": up()}, ("db.1",), spec={"paused": True})
    assert paused.rule == "paused"
