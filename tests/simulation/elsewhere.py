"""The service's address on another machine, which hears late, or out of order, where clients are
led: `hamanager proxy` with its real book. What it leads to may be long outdated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from hamanager.contracts.endpoint import Listener
from hamanager.contracts.routes import Told, Word
from hamanager.routes.book import Book
from hamanager.routes.here import Here
from tests.support.memory_endpoint import MemoryEndpoint


class Elsewhere:
    """Its clients, and what was said so far."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._said: list[tuple[Listener, ...]] = []
        """All words on the service; the first has version 1."""
        self._said_at: list[float] = []
        self._begin()

    def _begin(self) -> None:
        self._book = Book(self._monotonic)
        self._endpoint = MemoryEndpoint()
        self._here = Here(self._endpoint, self._book, alone=True)

    def __getstate__(self) -> dict[str, Any]:
        """A history begins with a copy of a world, and locks cannot be copied."""
        said = {"said": self._said, "said_at": self._said_at}
        return {"monotonic": self._monotonic, **said, "told": self._book.told()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._monotonic, self._said = state["monotonic"], state["said"]
        self._said_at = state["said_at"]
        self._begin()
        self._take_over(state["told"])

    def say(self, listeners: Sequence[Listener]) -> None:
        """The leading manager has said where clients are led. Nobody here has heard it yet."""
        self._said.append(tuple(listeners))
        self._said_at.append(self._monotonic())

    def hear(self, behind: int) -> None:
        """An answer comes from one that has not heard the last so many words: it was in touch with
        the store before the first of them was said."""
        version = len(self._said) - behind
        if version < 1:
            return
        word = Word(version=version, listeners=self._said[version - 1])
        told = Told(
            after=self._book.version,
            version=version,
            services=frozenset({"db"}),
            words={"db": word},
            heard_seconds_ago=self._monotonic() - self._said_at[version] if behind else 0.0,
        )
        self._take_over(told)

    def _take_over(self, told: Told) -> None:
        for service in self._book.hear(told):
            self._here.bring(service)

    @property
    def version(self) -> int:
        """Of the word by which clients are led."""
        word = self._book.word("db")
        return word.version if word is not None else 0

    def check(self, after: str, former: Collection[str]) -> None:
        """They write to none of these, who would take it."""
        wrong = [name for name in self.led_to("db") if name in former]
        assert not wrong, f"after {after}: clients elsewhere write to {wrong}, a former primary"

    def led_to(self, listener: str) -> tuple[str, ...]:
        """The instances to which the address leads here."""
        return self._endpoint.leads_to(listener)
