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
