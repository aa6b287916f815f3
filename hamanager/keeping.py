"""Where things lie in the store, and how they are written down there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hamanager.contracts.store import Store
from hamanager.values.service import ServiceContext, ServiceRecord, Wish

_ROOT = "services/"


def wish_key(name: str) -> str:
    """What the user wants of that service; it exists as long as this key does."""
    return f"{_ROOT}{name}/wish"


def record_key(name: str) -> str:
    """What the loop has done for it."""
    return f"{_ROOT}{name}/record"


def secrets_key(name: str) -> str:
    """Its passwords and keys."""
    return f"{_ROOT}{name}/secrets"


def lock_key(name: str) -> str:
    """Which manager acts on it."""
    return f"{_ROOT}{name}/lock"


def service_names(store: Store) -> Sequence[str]:
    """All services, sorted."""
    return [key.split("/")[1] for key in store.keys(_ROOT) if key.endswith("/wish")]


def load_wish(store: Store, name: str) -> tuple[Wish, int] | None:
    """The wish and its version; None when there is no such service."""
    kept = store.get(wish_key(name))
    return (Wish.model_validate_json(kept.value), kept.version) if kept else None


def save_wish(store: Store, wish: Wish, expected: int) -> int:
    """Write the wish if its version still is `expected`; returns the new version."""
    return store.put(wish_key(wish.name), wish.model_dump_json(), expected)


def load_record(store: Store, name: str) -> tuple[ServiceRecord, int]:
    """The record and its version; an empty one of version 0 when nothing was done yet."""
    kept = store.get(record_key(name))
    return (
        (ServiceRecord.model_validate_json(kept.value), kept.version)
        if kept
        else (ServiceRecord(), 0)
    )


def save_record(store: Store, name: str, record: ServiceRecord, expected: int) -> int:
    """Write the record if its version still is `expected`; returns the new version."""
    return store.put(record_key(name), record.model_dump_json(), expected)


def load_secrets(store: Store, name: str) -> dict[str, str]:
    """The secrets; none when the service is not (or no longer) there."""
    kept = store.get(secrets_key(name))
    return dict(json.loads(kept.value)) if kept else {}


def load_context(store: Store, wish: Wish) -> ServiceContext:
    """The service as drivers need it."""
    return ServiceContext(
        wish.name,
        wish.engine,
        wish.memory_bytes,
        load_secrets(store, wish.name),
        wish.port,
        wish.health_path,
    )


def save_secrets(store: Store, name: str, secrets: Mapping[str, str], expected: int) -> int:
    """Write the secrets if their version still is `expected`; returns the new version."""
    return store.put(secrets_key(name), json.dumps(dict(secrets)), expected)
