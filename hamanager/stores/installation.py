"""The installation: all managers on one store, and what they have in common."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from hamanager.contracts.store import Store
from hamanager.errors import StaleVersionError, StoreError

INSTALLATION_KEY = "installation"


class _Installation(BaseModel):
    id: str


def installation_id(store: Store, proposed: str) -> str:
    """By which containers, volumes and networks are named, so that every manager finds those that
    another one made. The first manager's own id, for ever: one that was alone keeps its names.

    Raises:
        StoreError: the store cannot be used, or what it says is damaged.
    """
    kept = store.get(INSTALLATION_KEY)
    if kept is None:
        try:
            store.put(INSTALLATION_KEY, _Installation(id=proposed).model_dump_json(), 0)
            return proposed
        except StaleVersionError:  # another manager was quicker
            kept = store.get(INSTALLATION_KEY)
    try:
        return _Installation.model_validate_json(kept.value if kept else "").id
    except ValidationError:
        raise StoreError(
            f"the row '{INSTALLATION_KEY}' in the store is damaged, so nobody knows what the"
            " containers are called: put it back from a backup (docs/repair.md)",
            permanent=True,
        ) from None
