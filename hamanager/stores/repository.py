"""Where things lie in the store, and how they are written down there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from hamanager.contracts.store import Store
from hamanager.errors import UnmanageableError
from hamanager.model.host import Host
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.spec import Spec

_ROOT = "services/"
_HOSTS = "hosts/"
_SECRETS = TypeAdapter(dict[str, str])


def spec_key(name: str) -> str:
    """What the user wants of that service; it exists as long as this key does."""
    return f"{_ROOT}{name}/wish"  # the word that it was first written down under


def record_key(name: str) -> str:
    """What the loop has done for it."""
    return f"{_ROOT}{name}/record"


def secrets_key(name: str) -> str:
    """Its passwords and keys."""
    return f"{_ROOT}{name}/secrets"


def lock_key(name: str) -> str:
    """Which manager acts on it."""
    return f"{_ROOT}{name}/lock"


def host_key(name: str) -> str:
    """What is kept about that host."""
    return f"{_HOSTS}{name}"


def load_hosts(store: Store) -> Sequence[Host]:
    """All hosts on record, by name.

    Raises:
        UnmanageableError: one of them is damaged.
    """
    found = []
    for key in store.keys(_HOSTS):
        kept = store.get(key)
        if kept is None:
            continue
        try:
            found.append(Host.model_validate_json(kept.value))
        except ValidationError:
            # Nothing of what it says: that would hold a part of its key.
            raise UnmanageableError(
                f"what is kept about a host is damaged, in the row '{key}' of the store: put that"
                " row back from a backup (docs/repair.md)"
            ) from None
    return found


def service_names(store: Store) -> Sequence[str]:
    """All services, sorted."""
    return [key.split("/")[1] for key in store.keys(_ROOT) if key.endswith("/wish")]


def load_spec(store: Store, name: str) -> tuple[Spec, int] | None:
    """The spec and its version; None when there is no such service.

    Raises:
        UnmanageableError: it is damaged.
    """
    kept = store.get(spec_key(name))
    if kept is None:
        return None
    try:
        return Spec.model_validate_json(kept.value), kept.version
    except ValidationError:
        raise _damaged(name, "spec", spec_key(name)) from None


def save_spec(store: Store, spec: Spec, expected: int) -> int:
    """Write the spec if its version still is `expected`; returns the new version."""
    return store.put(spec_key(spec.name), spec.model_dump_json(), expected)


def load_record(store: Store, name: str) -> tuple[ServiceRecord, int]:
    """The record and its version; an empty one of version 0 when nothing was done yet.

    Raises:
        UnmanageableError: it is damaged.
    """
    kept = store.get(record_key(name))
    if kept is None:
        return ServiceRecord(), 0
    try:
        return ServiceRecord.model_validate_json(kept.value), kept.version
    except ValidationError:
        raise _damaged(name, "record", record_key(name)) from None


def save_record(store: Store, name: str, record: ServiceRecord, expected: int) -> int:
    """Write the record if its version still is `expected`; returns the new version."""
    return store.put(record_key(name), record.model_dump_json(), expected)


def load_secrets(store: Store, name: str) -> dict[str, str]:
    """The secrets; none when the service is not (or no longer) there.

    Raises:
        UnmanageableError: they are damaged.
    """
    kept = store.get(secrets_key(name))
    if kept is None:
        return {}
    try:
        return _SECRETS.validate_json(kept.value)
    except ValidationError:
        # Nothing of what it says: that would hold a part of the secrets.
        raise _damaged(name, "secrets", secrets_key(name)) from None


def load_context(store: Store, spec: Spec) -> ServiceContext:
    """The service as drivers need it."""
    return ServiceContext(
        spec.name,
        spec.engine,
        spec.memory_bytes,
        load_secrets(store, spec.name),
        spec.port,
        spec.health_path,
    )


def save_secrets(store: Store, name: str, secrets: Mapping[str, str], expected: int) -> int:
    """Write the secrets if their version still is `expected`; returns the new version."""
    return store.put(secrets_key(name), json.dumps(dict(secrets)), expected)


def load_whole(store: Store, name: str, engines: Collection[str]) -> Spec | None:
    """The spec of a service that can be managed; None when there is no such service.

    Raises:
        UnmanageableError: one of its rows is damaged, or its engine is none of these.
    """
    loaded = load_spec(store, name)
    if loaded is None:
        return None
    spec, _ = loaded
    if spec.engine not in engines:
        raise UnmanageableError(
            f"'{name}' is of the engine '{spec.engine}', which this hamanager does not know"
            f" ({', '.join(sorted(engines))}): {_repair(name, 'run the one that does')}"
        )
    load_record(store, name)
    load_secrets(store, name)
    return spec


def forget_service(store: Store, name: str) -> None:
    """Delete everything about it except its history, the spec last: while that is there, a manager
    that died half-way finishes the job."""
    for key in (record_key(name), secrets_key(name), lock_key(name), spec_key(name)):
        kept = store.get(key)
        if kept is not None:
            store.delete(key, kept.version)


def _damaged(name: str, what: str, key: str) -> UnmanageableError:
    return UnmanageableError(
        f"the {what} of '{name}' cannot be read, its row '{key}' in the store is damaged:"
        f" {_repair(name, 'put that row back from a backup (docs/repair.md)')}"
    )


def _repair(name: str, cure: str) -> str:
    return (
        f"nobody watches over its servers, which were left as they are; {cure}, or remove the"
        f" service and its data with `hamanager destroy {name}`"
    )
