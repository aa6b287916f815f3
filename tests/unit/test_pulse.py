"""Questions between two looks."""

from __future__ import annotations

from typing import cast

import pytest

from hamanager.daemon.pulse import QUESTIONS_PER_SECOND, Pulse
from hamanager.daemon.worker import Worker
from tests.simulation.power import InlineExecutor
from tests.simulation.world import World


class Asked:
    """A worker, its loop and its observer in one."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.woken = 0
        self.loop = self.observer = self

    def ask_primary(self) -> bool:
        return self.answers.pop(0)

    def wake(self) -> None:
        self.woken += 1


def test_only_silence_wakes_the_worker() -> None:
    clock = World().clock
    asked = Asked(True, False, True)
    workers = {"db": cast(Worker, asked)}
    pulse = Pulse(lambda: workers, InlineExecutor(), clock)
    seen = []
    for _ in range(3):
        pulse.beat()
        seen.append(asked.woken)
        clock.sleep(1)
    assert seen == [0, 1, 1]


def test_many_services_are_asked_less_often() -> None:
    clock = World().clock
    many = {f"db{n}": Asked(*[True] * 2) for n in range(QUESTIONS_PER_SECOND)}
    pulse = Pulse(
        lambda: {name: cast(Worker, asked) for name, asked in many.items()},
        InlineExecutor(),
        clock,
    )
    pulse.beat()
    clock.sleep(0.5)
    pulse.beat()
    assert {len(asked.answers) for asked in many.values()} == {1}
    clock.sleep(0.5)
    pulse.beat()
    assert {len(asked.answers) for asked in many.values()} == {0}


def test_nothing_is_asked_where_observations_come_as_often() -> None:
    many = {f"db{n}": Asked(True) for n in range(QUESTIONS_PER_SECOND + 1)}
    workers = {name: cast(Worker, asked) for name, asked in many.items()}
    Pulse(lambda: workers, InlineExecutor(), World().clock).beat()
    assert {len(asked.answers) for asked in many.values()} == {1}


@pytest.mark.parametrize("power", range(4, 30))
def test_a_primary_is_asked_however_long_the_machine_has_been_up(power: int) -> None:
    """`now - (now - pause)` is less than the pause in every second such range of hours."""
    clock = World().clock
    clock.sleep(2.0**power * 1.3)
    asked = Asked(True)
    Pulse(lambda: {"db": cast(Worker, asked)}, InlineExecutor(), clock).beat()
    assert asked.answers == []
