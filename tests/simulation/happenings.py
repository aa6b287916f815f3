"""What can happen in a simulated history: one table for all that make histories up.

A kind stands here with all the arguments it may have, the simplest first. `Simulation` carries them
out.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamanager.values.durability import Durability

Event = tuple[str, object]

EFFECTS = tuple(range(17))
"""Of a pass: before which of them something goes wrong."""
AMID = "pass amid"
"""Its argument is the number of an effect and what happens before that one: a kind, an argument."""
AMID_EFFECTS = tuple(range(13))


@dataclass(frozen=True)
class Kind:
    """One kind of event."""

    name: str
    arguments: tuple[object, ...]
    fault: bool = True
    """Something goes wrong, or somebody asks for something; daily life otherwise."""


def happenings(instances: int = 3) -> tuple[Kind, ...]:
    """What may happen to a service of up to so many instances at any time, also amid a pass."""
    names = tuple(f"db.{number}" for number in range(instances))
    numbers = tuple(range(instances))
    no_yes, yes_no = (False, True), (True, False)
    of_a_server = (
        *(
            "kill",
            "terminate",
            "lose power",
            "stall link",
            "break",
            "hang",
            "start by somebody else",
            "cut off",
            "cut link",
        ),
        *("write on standby", "switchover", "restart"),
    )
    ends_of_faults = ("repair", "wake", "reach again", "mend link")
    return (
        *(Kind(name, names) for name in of_a_server),
        *(Kind(name, names, fault=False) for name in (*ends_of_faults, "receive")),
        Kind("write", numbers, fault=False),
        Kind("elect", numbers),
        Kind("replicate", (0,), fault=False),
        *(Kind(name, yes_no) for name in ("runtime down", "store down", "store full")),
        Kind("pause", no_yes),
        Kind("scale", tuple(range(1, instances + 1))),
        Kind("memory", (1, 2)),
        Kind("durability", (Durability.AVAILABILITY, Durability.STRICT)),
        Kind("time", (0.5, 2.0, 4.0, 120.0), fault=False),
        Kind("clock jump", (-3600.0, -30.0, 30.0, 3600.0)),
    )


PASSES = (
    Kind("pass", (0, 1), fault=False),
    Kind("pass and die", EFFECTS),
    Kind("pass with a lost answer", EFFECTS),
    Kind("pass and be suspended", EFFECTS),
    Kind("new manager", (0,)),
)
"""What managers do, beside `AMID`."""
