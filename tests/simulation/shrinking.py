"""Makes a history that fails as small as it gets, by trying.

First events are left out, in ever smaller pieces (delta debugging); then what remains is made
simpler: fewer instances, no busy clients, simpler arguments. A smaller history counts if it fails
in the same way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.happenings import AMID, PASSES, Event, happenings
from tests.simulation.histories import History
from tests.simulation.simulation import PASSES_MEANWHILE

Fails = Callable[[History], bool]

ARGUMENTS = {kind.name: kind.arguments for kind in (*happenings(5), *PASSES)}


class ShrinkingEndedError(Exception):
    """There is no more time."""


def shrunk(history: History, fails: Fails, more: Callable[[], bool]) -> History:
    """The smallest history found that still `fails`, as long as there is `more` time."""
    search = _Shrinking(history, fails, more)
    with contextlib.suppress(ShrinkingEndedError):
        search.to_the_end()
    return search.smallest


class _Shrinking:
    def __init__(self, history: History, fails: Fails, more: Callable[[], bool]) -> None:
        self.smallest = history
        self._fails, self._more = fails, more

    def to_the_end(self) -> None:
        """Until nothing gets smaller any more; each round makes it smaller, or is the last."""
        before = None
        while self.smallest != before:
            before = self.smallest
            self._leave_out()
            self._simplify()

    def _holds(self, smaller: History) -> bool:
        if not self._more():
            raise ShrinkingEndedError
        if smaller == self.smallest or not self._fails(smaller):
            return False
        self.smallest = smaller
        return True

    def _leave_out(self) -> None:
        size = len(self.smallest.events)
        while size:
            at = 0
            while at < len(self.smallest.events):
                events = self.smallest.events
                left = (*events[:at], *events[at + size :])
                if not self._holds(replace(self.smallest, events=left)):
                    at += size
            size //= 2

    def _simplify(self) -> None:
        for busy in (0, *(1 << bit for bit in range(8)), 255):
            if busy.bit_count() < self.smallest.busy.bit_count():
                self._holds(replace(self.smallest, busy=busy))
        self._holds(replace(self.smallest, meanwhile=(), passes_meanwhile=PASSES_MEANWHILE))
        self._holds(replace(self.smallest, meanwhile=()))
        self._holds(replace(self.smallest, passes_meanwhile=PASSES_MEANWHILE))
        for instances in range(1, self.smallest.instances):
            if self._holds(replace(self.smallest, instances=instances)):
                break
        for at in range(len(self.smallest.events)):
            for simpler in simpler_than(self.smallest.events[at]):
                events = list(self.smallest.events)
                events[at] = simpler
                if self._holds(replace(self.smallest, events=tuple(events))):
                    break


def simpler_than(event: Event) -> Iterator[Event]:
    """What might do instead of it, the simplest first."""
    kind, argument = event
    if kind == AMID and isinstance(argument, tuple):
        effect, *happening = argument
        yield happening[0], happening[1]
        for simpler in simpler_than((happening[0], happening[1])):
            yield AMID, (effect, *simpler)
        for earlier in range(effect):
            yield AMID, (earlier, *happening)
        return
    if kind == "live" or (kind != "pass" and kind in {work.name for work in PASSES}):
        yield "pass", 0
    arguments = ARGUMENTS.get(kind, ())
    if kind == "live" and isinstance(argument, int):
        arguments = tuple(range(1, argument))
    if argument in arguments:
        arguments = arguments[: arguments.index(argument)]
    yield from ((kind, simpler) for simpler in arguments)
