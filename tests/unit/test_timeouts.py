"""The time-outs fit together, and one that does not is told when the program starts."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hamanager.daemon import timeouts
from hamanager.daemon.serve import serve
from hamanager.daemon.timeouts import Timeouts, present, problems
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager_drivers.redis import connections, handover

PRESENT = present(load_drivers())
TOO_LONG = {
    "beat": "a sign of life",
    "session_valid": "the time for which a manager counts its session as valid",
    "session_dead": "until a manager is found dead",
    "session_look": "a look at the others",
    "late": "",
    "longest_call": "",
    "answering": "",
    "takeover": "",
    "runtime_answer": "the runtime's answer in an observation",
    "runtime_call": "the longest call of the runtime",
    "endpoint_answer": "the proxy's answer",
    "store_busy": "an observation and a busy store",
    "tick": "an observation and a tick",
    "observation": "an observation and a tick",
    "hung_answer": "the wait for one that hung",
    "longest_gap": "",
    "shortest_down_after": "the shortest `down_after`",
    "down_after": "`down_after`, an observation and a tick",
    "urgent_pause": "the longest urgent pause",
    "patience": "the longest patience",
    "hurry": "the time in which a planned change begins",
    "held": "",
    "stop": "the time to stop",
    "stop_again": "the time until it is asked again",
}
"""What is told of each when it is made a day."""
TOO_SHORT = (
    *("session_valid", "session_dead", "answering", "takeover", "late", "longest_call"),
    *("clients_wait", "longest_gap", "order", "held", "restart_bound", "answer"),
)


def changed(name: str, seconds: float) -> Timeouts:
    one: dict[str, Any] = {name: seconds}
    return replace(PRESENT, **one)


def test_they_fit_together() -> None:
    assert problems(PRESENT) == []


@pytest.mark.parametrize("name", TOO_LONG)
def test_one_that_is_too_long_is_told(name: str) -> None:
    told = problems(changed(name, 86400.0))
    assert bool(told) is bool(TOO_LONG[name])
    assert not told or any(sentence.startswith(f"{TOO_LONG[name]} (864") for sentence in told)


@pytest.mark.parametrize("name", TOO_SHORT)
def test_one_that_is_too_short_is_told(name: str) -> None:
    assert problems(changed(name, 0.0))


def test_each_is_in_a_relation() -> None:
    drivers = {"probes", "calls"}
    assert {field.name for field in fields(Timeouts)} == {*TOO_LONG, *TOO_SHORT, *drivers}


@pytest.mark.parametrize("engine", load_drivers())
def test_a_driver_that_takes_too_long_is_named(engine: str) -> None:
    (told,) = problems(replace(PRESENT, calls={engine: 40.0}))
    assert told == (
        f"the longest call of the {engine} driver (40 s) has to be shorter than a call (40 s), as"
        " nothing else is done about the service meanwhile"
    )
    assert len(problems(replace(PRESENT, probes={engine: 2.6}))) == 2


def test_redis_writes_do_not_go_on_in_the_middle_of_a_hand_over() -> None:
    longest = handover.HAND_OVER_SECONDS + 4 * connections.TIMEOUT_SECONDS
    assert longest < handover.PAUSE_SECONDS


def test_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(PRESENT, session_dead=1.0)
    monkeypatch.setattr(timeouts, "present", lambda drivers: wrong)
    with pytest.raises(HamanagerError, match=r"contradict each other: .*; nothing was started"):
        serve(tmp_path)
    assert list(tmp_path.iterdir()) == []
