"""When an elected member need not catch up with anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Timestamp

from hamanager_drivers.mongodb.election import nobody_is_ahead

ELECTED = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE, AFTER = ELECTED - timedelta(seconds=3), ELECTED + timedelta(milliseconds=5)


def member(heard: datetime | None, *, health: float = 1.0, at: int = 100) -> dict[str, Any]:
    told: dict[str, Any] = {"health": health, "optime": {"ts": Timestamp(at, 1), "t": 1}}
    return told if heard is None else {**told, "lastHeartbeat": heard}


def status(*others: dict[str, Any], elected: datetime | None = ELECTED) -> dict[str, Any]:
    metrics = {} if elected is None else {"lastElectionDate": elected}
    return {
        "members": [{**member(None), "self": True}, *others],
        "electionCandidateMetrics": metrics,
    }


@pytest.mark.parametrize(
    ("others", "nobody"),
    [
        ([member(AFTER), member(BEFORE, health=0.0)], True),
        ([member(AFTER, at=99), member(BEFORE, health=0.0, at=500)], True),
        # Somebody has more, or has not said yet what he has.
        ([member(AFTER, at=101), member(BEFORE, health=0.0)], False),
        ([member(BEFORE), member(BEFORE, health=0.0)], False),
        ([member(ELECTED), member(BEFORE, health=0.0)], False),
        # With nobody down the server knows it by itself.
        ([member(AFTER), member(AFTER)], False),
        # One that was down and answers again.
        ([member(AFTER), member(AFTER, health=0.0, at=101)], False),
        # Never heard of at all.
        ([member(AFTER), member(None, health=0.0)], True),
    ],
)
def test_it_has_what_everybody_has_who_is_not_down(
    others: list[dict[str, Any]], nobody: bool
) -> None:
    assert nobody_is_ahead(status(*others)) is nobody


def test_nothing_is_known_before_it_was_elected() -> None:
    others = [member(AFTER), member(BEFORE, health=0.0)]
    assert not nobody_is_ahead(status(*others, elected=None))


def test_a_term_comes_before_a_time() -> None:
    old = member(AFTER, at=900) | {"optime": {"ts": Timestamp(900, 1), "t": 0}}
    assert nobody_is_ahead(status(old, member(BEFORE, health=0.0)))
