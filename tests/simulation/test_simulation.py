"""The real loop, rules and playbooks against an in-memory world that breaks in every way."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamanager.values.durability import Durability
from tests.simulation.simulation import Simulation
from tests.simulation.world import Engine

MODES = {
    "lossless, availability": (Engine.ACKNOWLEDGING, Durability.AVAILABILITY),
    "lossless, strict": (Engine.ACKNOWLEDGING, Durability.STRICT),
    "asynchronous, availability": (Engine.ASYNCHRONOUS, Durability.AVAILABILITY),
    "asynchronous, strict": (Engine.ASYNCHRONOUS, Durability.STRICT),
    "electing": (Engine.ELECTING, Durability.MAJORITY),
}
NAMES = st.sampled_from(["db.0", "db.1", "db.2"])
EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0, 1])),
    st.tuples(st.just("pass and die"), st.integers(0, 16)),
    st.tuples(st.just("pass and be suspended"), st.integers(0, 12)),
    st.tuples(st.just("new manager"), st.just(0)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 2.0, 4.0, 120.0, -30.0])),
    st.tuples(st.just("write"), st.integers(0, 2)),
    st.tuples(st.just("replicate"), st.just(0)),
    st.tuples(st.just("elect"), st.just(0)),
    st.tuples(
        st.sampled_from(
            ["kill", "hang", "wake", "start by somebody else", "cut off", "reach again"]
            + ["cut link", "mend link", "write on standby", "switchover", "restart"]
        ),
        NAMES,
    ),
    st.tuples(st.just("runtime down"), st.booleans()),
    st.tuples(st.just("scale"), st.sampled_from([1, 2, 3])),
    st.tuples(st.just("durability"), st.sampled_from([Durability.AVAILABILITY, Durability.STRICT])),
    st.tuples(st.just("pause"), st.booleans()),
)


@settings(
    max_examples=int(os.environ.get("SIMULATIONS", "300")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(events=st.lists(EVENTS, max_size=60), instances=st.sampled_from([2, 3]))
@pytest.mark.parametrize("mode", MODES)
def test_whatever_breaks_nothing_is_lost_and_it_heals(
    mode: str, events: list[tuple[str, object]], instances: int
) -> None:
    simulation = Simulation(*MODES[mode], instances)
    simulation.settle()
    simulation.event("write", 0)
    for kind, argument in events:
        simulation.event(kind, argument)
    simulation.settle()
