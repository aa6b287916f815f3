"""The real loop, rules and playbooks against an in-memory world that breaks in every way."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.happenings import AMID, AMID_EFFECTS, PASSES, Event, Kind, happenings
from tests.simulation.modes import MODES
from tests.simulation.simulation import Simulation


def _any_of(kinds: Iterable[Kind]) -> st.SearchStrategy[Event]:
    return st.one_of(
        [st.tuples(st.just(kind.name), st.sampled_from(kind.arguments)) for kind in kinds]
    )


HAPPENINGS = _any_of(happenings())
AMIDST = st.builds(lambda n, h: (AMID, (n, *h)), st.sampled_from(AMID_EFFECTS), HAPPENINGS)
EVENTS = _any_of(PASSES) | AMIDST | HAPPENINGS
STORIES = st.integers(0, 60).flatmap(lambda n: st.lists(EVENTS, min_size=n, max_size=n))
"""Of any length: by itself Hypothesis prefers lists of five or so."""


@settings(
    max_examples=int(os.environ.get("SIMULATIONS", "150")),
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
