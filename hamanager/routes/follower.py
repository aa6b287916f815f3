"""Follows what the leading managers say, from one or several sources at the same time, and keeps
this machine's endpoint to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from hamanager.contracts.routes import Source, Told
from hamanager.errors import HamanagerError
from hamanager.routes.book import FRESH_SECONDS, Book
from hamanager.routes.here import Here

log = logging.getLogger("hamanager")

WAIT_SECONDS = 1.0
"""How long a question waits for news: who is asked is known to answer at least that often."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 0.25
"""Before a source that failed is asked again; twice as long after each failure. Short: a manager
that is back may lead clients elsewhere at once, and soon start the former primary again."""
SETTLE_SECONDS = 0.25
"""After a change: by then connections to former targets can be told apart, and are ended."""
TICK_SECONDS = 1.0
STOP_SECONDS = 2.0
HANDS = 8
"""So many services are led elsewhere at the same time."""


class Follower:
    """One thread for each source, and one that looks after the endpoint."""

    def __init__(
        self,
        here: Here,
        book: Book,
        sources: Sequence[Source],
        *,
        keep: Callable[[Told], None] | None = None,
    ) -> None:
        """`keep` writes down what is known, for the time when nobody can be asked."""
        self._here = here
        self._book = book
        self._sources = sources
        self._keep = keep
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._to_settle: set[str] = set()
        self._lock = threading.Lock()
        self._hands = ThreadPoolExecutor(HANDS, thread_name_prefix="lead")
        self._looking_after: threading.Thread | None = None
        self._problem = ""

    def start(self) -> None:
        """Begin to follow; returns at once."""
        for source in self._sources:
            _begin(f"routes-{source.name}", partial(self._follow, source))
        self._looking_after = _begin("routes", self._look_after)

    def stop(self) -> None:
        """Follow no more. What was said last stays in force."""
        self._stopping.set()
        self._changed.set()
        self._hands.shutdown(wait=False, cancel_futures=True)
        if self._looking_after is not None:
            self._looking_after.join(STOP_SECONDS)
        # The others end with the answer that they wait for, and do nothing with it.

    def take_over(self, told: Told) -> None:
        """Lead this machine's clients by what is news in that answer."""
        if self._stopping.is_set():
            return
        changed = self._book.hear(told)
        for service in changed:
            self._hands.submit(self._bring, service)
        if changed:
            with self._lock:
                self._to_settle |= changed
            self._changed.set()

    # --- The threads -------------------------------------------------------------------------

    def _follow(self, source: Source) -> None:
        pause, seconds, problem = PAUSE_SECONDS, 0.0, ""
        while not self._stopping.is_set():
            try:
                told = source.ask(self._book.version, seconds)
                self.take_over(told)
                _see_that_it_is_fresh(source, told)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is asked again
                if self._stopping.is_set():
                    return
                known = str(error) if isinstance(error, HamanagerError) else repr(error)
                if known != problem:
                    log.warning("%s; clients are led where the last word was", known)
                problem = known
                self._stopping.wait(pause)
                # What it said meanwhile was missed: the first answer comes at once.
                pause, seconds = min(2 * pause, LONGEST_PAUSE_SECONDS), 0.0
                continue
            if problem or not seconds:
                log.info("following %s", source.name)
            pause, seconds, problem = PAUSE_SECONDS, WAIT_SECONDS, ""

    def _look_after(self) -> None:
        """Whatever could not be done at once is done here, and former targets' connections end."""
        while not self._stopping.is_set():
            if self._changed.wait(TICK_SECONDS):
                self._changed.clear()
                self._stopping.wait(SETTLE_SECONDS)
            try:
                self.look_after()
            except Exception as error:  # noqa: BLE001 - the next round tries again
                self._tell(repr(error))

    def look_after(self) -> None:
        """One round of it."""
        if self._keep is not None:
            self._keep(self._book.told())
        with self._lock:
            changed, self._to_settle = self._to_settle, set()
        for service in self._here.differing():
            self._bring(service)
        for service in sorted(changed):
            try:
                self._here.endpoint.settle(service)
            except HamanagerError as error:
                self._tell(str(error))

    def _bring(self, service: str) -> None:
        try:
            if self._here.bring(service):
                log.info("%s: clients are led to %s", service, self._here.told_of(service))
        except Exception as error:  # noqa: BLE001 - the next round tries again
            self._tell(str(error) if isinstance(error, HamanagerError) else repr(error))

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem


def _begin(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _see_that_it_is_fresh(source: Source, told: Told) -> None:
    if told.heard_seconds_ago > FRESH_SECONDS:
        raise HamanagerError(
            f"{source.name} has not heard from its store for {told.heard_seconds_ago:.0f} s"
        )
