"""Why something was decided: every rule asked by itself, and what would have made it apply."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hamanager.decide.situation import Situation
from hamanager.decide.table import decide, rules_of
from hamanager.decide.why import Reasons, Standing, reasons
from hamanager.model.decision import Action
from hamanager.model.kept import Facts, packed, unpacked
from hamanager.model.primary_change import FailoverResult, Promotion
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Observation, Role, Snapshot
from hamanager.model.spec import Spec
from tests.unit.test_decide import (
    ACKNOWLEDGING,
    ELECTING,
    ENDPOINT,
    GONE,
    LINK_DOWN,
    LONG_SILENT,
    NOW,
    PROMOTED,
    SILENT,
    failed,
    instance,
    up,
)

SEEN: dict[str, dict[str, Observation]] = {
    "well": {"db.0": up(Role.PRIMARY), "db.1": up()},
    "dead": {"db.0": GONE, "db.1": LINK_DOWN},
    "suspect": {"db.0": SILENT, "db.1": LINK_DOWN},
    "silent": {"db.0": LONG_SILENT, "db.1": LINK_DOWN},
    "cut off": {"db.0": LONG_SILENT, "db.1": up()},
    "standby gone": {"db.0": up(Role.PRIMARY), "db.1": GONE},
    "two primaries": {"db.0": up(Role.PRIMARY), "db.1": up(Role.PRIMARY)},
    "all gone": {"db.0": GONE, "db.1": GONE},
}
SPEC = Spec(name="db", engine="e", instances=2, image="i", created_at=0)
RECORD = ServiceRecord(
    term=3,
    primary="db.0",
    initialized=True,
    endpoint=ENDPOINT,
    instances=(instance("db.0"), instance("db.1")),
)
SYNCED = RECORD.model_validate({**dict(RECORD), "sync_set": ("db.1",), "guarded": True})
RECENT = FailoverResult(at=NOW - 10, from_instance="db.1", to_instance="db.0", seconds=1, lost="")


def facts(
    seen: str, candidates: tuple[str, ...] = ("db.1",), record: ServiceRecord = RECORD
) -> Facts:
    return Facts(SPEC, record, Snapshot(NOW, SEEN[seen], candidates))


def situation(of: Facts, capabilities: object = PROMOTED) -> Situation:
    return Situation(of.spec, of.record, of.snapshot, capabilities)  # type: ignore[arg-type]


def would_if(found: Reasons, rule: str) -> tuple[str, ...]:
    (judgement,) = [one for one in found.judgements if one.rule == rule]
    return judgement.would_if


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("capabilities", [PROMOTED, ACKNOWLEDGING, ELECTING])
@pytest.mark.parametrize("candidates", [(), ("db.1",)])
def test_one_rule_decides_and_it_is_the_tables(
    seen: str, capabilities: object, candidates: tuple[str, ...]
) -> None:
    s = situation(facts(seen, candidates, SYNCED), capabilities)
    found = reasons(s)
    decided = [one.rule for one in found.judgements if one.standing is Standing.DECIDED]
    wanted = decide(s.spec, s.record, s.snapshot, s.capabilities)
    assert decided == [wanted.rule]
    assert [one.rule for one in found.judgements] == [r.name for r in rules_of(s.capabilities)]
    before = [one.standing for one in found.judgements][: len(found.judgements)]
    assert Standing.OVERRULED not in before[: before.index(Standing.DECIDED)]
    assert Standing.NO not in before[before.index(Standing.DECIDED) :]


def test_what_would_have_made_it_fail_over() -> None:
    ways = would_if(reasons(situation(facts("well"))), "primary-dead")
    assert ways == (
        "db.0's process had ended",
        "nobody had heard of db.0 for 3 s",
    )


def test_what_would_have_spared_the_wait() -> None:
    found = reasons(situation(facts("suspect")))
    assert found.decision.rule == "primary-suspect"
    assert "db.0's process had ended" in would_if(found, "primary-dead")
    assert "fail over to db.1 if db.0's process had ended or" in found.instead_if[0]


def test_a_recent_failover_holds_up_another_one() -> None:
    record = RECORD.model_validate({**dict(RECORD), "last_failover": RECENT})
    found = reasons(situation(facts("silent", record=record)))
    assert found.decision.rule == "flapping"
    (late,) = [one for one in found.judgements if one.rule == "primary-dead"]
    assert late.standing is Standing.OVERRULED
    assert late.reason.startswith("fail over to db.1")
    assert any("the last failover had been longer ago" in way for way in found.instead_if)


def test_a_standby_that_lacks_writes_is_why_nobody_leads() -> None:
    unsafe = Snapshot(NOW, SEEN["dead"], (), ("db.1",), {"db.1": "3 transactions"})
    found = reasons(situation(Facts(SPEC, SYNCED, unsafe), ACKNOWLEDGING))
    assert found.decision.action in (Action.WAIT, Action.START_INSTANCE)
    assert would_if(found, "primary-dead") == (
        "db.1 had been known to hold every acknowledged write",
    )


def test_what_backs_off_decides_and_is_not_done() -> None:
    pause = failed("primary-dead", Action.FAIL_OVER, "db.1")
    found = reasons(situation(facts("dead")), (pause,))
    (held,) = [one for one in found.judgements if one.standing is Standing.HELD_UP]
    assert held.rule == "primary-dead"
    assert "it is broken" in held.reason


def test_a_rule_that_cannot_be_asked_by_itself_does_not_apply() -> None:
    """Before there is a primary the later rules have nothing to stand on."""
    empty = Facts(SPEC, ServiceRecord(), Snapshot(NOW, {}))
    found = reasons(situation(empty))
    assert found.judgements[0].rule == "destroy"
    assert found.evidence == ""


# --- What is kept -------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", SEEN)
def test_what_is_kept_comes_back_as_it_was(seen: str) -> None:
    promoting = RECORD.model_validate({**dict(RECORD), "under_way": Promotion(to="db.1")})
    pause = failed("primary-dead", Action.FAIL_OVER, "db.1")
    kept = replace(facts(seen, record=promoting), backing_off=(pause,))
    again = unpacked(packed(kept))
    assert again == kept
    assert len(packed(kept)) < 2_000


def test_what_is_drawn_is_not_kept() -> None:
    long_ago = {"db.1": up(lag_history=(0.1,) * 60), "db.0": up(Role.PRIMARY)}
    again = unpacked(packed(Facts(SPEC, RECORD, Snapshot(NOW, long_ago))))
    assert again is not None
    assert again.snapshot.observations["db.1"].lag_history == ()


def test_what_is_no_such_thing_is_nothing() -> None:
    assert unpacked("") is None
    assert unpacked("nonsense") is None
    assert unpacked(packed(facts("well"))[:-9]) is None


def test_too_much_is_not_kept() -> None:
    names = [f"db.{number}" for number in range(2_000)]
    seen = {name: replace(up(), detail=str(hash(name) ** 3)) for name in names}
    assert packed(Facts(SPEC, RECORD, Snapshot(NOW, seen))) == ""
