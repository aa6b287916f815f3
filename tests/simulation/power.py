"""What a manager runs on: a clock, an executor, and the power to do anything at all.

Every effect of a manager on servers, runtime or store passes its `Power`, which may be cut between
any two of them, lose an answer, let something else happen just before, or suspend the manager.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hamanager.contracts.store import Keep, Store, Versioned
from hamanager.errors import HamanagerError, StoreError
from hamanager.model.capabilities import Traits
from hamanager.model.history import HistoryEntry


class ManagerDiedError(BaseException):
    """The manager was killed; not an `Exception`, so that nothing in it can handle that."""


def nothing() -> None:
    """What happens when nothing does."""


class Power:
    """What keeps one manager alive. Its effects and questions are counted anew in each pass."""

    def __init__(self, before_effect: Callable[[], None] = nothing) -> None:
        self.dead = False
        self.dies_at: int | None = None
        """The number of the effect before which it dies."""
        self.loses_answer_of: int | None = None
        """The number of the effect whose answer is lost: it fails, and is done all the same."""
        self.suspended_in: int | None = None
        """The number of the statement before which it is suspended, in the middle of a call."""
        self.statements = 0
        self.suspended_at: int | None = None
        """The number of the question before which the manager is suspended: to the store, or
        whether it may act."""
        self.while_suspended: Callable[[], None] = nothing
        self.before_effect = before_effect
        """Called before each effect: the world does not stand still during a pass."""
        self.effects = 0
        self.behind = False
        """What it does now is done by a thread beside its passes: that is not counted."""
        self._questions = 0

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """What is done inside is not part of its pass."""
        before, self.behind = self.behind, True
        try:
            yield
        finally:
            self.behind = before

    def plan(
        self,
        *,
        dies_at: int | None = None,
        loses_answer_of: int | None = None,
        suspended_at: int | None = None,
        suspended_in: int | None = None,
    ) -> None:
        """Begin to count, and fail so in the pass that comes."""
        self.effects = self._questions = self.statements = 0
        self.suspended_in = suspended_in
        self.dies_at, self.loses_answer_of = dies_at, loses_answer_of
        self.suspended_at = suspended_at

    def question(self) -> None:
        """Called before the manager asks the store for anything, and before it acts."""
        self.live()
        if self.behind:
            return
        if self._questions == self.suspended_at:
            self.suspended_at = None
            self.while_suspended()
        self._questions += 1

    def statement(self) -> None:
        """Called before each statement of a call, before it asks whether it may be sent."""
        if self.suspended_in == self.statements:
            self.suspended_in = None
            self.while_suspended()
        self.statements += 1

    def effect(self) -> None:
        """Called before each effect of the manager on the world."""
        if self.behind:
            self.live()
            return
        self.dead = self.dead or self.effects == self.dies_at
        self.live()
        self.effects += 1
        self.before_effect()
        self.live()

    def answer(self, effects_before: int, error: type[HamanagerError]) -> None:
        """Called with the answer of a call; `effects_before` it there were so many."""
        lost = self.loses_answer_of
        if lost is not None and effects_before <= lost < self.effects:
            raise error("the answer was lost")

    def live(self) -> None:
        """The dead do nothing.

        Raises:
            ManagerDiedError: it is dead.
        """
        if self.dead:
            raise ManagerDiedError


class Wire:
    """Between a manager and a driver or runtime: it may be suspended just before it asks for one
    of the `effects`, and the answer may be lost."""

    def __init__(
        self, inner: Any, power: Power, error: type[HamanagerError], effects: Collection[str]
    ) -> None:
        self._inner, self._power, self._error, self._effects = inner, power, error, effects

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if attribute is None or isinstance(attribute, str | Traits):
            return attribute
        if not callable(attribute):
            return Wire(attribute, self._power, self._error, self._effects)  # a driver's part
        if name in self._effects:
            self._power.question()

        def call(*arguments: Any, **named: Any) -> Any:
            before = self._power.effects
            result = attribute(*arguments, **named)
            self._power.answer(before, self._error)
            return result

        return call


@dataclass
class StoreHealth:
    """What is wrong with the store."""

    down: bool = False
    full: bool = False
    """It can be read, and nothing can be written."""
    cut_off: set[str] = field(default_factory=set)
    """The managers that do not reach it."""


class PoweredStore:
    """A store that a dead manager cannot use any more, and that may be out of order."""

    def __init__(self, inner: Store, power: Power, health: StoreHealth, owner: str = "") -> None:
        self.inner, self.power, self.health, self.owner = inner, power, health, owner

    def get(self, key: str) -> Versioned | None:
        self.power.question()
        self._check()
        return self.inner.get(key)

    def put(self, key: str, value: str, expected: int) -> int:
        before = self._write()
        version = self.inner.put(key, value, expected)
        self.power.answer(before, StoreError)
        return version

    def delete(self, key: str, expected: int) -> None:
        before = self._write()
        self.inner.delete(key, expected)
        self.power.answer(before, StoreError)

    def keys(self, prefix: str) -> Sequence[str]:
        self._check()
        return self.inner.keys(prefix)

    def changed(self, prefix: str, after: int) -> Mapping[str, Versioned]:
        self.power.question()
        self._check()
        return self.inner.changed(prefix, after)

    def version(self) -> int:
        self._check()
        return self.inner.version()

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        self._check()
        return self.inner.wait(prefix, after, 0.0)

    def append(self, entry: HistoryEntry) -> None:
        if not self.power.dead:
            self._check(writing=True)
            self.inner.append(entry)

    def history(
        self, service: str, limit: int | None = None, since: float = 0.0
    ) -> Sequence[HistoryEntry]:
        return self.inner.history(service, limit, since)

    def services_with_history(self) -> Sequence[str]:
        return self.inner.services_with_history()

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        return self.inner.prune(service, keep, batch)

    def close(self) -> None:
        return None

    def _write(self) -> int:
        before = self.power.effects
        self.power.question()
        self.power.effect()
        self._check(writing=True)
        return before

    def _check(self, *, writing: bool = False) -> None:
        away = self.health.down or self.owner in self.health.cut_off
        if away or (writing and self.health.full):
            raise StoreError("the store cannot be used")


class SimClock:
    """Time that passes only when told to; a jump moves the wall clock alone."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0
        self.jumped_seconds = 0.0

    def now(self) -> float:
        return self.seconds + self.jumped_seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class UnansweredError(BaseException):
    """That call does not come back for now; not an `Exception`, so that nothing handles it."""


class InlineExecutor(Executor):
    """Runs everything at once in the caller's thread. What is not answered then is tried again with
    every later call: its answer comes late."""

    def __init__(self) -> None:
        self._open: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._open.append((future, partial(fn, *args, **kwargs)))
        self._open = [(late, call) for late, call in self._open if not self._answered(late, call)]
        return future

    @staticmethod
    def _answered(future: Future[Any], call: Callable[[], Any]) -> bool:
        try:
            future.set_result(call())
        except UnansweredError:
            return False
        except Exception as error:
            future.set_exception(error)
        return True
