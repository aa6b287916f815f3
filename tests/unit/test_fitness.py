"""What an instance is fit for, as load balancers ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hamanager.decide.fitness import Check, unfit
from hamanager.decide.situation import Situation
from hamanager.model.primary_change import Promotion
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Observation, Relation, Role, Snapshot
from tests.unit.test_decide import ACKNOWLEDGING, GONE, NOW, PROMOTED, up
from tests.unit.test_why import RECORD, SPEC, SYNCED

WELL = {"db.0": up(Role.PRIMARY), "db.1": replace(up(), lag_seconds=2.0)}


def asked(
    name: str,
    check: Check,
    lag: float | None = None,
    *,
    seen: dict[str, Observation] | None = None,
    record: ServiceRecord = RECORD,
) -> str:
    capabilities = ACKNOWLEDGING if record.sync_set else PROMOTED
    situation = Situation(SPEC, record, Snapshot(NOW, seen or WELL), capabilities)
    return unfit(situation, name, check, lag)


@pytest.mark.parametrize(
    ("name", "check", "lag", "why"),
    [
        ("db.0", Check.PRIMARY, None, ""),
        ("db.0", Check.READ_WRITE, None, ""),
        ("db.0", Check.READ_ONLY, None, ""),
        ("db.0", Check.HEALTH, None, ""),
        ("db.0", Check.REPLICA, None, "db.0 is the primary"),
        ("db.0", Check.SYNC, None, "db.0 is not in the sync set"),
        ("db.1", Check.PRIMARY, None, "db.0 is the primary"),
        ("db.1", Check.REPLICA, None, ""),
        ("db.1", Check.REPLICA, 3.0, ""),
        ("db.1", Check.REPLICA, 1.0, "db.1 is 2.0 s behind"),
        ("db.1", Check.READ_ONLY, 1.0, "db.1 is 2.0 s behind"),
        ("db.1", Check.READ_ONLY, None, ""),
        ("db.7", Check.HEALTH, None, "there is no instance 'db.7'"),
    ],
)
def test_when_all_is_well(name: str, check: Check, lag: float | None, why: str) -> None:
    assert asked(name, check, lag) == why


def test_a_member_of_the_sync_set_is_synchronous() -> None:
    assert asked("db.1", Check.SYNC, record=SYNCED) == ""


def test_nobody_is_primary_while_that_is_about_to_change() -> None:
    begun = RECORD.model_validate({**dict(RECORD), "under_way": Promotion(to="db.1")})
    assert asked("db.0", Check.PRIMARY, record=begun) == "the primary is about to change"
    assert asked("db.1", Check.PRIMARY, record=begun) == "the primary is about to change"


@pytest.mark.parametrize("check", list(Check))
def test_one_that_has_ended_is_fit_for_nothing(check: Check) -> None:
    assert asked("db.0", check, seen={**WELL, "db.0": GONE}) == "db.0 does not answer"


def test_a_former_primary_that_woke_up_gets_no_writes() -> None:
    both = {"db.0": up(Role.PRIMARY), "db.1": up(Role.PRIMARY)}
    assert asked("db.1", Check.PRIMARY, seen=both) == "db.0 is the primary"


def test_the_primary_on_record_that_refuses_writes_gets_none() -> None:
    seen = {**WELL, "db.0": up(relation=Relation.UNKNOWN)}
    assert asked("db.0", Check.PRIMARY, seen=seen) == "db.0 takes no writes"


def test_one_that_does_not_follow_or_whose_lag_nobody_knows_is_no_replica() -> None:
    lost = {**WELL, "db.1": up(relation=Relation.DETACHED)}
    assert asked("db.1", Check.REPLICA, seen=lost) == "db.1 does not follow the primary"
    unknown = {**WELL, "db.1": replace(up(), lag_seconds=None)}
    assert asked("db.1", Check.REPLICA, 5.0, seen=unknown) == "nobody knows how far db.1 is behind"
