"""The modes a service can run in, and which of them a test is about."""

from __future__ import annotations

import pytest

from hamanager.model.durability import Durability
from tests.simulation.servers import Engine
from tests.simulation.simulation import Simulation

MODES = {
    "lossless, availability": (Engine.ACKNOWLEDGING, Durability.AVAILABILITY),
    "lossless, strict": (Engine.ACKNOWLEDGING, Durability.STRICT),
    "asynchronous, availability": (Engine.ASYNCHRONOUS, Durability.AVAILABILITY),
    "asynchronous, strict": (Engine.ASYNCHRONOUS, Durability.STRICT),
    "electing": (Engine.ELECTING, Durability.MAJORITY),
}
LOSSLESS = [mode for mode in MODES if mode.startswith("lossless")]
ASYNCHRONOUS = [mode for mode in MODES if mode.startswith("asynchronous")]
PROMOTED = LOSSLESS + ASYNCHRONOUS
"""Those in which the manager promotes."""
AVAILABILITY = [mode for mode in MODES if mode.endswith("availability")]
STRICT = [mode for mode in MODES if mode.endswith("strict")]

in_all_modes = pytest.mark.parametrize("mode", MODES)
lossless = pytest.mark.parametrize("mode", LOSSLESS)
asynchronous = pytest.mark.parametrize("mode", ASYNCHRONOUS)
promoted = pytest.mark.parametrize("mode", PROMOTED)
availability = pytest.mark.parametrize("mode", AVAILABILITY)
strict = pytest.mark.parametrize("mode", STRICT)


def running(mode: str, instances: int | None = None, busy: int = 0) -> Simulation:
    """A healthy service with some writes: of three instances where they elect, else of two."""
    elects = mode == "electing"
    simulation = Simulation(*MODES[mode], instances or (3 if elects else 2), busy)
    simulation.settle()
    for _ in range(3):
        assert simulation.writes()
    simulation.event("replicate")
    return simulation


def on_hosts(mode: str, hosts: int = 4, instances: int = 3) -> Simulation:
    """A healthy service with some writes, each instance on a host of its own."""
    simulation = Simulation(*MODES[mode], instances, hosts=hosts)
    simulation.settle()
    for _ in range(3):
        assert simulation.writes()
    simulation.event("replicate")
    simulation.live(2)
    placed = {instance.placed_on for instance in simulation.record.instances}
    assert len(placed) == min(hosts, instances)
    return simulation


def host_of(simulation: Simulation, name: str | None) -> str:
    instance = simulation.record.instance(name)
    assert instance is not None
    return instance.placed_on


def primary_host(simulation: Simulation) -> str:
    return host_of(simulation, simulation.record.primary)


def a_standby(simulation: Simulation) -> str:
    record = simulation.record
    return next(i.name for i in record.instances if i.name != record.primary)
