"""This machine's own endpoint, kept to the last known word."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hamanager.contracts.endpoint import Endpoint, Listener
from hamanager.contracts.routes import Word
from hamanager.errors import EndpointFailedError
from hamanager.routes.book import Book

TURN_SECONDS = 1.0
"""So long one waits for another thread that tells the endpoint about the same service. A proxy that
is being brought up takes longer; the next round repairs what was not told then."""


class Here:
    """Thread-safe. What is told to the endpoint is always the last word that the book has at that
    moment, whoever tells it."""

    def __init__(
        self, endpoint: Endpoint, book: Book, address: str | None = None, *, alone: bool = False
    ) -> None:
        """`address`: of this machine, where clients connect; None: as it is published. `alone`:
        nobody else tells the endpoint anything."""
        self.endpoint = endpoint
        self._book = book
        self._address = address
        self._alone = alone
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def listeners(self, service: str) -> tuple[Listener, ...]:
        """The service's addresses on this machine, by the last word."""
        word = self._book.word(service)
        return self._here(word) if word is not None else ()

    def publish(self, service: str, *, cut: bool) -> None:
        """Let the endpoint lead the service's clients by the last word, and say whether it does.

        Raises:
            EndpointFailedError: it may not be in force yet.
        """
        with self._turn(service):
            self.endpoint.publish(service, self.listeners(service), cut=cut)

    def bring(self, service: str) -> bool:
        """The same, unless that is written down already: then `check` brings it into force. Whether
        it was not.

        Raises:
            EndpointFailedError: it may not be in force yet.
        """
        with self._turn(service):
            differs = self._differs(service)
            if differs:
                self.endpoint.publish(service, self.listeners(service), cut=False)
        return differs

    def told_of(self, service: str) -> str:
        """Where its addresses lead, for people."""
        found = [
            f"{', '.join(route.instance for route in listener.routes) or 'nobody'}"
            f" (port {listener.port})"
            for listener in self.listeners(service)
        ]
        return " and ".join(found) or "nobody: it has no address"

    def differing(self) -> list[str]:
        """The services whose clients are led by an earlier word."""
        with self._guard:
            services = {*self._turns, *self._book.services()}
        if self._alone and self._book.version:
            services |= {*self.endpoint.services()}
        return [service for service in sorted(services) if self._differs(service)]

    def _differs(self, service: str) -> bool:
        return set(self.endpoint.published(service)) != set(self.listeners(service))

    def _here(self, word: Word) -> tuple[Listener, ...]:
        if self._address is None:
            return word.listeners
        return tuple(listener.at(self._address) for listener in word.listeners)

    @contextmanager
    def _turn(self, service: str) -> Iterator[None]:
        with self._guard:
            turn = self._turns.setdefault(service, threading.Lock())
        if not turn.acquire(timeout=TURN_SECONDS):
            raise EndpointFailedError(
                f"the proxy has not taken over yet where it was told to lead the clients of"
                f" {service} before"
            )
        try:
            yield
        finally:
            turn.release()
