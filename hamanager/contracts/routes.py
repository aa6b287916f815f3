"""Where clients are led, as the leading managers have said it: what is in the store, what a manager
tells of it, and what whoever runs an address on another machine follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from hamanager.contracts.endpoint import Listener


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Word(_Frozen):
    """The last that was published for one service."""

    version: int
    """Of its row in the store: a later word has a greater one."""
    listeners: tuple[Listener, ...] = ()


class Told(_Frozen):
    """An answer to what was published later than a version."""

    after: int
    """That version."""
    version: int
    """Of the store: every word after that one and up to here is in this answer. Smaller than what
    was asked for when an older copy of the store has been put in its place (or the one who answers
    has not heard of the newest yet): then all words are told."""
    services: frozenset[str]
    """All that have a word."""
    words: Mapping[str, Word]
    """By service: those that are later than what was asked for."""
    heard_seconds_ago: float = 0.0
    """When whoever answers has last heard from the store."""

    @property
    def is_whole(self) -> bool:
        """Whether all words are told."""
        return self.after == 0 or self.after > self.version


class Source(Protocol):
    """Whom one asks."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def ask(self, after: int, seconds: float) -> Told:
        """What was published later than that version; waits for it so long at the most.

        Raises:
            HamanagerError: nobody knows (one sentence).
        """
        ...
