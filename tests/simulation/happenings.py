"""What can happen in a simulated history: one table for all that make histories up.

A kind stands here with all the arguments it may have, the simplest first. `Simulation` carries them
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from hamanager.model.durability import Durability
from tests.simulation.runtime import CALLS

Event = tuple[str, object]

RUNTIME_CALLS = (frozenset(), *(frozenset(some) for some in combinations(CALLS, 2)))
"""Those that hang or fail while the others work."""
EFFECTS = tuple(range(17))
"""Of a pass: before which of them something goes wrong."""
QUESTIONS = tuple(range(40))
"""Likewise: to the store, and before each effect."""
STATEMENTS = tuple(range(24))
"""Likewise: in the middle of a driver's call, before each of its statements."""
AMID = "pass amid"
"""Its argument is the number of an effect and what happens before that one: a kind, an argument."""
AMID_EFFECTS = tuple(range(17))


@dataclass(frozen=True)
class Kind:
    """One kind of event."""

    name: str
    arguments: tuple[object, ...]
    fault: bool = True
    """Something goes wrong, or somebody asks for something; daily life otherwise."""
    end: str = ""
    """The kind that undoes it, with the same argument; where it is this kind itself, with False."""


def happenings(instances: int = 3) -> tuple[Kind, ...]:
    """What may happen to a service of up to so many instances at any time, also amid a pass."""
    names = tuple(f"db.{number}" for number in range(instances))
    numbers = tuple(range(instances))
    return (
        Kind("kill", names, end="start by somebody else"),
        Kind("start by somebody else", names),
        Kind("terminate", names, end="start by somebody else"),
        Kind("terminate unseen", names, end="start by somebody else"),
        Kind("end what is held", names),
        Kind("lose power", names, end="start by somebody else"),
        Kind("stall link", names, end="mend link"),
        Kind("break", names, end="repair"),
        Kind("repair", names, fault=False),
        Kind("hang", names, end="wake"),
        Kind("wake", names, fault=False),
        Kind("cut off", names, end="reach again"),
        Kind("reach again", names, fault=False),
        Kind("cut link", names, end="mend link"),
        Kind("mend link", names, fault=False),
        Kind("lose a copy", names),
        Kind("write on standby", names),
        Kind("write", numbers, fault=False),
        Kind("receive", names, fault=False),
        Kind("replicate", (0,), fault=False),
        Kind("elect", numbers),
        Kind("runtime down", (True, False), end="runtime down"),
        Kind("runtime out", RUNTIME_CALLS),
        Kind("names lost", (True, False), end="names lost"),
        Kind("manager sleeps", (0, 1), end="manager wakes"),
        Kind("manager wakes", (0, 1), fault=False),
        Kind("manager loses the store", (0, 1), end="manager finds the store"),
        Kind("manager finds the store", (0, 1), fault=False),
        Kind("leads again", (True, False), fault=False),
        Kind("store down", (True, False), end="store down"),
        Kind("store full", (True, False), end="store full"),
        Kind("pause", (False, True), end="pause"),
        Kind("switchover", names),
        Kind("restart", names),
        Kind("scale", tuple(range(1, instances + 1))),
        Kind("memory", (1, 2)),
        Kind("upgrade", (2, 1, 3)),
        Kind("bad image", (2, 3), end="mend image"),
        Kind("mend image", (2, 3), fault=False),
        Kind("durability", (Durability.AVAILABILITY, Durability.STRICT)),
        Kind("time", (0.5, 2.0, 4.0, 31.0, 70.0, 120.0), fault=False),
        Kind("hear elsewhere", (0, 1, 2, 5), fault=False),
        Kind("clock jump", (-3600.0, -30.0, 30.0, 3600.0)),
    )


PASSES = (
    Kind("pass", (0, 1), fault=False),
    Kind("live", (1, 2, 4, 8), fault=False),
    Kind("pass and die", EFFECTS),
    Kind("pass with a lost answer", EFFECTS),
    Kind("pass and be suspended", QUESTIONS),
    Kind("pass and be suspended in a call", STATEMENTS),
    Kind("new manager", (0,)),
    Kind("manager dies", (0, 1), end="manager returns"),
    Kind("manager returns", (0, 1), fault=False),
)
"""What managers do, beside `AMID`; to live is to do so while time goes by and clients write."""
