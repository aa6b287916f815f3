"""The addresses of a manager's machine, and what it tells of them to whoever runs the same ones on
another machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from hamanager.contracts.endpoint import Endpoint
from hamanager.contracts.routes import Told
from hamanager.contracts.store import Store
from hamanager.routes.book import Book
from hamanager.routes.endpoint import RoutedEndpoint
from hamanager.routes.follower import Follower
from hamanager.routes.here import Here
from hamanager.routes.sources import StoreSource
from hamanager.stores.repository import service_names


class Addresses:
    """The endpoint for the daemon, and its desk for others."""

    def __init__(self, store: Store, local: Endpoint, address: str | None = None) -> None:
        """`local` is this machine's own; `address` this machine's where clients connect, None where
        it is the one that services have on record."""
        self._store = store
        self._book = Book()
        here = Here(local, self._book, address)
        self._follower = Follower(here, self._book, [StoreSource(store, "the store")])
        self.endpoint = RoutedEndpoint(here, self._book, store, self._follower.start)

    def begin(self, *, several: bool) -> None:
        """`several`: other managers may use the same store, whose word counts here too.

        Raises:
            StoreError: it cannot be read.
        """
        if several:
            self.endpoint.share()
        else:
            self.endpoint.begin()

    def desk(self, wake: Callable[[str], None]) -> RoutesDesk:
        """For the API; `wake` lets a service be looked at."""

        def all_are_woken() -> None:
            for name in service_names(self._store):
                wake(name)

        return RoutesDesk(self.endpoint, self._book, all_are_woken)

    def close(self) -> None:
        """Follow no more; what is published stays in force."""
        self._follower.stop()


class RoutesDesk:
    """Tells where clients are led. Those who wait for news cost no thread each."""

    def __init__(self, endpoint: RoutedEndpoint, book: Book, on_shared: Callable[[], None]) -> None:
        """`on_shared` is called when somebody has asked for the first time: from then on what is
        published is written down for others."""
        self._endpoint = endpoint
        self._book = book
        self._on_shared = on_shared

    async def told(self, after: int, seconds: float) -> Told:
        """What was published later than that version; waits for it so long at the most.

        Raises:
            StoreError: nobody can tell.
        """
        if not self._endpoint.is_shared and await run_in_threadpool(self._endpoint.share):
            await run_in_threadpool(self._on_shared)
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the daemon is ending
                loop.call_soon_threadsafe(news.set)

        with self._book.watched(wake):
            if seconds > 0 and not self._book.has_news(after):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await news.wait()
        return self._book.told(after)
