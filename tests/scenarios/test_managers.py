"""Two managers on one store: the one that leads ends, or hangs, when it is needed most."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.decide.leading import preferred
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario

LEADS_SECONDS = 30.0
"""Until another manager leads; it takes about 5 s, and 10 s more until it gets a service back."""


@pytest.fixture
def managers() -> Iterator[tuple[Sandbox, Sandbox]]:
    """The one that should lead `db`, and another one."""
    names = ("one", "two")
    first = preferred("db", names) or ""
    (second,) = {*names} - {first}
    with ExitStack() as running:
        one = running.enter_context(Sandbox(name=first))
        yield one, running.enter_context(Sandbox(name=second, beside=one))


def leader(asked: Sandbox) -> str:
    """Who leads `db`, as that manager knows it."""
    found: list[Any] = asked.ask("managers") or []
    return " ".join(m["name"] for m in found if m["alive"] and "db" in m["leads"])


def wait_for_leader(asked: Sandbox, name: str) -> float:
    """Until that one leads; how long it took."""
    began = time.monotonic()
    wait_for(f"{name} to lead", LEADS_SECONDS, lambda: leader(asked) == name)
    return time.monotonic() - began


def failovers(run: Scenario) -> int:
    """How many have been decided."""
    entries: list[Any] = run.sandbox.ask("history", "db") or []
    return sum(e["playbook"] == "fail over" and e["kind"] == "decision" for e in entries)


def the_leader_hangs_and_wakes_up(one: Sandbox, two: Sandbox, engine: str) -> None:
    with Scenario(two, engine, "leading manager suspended while the primary dies") as run:
        first = leader(two)
        assert first, "nobody leads it"
        old, term = run.primary, run.info()["term"]
        one.suspend_daemon()
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        assert leader(two) != first
        run.result.note = f"led by another after {time.monotonic() - run.faulted_at:.1f} s"
        one.continue_daemon()
        wait_for("it to say who leads", 20, lambda: one.ask("info", "db")["led_by"] != "")
        run.wait_whole()
        assert run.info()["term"] == term + 1
        assert failovers(run) == 1
        wait_for_leader(two, first)
        assert one.ask("info", "db")["led_by"] == ""
        assert two.ask("info", "db")["led_by"] == first
        assert failovers(run) == 1


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_the_leading_manager_is_killed_with_the_primary(
    managers: tuple[Sandbox, Sandbox], engine: str
) -> None:
    one, two = managers
    with Scenario(two, engine, "leading manager and primary killed at once") as run:
        first, old, term = leader(two), run.primary, run.info()["term"]
        assert first, "nobody leads it"
        one.kill_daemon()
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        assert leader(two) != first
        run.result.note = f"led by another after {time.monotonic() - run.faulted_at:.1f} s"
        run.wait_whole()
        assert run.info()["term"] == term + 1
        assert failovers(run) == 1
        one.start_daemon()
        wait_for_leader(two, first)


def test_the_leading_manager_hangs_when_the_primary_dies_and_wakes_up_later(
    managers: tuple[Sandbox, Sandbox],
) -> None:
    """The right one acts, once."""
    the_leader_hangs_and_wakes_up(*managers, "mysql")


@pytest.mark.long
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "mysql"])
def test_the_leading_manager_hangs_elsewhere_too(
    managers: tuple[Sandbox, Sandbox], engine: str
) -> None:
    the_leader_hangs_and_wakes_up(*managers, engine)
