"""A manager that acts without cause is found out, whatever comes of it."""

from __future__ import annotations

import pytest

from tests.simulation.happenings import Event
from tests.simulation.histories import History, failure_of
from tests.simulation.search import without_its_rule

CASES: list[tuple[str, str, list[Event]]] = [
    (
        "a standby that still replicates is no veto",
        "a standby replicates from",
        [("cut off", "db.0"), ("live", 5)],
    ),
    ("silence is proof at once", "has not been silent", [("hang", "db.0"), ("live", 2)]),
    (
        "a suspended manager counts silence",
        "has not been silent",
        [
            *(("live", 3), ("hang", "db.0"), ("pass", 0), ("wake", "db.0"), ("time", 120.0)),
            *(("hang", "db.0"), ("pass", 0)),
        ],
    ),
    (
        "the role flaps",
        "is not proven dead",
        [*(("hang", "db.0"), ("live", 20), ("hang", "db.1"), ("live", 8))],
    ),
    (
        "a planned restart is a failure",
        "is being restarted as planned",
        [("restart", "db.0"), ("live", 3)],
    ),
    (
        "a blind manager acts",
        "sees nothing at all",
        [
            *(("runtime down", True), ("cut off", "db.0"), ("cut off", "db.1")),
            *(("cut off", "db.2"), ("switchover", "db.1"), ("live", 2)),
        ],
    ),
    (
        "a second primary is left alone",
        "which comes first",
        [
            *(("runtime down", True), ("hang", "db.0"), ("live", 6), ("runtime down", False)),
            *(("wake", "db.0"), ("kill", "db.2"), ("live", 1)),
        ],
    ),
]


@pytest.mark.parametrize(("mutant", "why", "events"), CASES, ids=[case[0] for case in CASES])
def test_without_its_rule_it_acts_without_cause(mutant: str, why: str, events: list[Event]) -> None:
    history = History("lossless, availability", 3, tuple(events))
    assert failure_of(history) is None
    with without_its_rule(mutant):
        failure = failure_of(history)
    assert failure is not None
    assert why in failure.text
