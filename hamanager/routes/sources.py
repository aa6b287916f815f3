"""Who can be asked where clients are led: the store itself, or a manager."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from hamanager.api.reach import Reach
from hamanager.contracts.routes import Told
from hamanager.contracts.store import Store
from hamanager.errors import HamanagerError
from hamanager.stores.repository import read_routes

ANSWER_SECONDS = 2.0
"""Beyond the time for which it was asked to wait."""


class StoreSource:
    """The store's own word."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    def ask(self, after: int, seconds: float) -> Told:
        """What was written down later than that version."""
        return read_routes(self._store, after, seconds)


class ManagerSource:
    """What a manager has heard from the store."""

    def __init__(self, connect: Callable[[], Reach]) -> None:
        """`connect` finds the way there anew: after a failure the certificates may be others.

        Raises:
            UsageError: there is none, as it is named.
        """
        self._connect = connect
        self._reach: Reach | None = connect()
        self.name = f"the manager at {self._reach.place}"

    def ask(self, after: int, seconds: float) -> Told:
        """What it knows that is later than that version."""
        path = f"/routes?after={after}&wait={seconds:g}"
        if self._reach is None:
            self._reach = self._connect()
        try:
            answer = self._reach.request("GET", path, None, seconds + ANSWER_SECONDS)
        except HamanagerError:
            self._reach.close()
            self._reach = None
            raise
        if answer.is_success:
            try:
                return Told.model_validate_json(answer.content)
            except ValidationError:
                raise self._strange("something that is no answer") from None
        try:
            sentence = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            raise self._strange(str(answer.status_code)) from None
        raise HamanagerError(f"{self.name} answers: {sentence}")

    def _strange(self, what: str) -> HamanagerError:
        return HamanagerError(f"{self.name} answered {what}: is it a hamanager of this version?")
