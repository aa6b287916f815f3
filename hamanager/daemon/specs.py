"""The specs of all services, as commands read and change them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.daemon.callers import CALLER
from hamanager.errors import (
    ConflictError,
    NotFoundError,
    StaleVersionError,
    UnmanageableError,
)
from hamanager.model.history import HistoryEntry
from hamanager.model.spec import Spec
from hamanager.stores.repository import (
    load_spec,
    load_whole,
    save_spec,
    service_names,
    spec_key,
)

TRIES = 10
"""For one compare-and-swap; only other people's commands on the same service compete."""


class Specs:
    """What is wanted of the services, in the store; each change is noted in the history."""

    def __init__(self, store: Store, engines: Collection[str], clock: Clock) -> None:
        self._store = store
        self._engines = engines
        self._clock = clock

    def standing(self, name: str) -> tuple[Spec, int]:
        """The spec of a service that can be managed and is to stay, with its version.

        Raises:
            NotFoundError: there is no such service.
            ConflictError: it is being destroyed, or cannot be managed.
        """
        with _unchanged():
            spec, version = self._load(name)
            if spec.destroy:
                raise ConflictError(f"service '{name}' is being destroyed; nothing was changed")
            load_whole(self._store, name, self._engines)
        return spec, version

    def readable(self, name: str) -> tuple[Spec, int]:
        """Whatever its state: the spec, or what takes the place of one that is damaged."""
        try:
            return self._load(name)
        except UnmanageableError:
            kept = self._store.get(spec_key(name))
            spec = Spec(name=name, engine="", instances=0, image="", created_at=self._clock.now())
            return spec, kept.version if kept else 0

    def refuse_existing(self, name: str) -> None:
        """A new service is to have that name.

        Raises:
            ConflictError: there is one already.
        """
        with _unchanged():
            loaded = load_spec(self._store, name)
        if loaded is None:
            return
        spec = loaded[0]
        if spec.destroy:
            raise ConflictError(
                f"service '{name}' is still being destroyed; create it again when it is gone"
            )
        raise ConflictError(
            f"service '{name}' exists already (engine {spec.engine}); nothing was changed"
        )

    def change(
        self,
        name: str,
        change: Callable[[Spec], Spec],
        read: Callable[[str], tuple[Spec, int]] | None = None,
    ) -> None:
        """Write what the function makes of the present spec.

        Raises:
            StaleVersionError: others changed it all the time.
        """
        for _ in range(TRIES):
            spec, version = (read or self.standing)(name)
            changed = change(spec)
            if changed == spec:
                return
            try:
                save_spec(self._store, changed, version)
            except StaleVersionError:
                continue
            return
        raise StaleVersionError(
            f"service '{name}' is being changed by others all the time: try again"
        )

    def note(self, name: str, text: str) -> None:
        """That was asked for."""
        self._store.append(
            HistoryEntry(
                at=self._clock.now(),
                service=name,
                kind="command",
                text=text,
                by=CALLER.get().name,
            )
        )

    def _load(self, name: str) -> tuple[Spec, int]:
        loaded = load_spec(self._store, name)
        if loaded is None:
            known = ", ".join(service_names(self._store))
            raise NotFoundError(
                f"there is no service '{name}': there "
                + (f"is {known}" if known else "are none yet")
            )
        return loaded


@contextmanager
def _unchanged() -> Iterator[None]:
    try:
        yield
    except UnmanageableError as error:
        raise UnmanageableError(f"{error}; nothing was changed") from None
