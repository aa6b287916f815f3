"""Hosts and links fail in any order, and managers die: never do two take writes.

Set HAMANAGER_SEEDS to look at more histories than the suite does.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.simulation.modes import LOSSLESS, on_hosts
from tests.simulation.simulation import Simulation

SEEDS = int(os.environ.get("HAMANAGER_SEEDS", "12"))
STEPS = 60
MODES_ON_HOSTS = ("asynchronous, strict", *LOSSLESS)
SECONDS = (0.5, 0.5, 1.0, 1.0, 2.0)


def happen(simulation: Simulation, chance: random.Random) -> None:
    """One thing, mostly that time goes by."""
    record = simulation.record
    host = chance.choice(simulation.world.hosts)
    name = chance.choice(record.instances).name
    what = chance.choice(
        [
            *["pass"] * 40,
            *["host is out of sight", "host is cut off", "host is back"],
            *["stall link", "mend link"],
            *["manager dies", "pass and die", "manager returns", "manager returns"],
        ]
    )
    if what == "pass":
        simulation.event("time", chance.choice(SECONDS))
        simulation.event("pass", 0)
        simulation.event("pass", 1)
        simulation.event("write", 0)
        simulation.event("replicate")
    elif what.startswith("host"):
        simulation.event(what, host)
    elif what == "pass and die":
        simulation.event(what, chance.randrange(12))
    elif what.startswith("manager"):
        simulation.event(what, chance.randrange(2))
    else:
        simulation.event(what, name)


@pytest.mark.parametrize("mode", MODES_ON_HOSTS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_never_do_two_take_writes(mode: str, seed: int) -> None:
    chance = random.Random(f"{mode} {seed}")
    simulation = on_hosts(mode)
    simulation.spec(failover_period_seconds=0.0)
    # The primary and its links first: else hardly anything comes of it.
    primary = simulation.record.primary
    silent = chance.choice(["host is out of sight", "host is cut off"])
    placed = next(i.placed_on for i in simulation.record.instances if i.name == primary)
    simulation.event(silent, placed)
    for instance in simulation.record.instances:
        if instance.name != primary and chance.random() < 0.7:
            simulation.event("stall link", instance.name)
    for _ in range(STEPS):
        happen(simulation, chance)
    simulation.settle()
