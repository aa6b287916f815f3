"""Questions that are asked again and again, each in its own thread, and answers that grow old.

Two kinds. What a decision rests on counts only in the observation that asked for it: an answer to
an earlier question may be as old as that question, and proves neither life nor death. What only
people want to know is asked for now and then, and its last answer is shown meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hamanager.contracts.clock import Clock

T = TypeVar("T")
Key = tuple[str, str]
"""An instance, and what is asked of it."""

PROBE_THREADS = 128
"""A server that hangs holds one for as long as a probe may take: so many may hang before they are
in the way of the others."""
RUNTIME_THREADS = 32
SAMPLE_THREADS = 8


@dataclass(frozen=True)
class Threads:
    """Who asks. Three groups, so that questions to a runtime that hangs never hold up those to the
    servers, nor the few that people want to know those that a decision rests on."""

    probes: Executor
    runtime: Executor
    samples: Executor

    @classmethod
    def started(cls) -> Threads:
        """Real threads."""
        return cls(
            ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe"),
            ThreadPoolExecutor(RUNTIME_THREADS, thread_name_prefix="runtime"),
            ThreadPoolExecutor(SAMPLE_THREADS, thread_name_prefix="sample"),
        )

    @classmethod
    def all_in(cls, executor: Executor) -> Threads:
        """One for all."""
        return cls(executor, executor, executor)

    def shut_down(self) -> None:
        """No more questions; those under way are left to end by themselves."""
        for executor in (self.probes, self.runtime, self.samples):
            executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A question with the answer that it gets or got."""

    at: float
    """Monotonic seconds when it was asked: its answer is not newer than that."""
    answer: Future[T]

    def told(self, since: float) -> T | None:
        """The answer, unless it is not there yet or was asked for before that time."""
        if self.at < since or not self.answer.done():
            return None
        return self.answer.result()


class Questions:
    """What was asked and not yet answered, one question of a key at a time."""

    def __init__(self) -> None:
        self._asked: dict[Key, Asked[Any]] = {}

    def under_way(self, key: Key) -> Asked[Any] | None:
        """The last question of that key, answered or not."""
        return self._asked.get(key)

    def is_open(self, key: Key) -> bool:
        """Whether it was asked and not answered yet."""
        asked = self._asked.get(key)
        return asked is not None and not asked.answer.done()

    def answer(self, key: Key) -> Any:
        """The last answer, however old; None when there is none (yet)."""
        asked = self._asked.get(key)
        return asked.answer.result() if asked is not None and asked.answer.done() else None

    def ask(
        self, key: Key, now: float, executor: Executor, ask: Callable[..., T], *arguments: object
    ) -> None:
        """Ask, unless the former question is still open."""
        if not self.is_open(key):
            self._asked[key] = Asked(now, executor.submit(ask, *arguments))

    def tell(self, key: Key, now: float, answer: object) -> None:
        """What nobody had to be asked for."""
        told: Future[object] = Future()
        told.set_result(answer)
        self._asked[key] = Asked(now, told)

    def forget(self, instance: str) -> None:
        """It is elsewhere now: what was asked of it there is of no interest."""
        self._asked = {key: asked for key, asked in self._asked.items() if key[0] != instance}

    def forget_all_but(self, instances: set[str]) -> None:
        """Instances that are no more need no answers."""
        self._asked = {key: asked for key, asked in self._asked.items() if key[0] in instances}


class News:
    """Something happened: whoever waits for answers looks again at what is wanted."""

    def __init__(self) -> None:
        self._next: Future[None] = Future()

    @property
    def next(self) -> Future[None]:
        """Done when the next thing happens."""
        return self._next

    def tell(self) -> None:
        """From any thread."""
        told, self._next = self._next, Future()
        with suppress(InvalidStateError):  # another thread told the same one
            told.set_result(None)


def wait_while(
    wanted: Callable[[], Iterable[Asked[Any]]],
    until: float,
    clock: Clock,
    news: News | None = None,
) -> None:
    """Wait for the answers that are wanted, which may be fewer (or others) after each that comes,
    and after each piece of news."""
    news = news or News()
    while True:
        heard = news.next
        pending = {asked.answer for asked in wanted() if not asked.answer.done()}
        left = until - clock.monotonic()
        if not pending or left <= 0 or not wait({*pending, heard}, left, FIRST_COMPLETED).done:
            return
