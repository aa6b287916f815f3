"""Where things lie in the store, and how they are written down there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from pydantic import BaseModel, TypeAdapter, ValidationError

from hamanager.contracts.endpoint import Listener
from hamanager.contracts.routes import Told, Word
from hamanager.contracts.store import Reader, Store, Versioned
from hamanager.errors import UnmanageableError
from hamanager.model.drill import KEY as DRILL_SCHEDULES
from hamanager.model.encryption import Encryption
from hamanager.model.host import Host
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.spec import Spec

_ROOT = "services/"
REMEMBERED = 1024
"""Texts of each kind: of so many services, or a few of each."""
_HOSTS = "hosts/"
ROUTES = "routes/"
"""Apart from the rest, so that whoever follows them hears of nothing else."""
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


def encryption_key(name: str) -> str:
    """What its servers encrypt with."""
    return f"{_ROOT}{name}/encryption"


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


def drill_schedule_key(name: str) -> str:
    """When it is drilled."""
    return f"{DRILL_SCHEDULES}{name}"


def routes_key(name: str) -> str:
    """Where its clients are led, while somebody follows that."""
    return f"{ROUTES}{name}"


def service_names(store: Store) -> Sequence[str]:
    """All services, sorted."""
    return [key.split("/")[1] for key in store.keys(_ROOT) if key.endswith("/wish")]


class _Moment:
    """What a part of the store was at one moment."""

    def __init__(self, values: Mapping[str, Versioned]) -> None:
        self._values = values

    def get(self, key: str) -> Versioned | None:
        return self._values.get(key)


def at_one_moment(store: Store, name: str) -> Reader:
    """All rows of that service, read in one go."""
    return _Moment(store.changed(f"{_ROOT}{name}/", 0))


def load_spec(store: Reader, name: str) -> tuple[Spec, int] | None:
    """The spec and its version; None when there is no such service.

    Raises:
        UnmanageableError: it is damaged.
    """
    kept = store.get(spec_key(name))
    if kept is None:
        return None
    try:
        return _spec(kept.value), kept.version
    except ValidationError:
        raise _damaged(name, "spec", spec_key(name)) from None


def save_spec(store: Store, spec: Spec, expected: int) -> int:
    """Write the spec if its version still is `expected`; returns the new version."""
    return store.put(spec_key(spec.name), spec.model_dump_json(), expected)


def load_record(store: Reader, name: str) -> tuple[ServiceRecord, int]:
    """The record and its version; an empty one of version 0 when nothing was done yet.

    Raises:
        UnmanageableError: it is damaged.
    """
    kept = store.get(record_key(name))
    if kept is None:
        return ServiceRecord(), 0
    try:
        return _record(kept.value), kept.version
    except ValidationError:
        raise _damaged(name, "record", record_key(name)) from None


def save_record(store: Store, name: str, record: ServiceRecord, expected: int) -> int:
    """Write the record if its version still is `expected`; returns the new version."""
    return store.put(record_key(name), record.model_dump_json(), expected)


def load_secrets(store: Reader, name: str) -> dict[str, str]:
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


def load_context(store: Reader, spec: Spec) -> ServiceContext:
    """The service as drivers need it."""
    return ServiceContext(
        spec.name,
        spec.engine,
        spec.memory_bytes,
        load_secrets(store, spec.name),
        spec.port,
        spec.health_path,
        _encryption_of(store, spec),
    )


def _encryption_of(store: Reader, spec: Spec) -> Encryption | None:
    """An encrypted service never starts a server in clear because a row was lost."""
    if not spec.encrypted:
        return None
    found, _ = load_encryption(store, spec.name)
    if found is None and not spec.destroy:
        raise _damaged(spec.name, "certificate", encryption_key(spec.name))
    return found


def load_encryption(store: Reader, name: str) -> tuple[Encryption | None, int]:
    """What its servers encrypt with, and its version; None and 0 when there is nothing.

    Raises:
        UnmanageableError: it is damaged.
    """
    kept = store.get(encryption_key(name))
    if kept is None:
        return None, 0
    try:
        return Encryption.model_validate_json(kept.value), kept.version
    except ValidationError:
        # Nothing of what it says: that would hold a part of the key.
        raise _damaged(name, "certificate", encryption_key(name)) from None


def save_encryption(store: Store, name: str, encryption: Encryption, expected: int) -> int:
    """Write it if its version still is `expected`; returns the new version."""
    return store.put(encryption_key(name), encryption.model_dump_json(), expected)


def save_secrets(store: Store, name: str, secrets: Mapping[str, str], expected: int) -> int:
    """Write the secrets if their version still is `expected`; returns the new version."""
    return store.put(secrets_key(name), json.dumps(dict(secrets)), expected)


class _Routes(BaseModel):
    listeners: tuple[Listener, ...]


def load_routes(store: Store, name: str) -> Word | None:
    """What is written down of that service. One that is damaged leads nobody anywhere."""
    kept = store.get(routes_key(name))
    if kept is None:
        return None
    listeners: tuple[Listener, ...] = ()
    with suppress(ValidationError):
        listeners = _Routes.model_validate_json(kept.value).listeners
    return Word(version=kept.version, listeners=listeners)


def save_routes(store: Store, name: str, listeners: Sequence[Listener], expected: int) -> int:
    """Write down where its clients are led if that still has the version `expected`; returns the
    new version."""
    written = _Routes(listeners=tuple(listeners)).model_dump_json()
    return store.put(routes_key(name), written, expected)


def read_routes(store: Store, after: int, seconds: float) -> Told:
    """What was written down later than that version; waits for it so long at the most. A row that
    is damaged is passed over: what is known of that service goes on being so."""
    version = store.wait(ROUTES, after, seconds) if seconds else store.version()
    names = frozenset(key[len(ROUTES) :] for key in store.keys(ROUTES))
    words = {}
    for key, kept in store.changed(ROUTES, after if after <= version else 0).items():
        # What was written meanwhile is for the next time: until here nothing is missing.
        if kept.version <= version:
            with suppress(ValidationError):
                found = _Routes.model_validate_json(kept.value)
                words[key[len(ROUTES) :]] = Word(version=kept.version, listeners=found.listeners)
    return Told(after=after, version=version, services=names, words=words)


def load_whole(store: Store, name: str, engines: Collection[str]) -> Spec | None:
    """The spec of a service that can be managed; None when there is no such service.

    Raises:
        UnmanageableError: one of its rows is damaged, or its engine is none of these.
    """
    kept = at_one_moment(store, name)
    loaded = load_spec(kept, name)
    if loaded is None:
        return None
    spec, _ = loaded
    if spec.engine not in engines:
        raise UnmanageableError(
            f"'{name}' is of the engine '{spec.engine}', which this hamanager does not know"
            f" ({', '.join(sorted(engines))}): {_repair(name, 'run the one that does')}"
        )
    load_record(kept, name)
    load_secrets(kept, name)
    _encryption_of(kept, spec)
    return spec


def forget_service(store: Store, name: str) -> None:
    """Delete everything about it except its history, the spec last: while that is there, a manager
    that died half-way finishes the job."""
    secret = (secrets_key(name), encryption_key(name))
    others = (routes_key(name), drill_schedule_key(name), lock_key(name))
    for key in (record_key(name), *secret, *others, spec_key(name)):
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


# Most of what is read has been read a moment ago: the same text is the same (frozen) value.


@lru_cache(maxsize=REMEMBERED)
def _spec(text: str) -> Spec:
    return Spec.model_validate_json(text)


@lru_cache(maxsize=REMEMBERED)
def _record(text: str) -> ServiceRecord:
    return ServiceRecord.model_validate_json(text)
