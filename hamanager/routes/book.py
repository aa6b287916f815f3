"""The last known word on each service. A later word replaces an earlier one, from whomever it comes
and in whichever order: nothing ever goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hamanager.contracts.routes import Told, Word

PUT_BACK_SECONDS = 10.0
"""When everybody who answers has known less than we do for so long, an older copy of the store has
been put in its place, and what it says counts."""
FRESH_SECONDS = 3.0
"""Whoever has heard from the store that lately is in touch with it."""


class Book:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 0
        """Every word up to here is known."""
        self._words: dict[str, Word] = {}
        self._early: dict[str, Word] = {}
        """Words that this process has just written: later ones of others may be missing yet."""
        self._changed_at = 0
        """The version at which something has changed last."""
        self._heard_at = clock()
        self._older_since: float | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def version(self) -> int:
        """Every word up to here is known."""
        with self._lock:
            return self._version

    def word(self, service: str) -> Word | None:
        """The last one that is known."""
        with self._lock:
            known, early = self._words.get(service), self._early.get(service)
        if known is None or early is None:
            return known or early
        return max(known, early, key=lambda word: word.version)

    def services(self) -> frozenset[str]:
        """All on which there is a word."""
        with self._lock:
            return frozenset(self._words) | frozenset(self._early)

    def wrote(self, service: str, word: Word) -> None:
        """This process has just published it."""
        with self._lock:
            if word.version > self._version:
                self._early[service] = word

    def hear(self, told: Told) -> frozenset[str]:
        """Take over what is later than what is known; on which services there is another word now
        (or none any more)."""
        with self._lock:
            self._heard_at = max(self._heard_at, self._clock() - told.heard_seconds_ago)
            before = self._words
            if self._was_put_back(told):
                self._words, self._version = dict(told.words), told.version
                self._changed_at = told.version
            else:
                self._words = self._merged(told)
                self._version = max(self._version, told.version)
            names = {*before, *self._words}
            changed = {name for name in names if before.get(name) != self._words.get(name)}
            if changed:
                self._changed_at = self._version
            self._early = {n: w for n, w in self._early.items() if w.version > self._version}
            watchers = list(self._watchers) if changed else []
        for watcher in watchers:
            watcher()
        return frozenset(changed)

    def _merged(self, told: Told) -> dict[str, Word]:
        words = dict(self._words)
        for name, word in told.words.items():
            # Of a service that is not known here and of which we should know, the word is one from
            # before its end.
            if word.version > (words[name].version if name in words else self._version):
                words[name] = word
        for name in [*words]:
            if name not in told.services and words[name].version <= told.version:
                del words[name]
        return words

    def _was_put_back(self, told: Told) -> bool:
        if told.version >= self._version:
            self._older_since = None
            return False
        if told.heard_seconds_ago > FRESH_SECONDS or not told.is_whole:
            return False
        now = self._clock()
        if self._older_since is None:
            self._older_since = now
        if now - self._older_since < PUT_BACK_SECONDS:
            return False
        self._older_since = None
        return True

    def has_news(self, after: int) -> bool:
        """Whether something has changed later than that version."""
        with self._lock:
            return self._changed_at > after

    def told(self, after: int = 0) -> Told:
        """What is later than that version; everything when we know less."""
        with self._lock:
            everything = after > self._version
            return Told(
                after=after,
                version=self._version,
                services=frozenset(self._words),
                words={n: w for n, w in self._words.items() if everything or w.version > after},
                heard_seconds_ago=max(0.0, self._clock() - self._heard_at),
            )

    @contextmanager
    def watched(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Inside, it is called after each change; it must not block."""
        with self._lock:
            self._watchers.append(watcher)
        try:
            yield
        finally:
            with self._lock:
                self._watchers.remove(watcher)
