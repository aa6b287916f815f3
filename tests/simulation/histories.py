"""Histories: one is drawn from a seed, carried out on a simulation, and told as a test.

Drawn in bursts rather than evenly. Each history leaves out most kinds of events and prefers some of
the others (swarm testing: what masks a fault is often missing), returns to the same server, ends
some of its faults, and lets managers work in between.
"""

from __future__ import annotations

import logging
import pickle
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import islice

from tests.simulation.happenings import (
    AMID,
    AMID_EFFECTS,
    PASSES,
    Event,
    happenings,
)
from tests.simulation.modes import MODES
from tests.simulation.simulation import PASSES_MEANWHILE, Simulation

LONGEST = 200
OFTEN = dict.fromkeys(
    ("kill", "hang", "break", "cut off", "cut link", "runtime down", "restart", "write"), 4.0
)
"""What most of the others only vary."""
SELDOM = dict.fromkeys(
    ("repair", "wake", "reach again", "mend link", "mend image", "bad image", "memory", "receive"),
    0.3,
)
"""The ends of faults come by themselves."""
WEIGHTS = {**OFTEN, **SELDOM}


@dataclass(frozen=True)
class _Beginning:
    """A healthy service with one write, to be copied."""

    world: bytes
    values: tuple[tuple[str, str], ...]
    term: int


@cache
def _beginning(mode: str, instances: int) -> _Beginning:
    simulation = Simulation(*MODES[mode], instances)
    simulation.settle()
    simulation.event("write", 0)
    store = simulation.store
    values = tuple((key, kept.value) for key in store.keys("") if (kept := store.get(key)))
    return _Beginning(pickle.dumps(simulation.world), values, simulation.term)


def begun(mode: str, instances: int) -> Simulation:
    """A healthy service with one write, and managers that were just started."""
    beginning = _beginning(mode, instances)
    simulation = Simulation(*MODES[mode], instances, world=pickle.loads(beginning.world))
    simulation.term = beginning.term
    for key, value in beginning.values:
        kept = simulation.store.get(key)
        simulation.store.put(key, value, kept.version if kept else 0)
    simulation.check("it was begun")
    return simulation


FAULTS = frozenset(kind.name for kind in (*happenings(), *PASSES) if kind.fault) | {AMID}


@dataclass(frozen=True)
class History:
    """One service, and what happens to it."""

    mode: str
    instances: int
    events: tuple[Event, ...]
    busy: int = 0
    """By which pattern clients write before a manager's effects."""
    passes_meanwhile: int = PASSES_MEANWHILE
    """How much the other manager does while one is suspended."""
    meanwhile: tuple[Event, ...] = ()
    """What happens before that."""

    @property
    def faults(self) -> int:
        """How many of its events are faults or orders."""
        return sum(kind in FAULTS for kind, _ in self.events)

    def carry_out(self) -> Simulation:
        """All of it, and the calm after it.

        Raises:
            AssertionError: an invariant did not hold.
        """
        simulation = begun(self.mode, self.instances)
        simulation.busy, simulation.passes_meanwhile = self.busy, self.passes_meanwhile
        simulation.meanwhile = list(self.meanwhile)
        simulation.events(*self.events)
        simulation.settle()
        return simulation

    def as_test(self, name: str, failure: str) -> str:
        """The source of a test that fails so."""
        events = "".join(f"        {_source(event)},\n" for event in self.events)
        lines = [f'simulation = begun("{self.mode}", {self.instances})']
        if self.busy:
            lines.append(f"simulation.busy = {self.busy}")
        if self.passes_meanwhile != PASSES_MEANWHILE:
            lines.append(f"simulation.passes_meanwhile = {self.passes_meanwhile}")
        if self.meanwhile:
            meanwhile = ", ".join(_source(event) for event in self.meanwhile)
            lines.append(f"simulation.meanwhile = [{meanwhile}]")
        lines.append(f"simulation.events(\n{events}    )" if events else "")
        lines.append("simulation.settle()")
        comment = "".join(f"    # {line}\n" for line in failure.splitlines())
        body = "".join(f"    {line}\n" for line in lines if line)
        return f"def test_{re.sub('[^a-z0-9]+', '_', name.lower())}() -> None:\n{comment}{body}"


def _source(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_source(part) for part in value)})"
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


# --- What comes of one -----------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """Why a history failed."""

    text: str

    @property
    def signature(self) -> str:
        """The same for equal failures of different histories."""
        if self.text.startswith("not healthy"):
            waits = re.search(r"rule='([^']*)'", self.text)
            return f"not healthy: {waits.group(1) if waits else '?'}"
        said = re.sub(r"^after .*?: ", "", self.text.splitlines()[0] if self.text else "")
        said = re.sub(r"\{[^}]*\}|\[[^]]*\]", "...", said)
        return re.sub(r"\d+", "N", said)


def told_by(history: History) -> str:
    """What became of it, in all that can be compared."""
    simulation = history.carry_out()
    world = simulation.world
    disks = {name: (volume.log, volume.seeded) for name, volume in sorted(world.volumes.items())}
    return f"{simulation.record!r} {simulation.told()} {disks} {sorted(world.acknowledged)}"


class _Errors(logging.Handler):
    """The observer survives a fault of the product and logs it: here it is a failure."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"logged: {record.getMessage()}: {record.exc_info and record.exc_info[1]}")


def failure_of(history: History) -> Failure | None:
    """Carry it out; None when all is well."""
    errors, log = _Errors(), logging.getLogger("hamanager")
    propagates, log.propagate = log.propagate, False
    log.addHandler(errors)
    try:
        history.carry_out()
    except AssertionError as error:
        return Failure(str(error) or "an assertion without a text")
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")
    finally:
        log.removeHandler(errors)
        log.propagate = propagates
    return Failure(errors.told[0]) if errors.told else None


# --- Drawing one -----------------------------------------------------------------------------


def drawn(seed: str) -> History:
    """The same seed draws the same history."""
    return _Draw(random.Random(seed)).history()


class _Draw:
    """The habits of one history."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mode = rng.choice(list(MODES))
        self._instances = rng.choices((1, 2, 3, 4, 5), (1, 9, 9, 3, 2))[0]
        most = max(self._instances, rng.choice((2, 3, 3, 5)))
        self._kinds = {kind.name: kind for kind in happenings(most)}
        self._happen = self._swarm(list(self._kinds), rng.choice((2, 3, 4, 6, 12)))
        self._work = self._swarm(
            [k.name for k in PASSES if k.name != "pass"], rng.choice((1, 2, 4))
        )
        self._work["pass"] = rng.choice((0.3, 1.0, 3.0))
        self._work[AMID] = rng.choice((0.0, 0.5, 3.0))
        self._longest_burst = rng.choice((1, 2, 3))
        self._longest_work = rng.choice((1, 3, 6, 10))
        self._ends = rng.choice((0.0, 0.5, 0.9))
        self._faithful = rng.choice((0.0, 0.5, 0.9))
        self._calm = rng.choice((0.1, 0.4, 0.8))
        self._due: list[tuple[int, Event]] = []
        """Ends of faults, and after how many more events they are due."""
        self._server: object = "db.0"

    def _swarm(self, names: Sequence[str], about: int) -> dict[str, float]:
        """So many of them at the most, some far more often than others."""
        rng = self._rng
        chosen = rng.choices(names, [WEIGHTS.get(name, 1.0) for name in names], k=about)
        return {name: rng.expovariate(1.0) + 0.1 for name in chosen}

    def history(self) -> History:
        rng = self._rng
        length = rng.randint(1, rng.choice((5, 10, 10, 20, 20, 50, LONGEST)))
        busy = rng.choice((0, 255, rng.randrange(256)))
        passes = rng.choice((1, 2, PASSES_MEANWHILE))
        meanwhile = tuple(self._happening() for _ in range(rng.choice((0, 0, 1, 2))))
        events = tuple(islice(self._told(), length))
        return History(self._mode, self._instances, events, busy, passes, meanwhile)

    def _told(self) -> Iterator[Event]:
        """Without an end."""
        rng = self._rng
        while True:
            for _ in range(rng.randint(1, self._longest_burst)):
                yield from self._ended()
                yield self._happening()
            for _ in range(rng.randint(0, self._longest_work)):
                yield from self._ended()
                yield self._worked()
            if rng.random() < self._calm:
                yield "live", rng.randint(1, 8)

    def _ended(self) -> Iterator[Event]:
        self._due = [(left - 1, event) for left, event in self._due]
        yield from (event for left, event in self._due if left <= 0)
        self._due = [(left, event) for left, event in self._due if left > 0]

    def _happening(self) -> Event:
        rng = self._rng
        kind = self._kinds[self._one_of(self._happen)]
        argument = rng.choice(kind.arguments)
        if argument is False and kind.end:
            argument = rng.choice(kind.arguments)
        if isinstance(argument, str):
            if self._server in kind.arguments and rng.random() < self._faithful:
                argument = self._server
            self._server = argument
        if kind.end and argument is not False and rng.random() < self._ends:
            ended = False if kind.end == kind.name else argument
            self._due.append((1 + int(rng.expovariate(0.2)), (kind.end, ended)))
        return kind.name, argument

    def _worked(self) -> Event:
        rng = self._rng
        name = self._one_of(self._work)
        if name == AMID:
            return AMID, (rng.choice(AMID_EFFECTS), *self._happening())
        kind = next(kind for kind in PASSES if kind.name == name)
        if name == "pass":
            return name, rng.choices((0, 1), (3, 1))[0]
        return name, rng.choice(kind.arguments)

    def _one_of(self, weights: dict[str, float]) -> str:
        return self._rng.choices(list(weights), list(weights.values()))[0]
