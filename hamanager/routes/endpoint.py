"""The endpoint contract on every machine: what is published goes into the store by
compare-and-swap, and this machine's endpoint follows the store like every other one's.

As long as nobody else follows it is this machine's endpoint and nothing else: no row is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from hamanager.contracts.endpoint import Endpoint, Listener
from hamanager.contracts.routes import Word
from hamanager.contracts.store import Store
from hamanager.errors import HamanagerError, StaleVersionError
from hamanager.routes.book import Book
from hamanager.routes.here import Here
from hamanager.stores.repository import (
    load_routes,
    read_routes,
    save_routes,
    spec_key,
)


class RoutedEndpoint:
    """Thread-safe."""

    def __init__(self, here: Here, book: Book, store: Store, follow: Callable[[], None]) -> None:
        """`follow` begins to keep the book up to date, and this machine's endpoint to it."""
        self._here = here
        self._local: Endpoint = here.endpoint
        self._book = book
        self._store = store
        self._follow = follow
        self._lock = threading.Lock()
        self._shared = False
        self._seen: dict[str, int] = {}
        """The version of each service's row that was compared with what is wanted: what it has
        become since, without our knowing, is not written over."""

    # --- Whether others follow ---------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """Whether what is published is written into the store."""
        return self._shared

    def begin(self) -> None:
        """Share what is published if that was so before.

        Raises:
            StoreError: nobody can tell.
        """
        if read_routes(self._store, 0, 0).services:
            self.share()

    def share(self) -> bool:
        """From now on others follow; whether that is new.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            if self._shared:
                return False
            told = read_routes(self._store, 0, 0)
            self._book.hear(told)
            for service in self._local.services():
                if service not in told.services and not self._store.get(spec_key(service)):
                    with suppress(HamanagerError):  # it is no more, and leads to nobody anyway
                        self._local.publish(service, ())
            self._shared = True
        self._follow()
        return True

    # --- The contract ------------------------------------------------------------------------

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        """Write it into the store, then tell this machine's."""
        if not self._shared:
            self._local.publish(service, listeners, cut=cut)
            return
        self._write(service, tuple(listeners))
        self._here.publish(service, cut=cut)

    def published(self, service: str) -> tuple[Listener, ...]:
        """As the store has it."""
        if not self._shared:
            return tuple(self._local.published(service))
        word = self._book.word(service)
        if word is None:
            self._seen.pop(service, None)
            return ()
        self._seen[service] = word.version
        return word.listeners

    def services(self) -> frozenset[str]:
        """Of all managers."""
        return self._book.services() if self._shared else frozenset(self._local.services())

    def settle(self, service: str) -> None:
        """On this machine."""
        if self._shared:
            self._here.bring(service)
        self._local.settle(service)

    def connections(self, listener: str, instance: str) -> int:
        """On this machine."""
        return self._local.connections(listener, instance)

    def check(self) -> None:
        """On this machine."""
        self._local.check()

    # --- The row -----------------------------------------------------------------------------

    def _write(self, service: str, listeners: tuple[Listener, ...]) -> None:
        expected = self._seen.get(service)
        if expected is None:
            kept = load_routes(self._store, service)
            if kept is not None:
                self._book.wrote(service, kept)
            expected = kept.version if kept is not None else 0
        known = self._book.word(service)
        same = known is not None and set(known.listeners) == set(listeners)
        if same or (known is None and not listeners):
            return
        try:
            version = save_routes(self._store, service, listeners, expected)
        except StaleVersionError:
            raise StaleVersionError(
                f"another manager has said since where the clients of {service} are led"
            ) from None
        self._book.wrote(service, Word(version=version, listeners=listeners))
        self._seen[service] = version
