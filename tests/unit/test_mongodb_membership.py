"""The set's configuration, change by change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamanager.model.service import Target
from hamanager_drivers.mongodb.membership import (
    Config,
    Standing,
    config_without_member,
    config_without_vote,
    first_config,
    is_voter,
    next_config,
    voters,
)


def target(serial: int, port: int | None = None) -> Target:
    return Target(f"db.{serial}", "10.0.0.1", port or 1000 + serial, serial)


def member(config: Config, serial: int) -> dict[str, Any]:
    found: dict[str, Any] = next(m for m in config["members"] if m["_id"] == serial)
    return found


def test_a_member_enters_without_a_vote_and_gets_it_when_ready() -> None:
    config = first_config("db", target(0))
    entered = next_config(config, target(1), Standing.FOLLOWING)
    assert entered is not None
    assert member(entered, 1) == {"_id": 1, "host": "10.0.0.1:1001", "votes": 0, "priority": 0}
    assert entered["version"] == config["version"] + 1
    assert next_config(entered, target(1), Standing.FOLLOWING) is None
    assert next_config(entered, target(1), Standing.EMPTY) is None

    voting = next_config(entered, target(1), Standing.READY)
    assert voting is not None
    assert voters(voting) == ["10.0.0.1:1000", "10.0.0.1:1001"]
    assert next_config(voting, target(1), Standing.READY) is None


def test_one_that_lost_its_data_loses_its_vote() -> None:
    config = grown(3)
    changed = next_config(config, target(2), Standing.EMPTY)
    assert changed is not None
    assert not is_voter(member(changed, 2))
    assert next_config(changed, target(2), Standing.EMPTY) is None


def test_the_given_configuration_is_left_alone() -> None:
    config = grown(3)
    before = repr(config)
    next_config(config, target(7), Standing.FOLLOWING)
    config_without_vote(config, target(2))
    config_without_member(config, target(2))
    assert repr(config) == before


def test_an_instance_that_moved_keeps_its_number() -> None:
    entered = next_config(first_config("db", target(0)), target(1), Standing.FOLLOWING)
    assert entered is not None
    moved = next_config(entered, target(1, port=2001), Standing.FOLLOWING)
    assert moved is not None
    assert member(moved, 1)["host"] == "10.0.0.1:2001"
    assert len(moved["members"]) == 2


def test_leaving_takes_two_changes_and_can_be_repeated() -> None:
    config = grown(3)
    without_vote = config_without_vote(config, target(2))
    assert without_vote is not None
    assert config_without_vote(without_vote, target(2)) is None
    gone = config_without_member(without_vote, target(2))
    assert gone is not None
    assert [m["_id"] for m in gone["members"]] == [0, 1]
    assert config_without_vote(gone, target(2)) is None
    assert config_without_member(gone, target(2)) is None


@pytest.mark.parametrize(("serial", "number"), [(255, 255), (256, 2), (999, 2)])
def test_numbers_beyond_the_engines_limit_are_replaced(serial: int, number: int) -> None:
    changed = next_config(grown(2), target(serial), Standing.FOLLOWING)
    assert changed is not None
    assert changed["members"][-1]["_id"] == number


@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from([*Standing, config_without_vote, config_without_member]),
        ),
        max_size=40,
    )
)
def test_majorities_of_successive_configurations_overlap(steps: list[tuple[int, Any]]) -> None:
    """Whatever the order of changes: at most one vote differs, and numbers and addresses are
    unique."""
    config = first_config("db", target(0))
    for serial, step in steps:
        changed = (
            next_config(config, target(serial), step)
            if isinstance(step, Standing)
            else step(config, target(serial))
        )
        if changed is None:
            continue
        assert len(set(voters(config)) ^ set(voters(changed))) <= 1
        for key in ("_id", "host"):
            values = [m[key] for m in changed["members"]]
            assert len(values) == len(set(values))
        assert changed["version"] == config["version"] + 1
        config = changed
    assert "10.0.0.1:1000" in voters(config)


def grown(size: int) -> Config:
    config = first_config("db", target(0))
    for serial in range(1, size):
        for standing in (Standing.FOLLOWING, Standing.READY):
            changed = next_config(config, target(serial), standing)
            assert changed is not None
            config = changed
    return config
