"""The real loop, rules and playbooks against an in-memory world that breaks in every way."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamanager.values.durability import Durability
from tests.simulation.modes import MODES
from tests.simulation.runtime import CALLS
from tests.simulation.simulation import Simulation

NAMES = st.sampled_from(["db.0", "db.1", "db.2"])
HAPPENINGS = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                *("kill", "terminate", "lose power", "stall link"),
                *("break", "repair", "hang", "wake", "start by somebody else"),
                *("cut off", "reach again", "cut link", "mend link", "receive"),
                "write on standby",
            ]
        ),
        NAMES,
    ),
    st.tuples(st.sampled_from(["write", "elect"]), st.integers(0, 2)),
    st.tuples(st.just("replicate"), st.just(0)),
    st.tuples(
        st.sampled_from(["runtime down", "names lost", "store down", "store full", "pause"]),
        st.booleans(),
    ),
    st.tuples(st.just("runtime out"), st.frozensets(st.sampled_from(CALLS), max_size=3)),
    st.tuples(st.sampled_from(["switchover", "restart"]), NAMES),
    st.tuples(st.just("scale"), st.sampled_from([1, 2, 3])),
    st.tuples(st.just("memory"), st.sampled_from([1, 2])),
    st.tuples(st.just("durability"), st.sampled_from([Durability.AVAILABILITY, Durability.STRICT])),
    st.tuples(st.just("time"), st.sampled_from([0.5, 2.0, 4.0, 120.0])),
    st.tuples(st.just("clock jump"), st.sampled_from([-3600.0, -30.0, 30.0, 3600.0])),
)
PASSES = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0, 1])),
    st.tuples(st.just("pass and die"), st.integers(0, 16)),
    st.tuples(st.just("pass with a lost answer"), st.integers(0, 16)),
    st.tuples(st.just("pass and be suspended"), st.integers(0, 16)),
    st.tuples(
        st.just("pass amid"), st.builds(lambda n, h: (n, *h), st.integers(0, 12), HAPPENINGS)
    ),
    st.tuples(st.just("new manager"), st.just(0)),
)
EVENTS = PASSES | HAPPENINGS
STORIES = st.integers(0, 60).flatmap(lambda n: st.lists(EVENTS, min_size=n, max_size=n))
"""Of any length: by itself Hypothesis prefers lists of five or so."""


@settings(
    max_examples=int(os.environ.get("SIMULATIONS", "250")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    events=STORIES,
    instances=st.sampled_from([2, 3]),
    busy=st.integers(0, 255),
)
@pytest.mark.parametrize("mode", MODES)
def test_whatever_breaks_nothing_is_lost_and_it_heals(
    mode: str, events: list[tuple[str, object]], instances: int, busy: int
) -> None:
    simulation = Simulation(*MODES[mode], instances)
    simulation.settle()
    simulation.event("write", 0)
    simulation.busy = busy
    simulation.events(*events)
    simulation.settle()
