"""The managers' rows in the store."""

from __future__ import annotations

from pydantic import ValidationError

from hamanager.contracts.store import Store
from hamanager.model.manager import Manager

_ROOT = "managers/"
CALLS = "calls/"


def manager_key(name: str) -> str:
    """What that manager tells the others."""
    return f"{_ROOT}{name}"


def call_key(service: str) -> str:
    """There is something to do about that service, for the manager that leads it."""
    return f"{CALLS}{service}"


def calls(store: Store) -> list[str]:
    """The services for whose leaders there is something to do."""
    return [key.removeprefix(CALLS) for key in store.keys(CALLS)]


def load_manager(store: Store, name: str) -> tuple[Manager, int] | None:
    """A manager's row and its version; a damaged one is that of a manager that says nothing. None
    when there is no such row."""
    kept = store.get(manager_key(name))
    if kept is None:
        return None
    try:
        return Manager.model_validate_json(kept.value), kept.version
    except ValidationError:
        return Manager(name=name), kept.version


def load_managers(store: Store) -> dict[str, tuple[Manager, int]]:
    """All of them, by name."""
    names = [key.removeprefix(_ROOT) for key in store.keys(_ROOT)]
    found = {name: load_manager(store, name) for name in names}
    return {name: row for name, row in found.items() if row is not None}


def save_manager(store: Store, manager: Manager, expected: int) -> int:
    """Write its row if the version still is `expected`; returns the new version."""
    return store.put(manager_key(manager.name), manager.model_dump_json(), expected)
