"""All that a store holds, put into another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, StoreError
from hamanager.model.history import HistoryEntry

MOVED_KEY = "moved"
"""In a store whose content lives on in another one."""
QUIET_SECONDS = 3.0
"""So long nothing may change before it is copied: a manager writes at least once a second."""


class _Moved(BaseModel):
    to: str


@dataclass(frozen=True)
class Copied:
    """How much it was."""

    keys: int
    entries: int


def copy(
    source: Store, target: Store, named: str, pause: Callable[[float], None] = time.sleep
) -> Copied:
    """Copy every key and the whole history, see that all of it has arrived, and mark the source as
    moved to the target, which is called so. Nobody may use either meanwhile.

    Raises:
        ConflictError: the target is not empty, the source was moved already, or somebody uses it.
        StoreError: one of them failed, or not all of it has arrived.
    """
    refuse_moved(source)
    if target.keys("") or target.services_with_history():
        raise ConflictError(
            f"{named} is not empty: name another one, or another prefix; nothing was copied"
        )
    before = _versions(source)
    pause(QUIET_SECONDS)
    _unchanged(source, before, "nothing was copied")
    entries = sum(_copy_history(source, target, name) for name in source.services_with_history())
    written: dict[str, int] = {}
    try:
        for key in before:
            kept = source.get(key)
            if kept is not None:
                written[key] = target.put(key, kept.value, 0)
        for key in before:
            there, here = target.get(key), source.get(key)
            if there is None or here is None or there.value != here.value:
                raise StoreError(f"'{key}' has not arrived in {named} as it is")
        _unchanged(source, before, f"what has arrived in {named} was taken away again")
        source.put(MOVED_KEY, _Moved(to=named).model_dump_json(), 0)
    except BaseException:
        for key, version in written.items():
            target.delete(key, version)
        raise
    return Copied(len(written), entries)


def refuse_moved(store: Store) -> None:
    """See that the store is not one whose content lives on elsewhere.

    Raises:
        ConflictError: it is.
    """
    kept = store.get(MOVED_KEY)
    if kept is None:
        return
    try:
        where = _Moved.model_validate_json(kept.value).to
    except ValidationError:
        where = "another store"
    raise ConflictError(
        f"what this store holds was copied to {where}: use that one (--store), or, to go on with"
        " this one as it is, say `hamanager store accept`; nothing was changed"
    )


def _copy_history(source: Store, target: Store, service: str) -> int:
    entries = source.history(service)
    for entry in entries:
        target.append(entry)
    if _sorted(target.history(service)) != _sorted(entries):
        raise StoreError(f"the history of '{service}' has not arrived as it is")
    return len(entries)


def _sorted(entries: Sequence[HistoryEntry]) -> list[str]:
    return sorted(entry.model_dump_json() for entry in entries)


def _versions(store: Store) -> Mapping[str, int]:
    found = ((key, store.get(key)) for key in store.keys(""))
    return {key: kept.version for key, kept in found if kept is not None}


def _unchanged(source: Store, before: Mapping[str, int], what: str) -> None:
    if _versions(source) != before:
        raise ConflictError(
            f"a manager is running on the store that was to be copied: end them first; {what}"
        )
