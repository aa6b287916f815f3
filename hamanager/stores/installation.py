"""The installation: all managers on one store, and what they have in common."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, StaleVersionError, StoreError

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


def remember(path: Path, installation: str, former: str) -> None:
    """Keep in a file of the state directory which installation its manager belongs to. `former` is
    known from elsewhere, or ''.

    Raises:
        ConflictError: it belongs to another one, which could happen to name the same store.
        StoreError: the file cannot be used.
    """
    try:
        former = path.read_text().strip() if path.exists() else former
        if former and former != installation:
            raise ConflictError(
                f"this state directory belongs to the installation {former}, and the store to"
                f" {installation}: name another store, or another prefix in it, or another"
                " HAMANAGER_HOME; nothing was started"
            )
        path.write_text(f"{installation}\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error.strerror}") from error
