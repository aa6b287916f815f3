"""Tokens that let callers in: shown once, kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, NotFoundError, StaleVersionError, StoreError, UsageError
from hamanager.formats import moment
from hamanager.model.access import AccessRole, Caller

_ROOT = "tokens/"
PREFIX = "hamanager"
SECRET_BYTES = 32
DAY_SECONDS = 86400.0
LONGEST_DAYS = 3650
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class NotLetInError(Exception):
    """Nobody that is known; a sentence without an end says why."""


class Token(BaseModel):
    """What is kept of one, beside its hash."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: AccessRole
    made_at: float
    """Seconds since the epoch, as is the next."""
    expires_at: float | None = None


class _Row(Token):
    hash: str
    """SHA-256 of the whole token; with 256 random bits in it nothing slower is needed."""


class Tokens:
    """All tokens of the installation. Thread-safe."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[str, _Row | None] = {}
        self._lock = threading.Lock()

    def create(self, name: str, role: AccessRole, days: int | None = None) -> str:
        """A new token; it cannot be shown again.

        Raises:
            UsageError: the name or the time cannot be.
            ConflictError: there is one of that name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' is no name for a token: use up to 63 small letters, digits and dashes,"
                " a letter first"
            )
        if days is not None and not 1 <= days <= LONGEST_DAYS:
            raise UsageError(f"a token lasts 1 to {LONGEST_DAYS} days, not {days}")
        text = f"{PREFIX}.{name}.{secrets.token_urlsafe(SECRET_BYTES)}"
        now = self._clock.now()
        row = _Row(
            name=name,
            role=role,
            made_at=now,
            expires_at=None if days is None else now + days * DAY_SECONDS,
            hash=_hash(text),
        )
        try:
            self._store.put(_ROOT + name, row.model_dump_json(), 0)
        except StaleVersionError:
            raise ConflictError(
                f"there is a token '{name}' already: `hamanager token revoke {name}` first, or take"
                " another name; nothing was changed"
            ) from None
        return text

    def all(self) -> Sequence[Token]:
        """What is known of each, by name."""
        found = [self._row(key.removeprefix(_ROOT)) for key in self._store.keys(_ROOT)]
        return [Token(**row.model_dump(exclude={"hash"})) for row in found if row is not None]

    def revoke(self, name: str) -> None:
        """From now on it lets nobody in.

        Raises:
            NotFoundError: there is none of that name.
        """
        kept = self._store.get(_ROOT + name)
        if kept is None:
            raise NotFoundError(f"there is no token '{name}': `hamanager token list` shows all")
        self._store.delete(_ROOT + name, kept.version)

    def owner(self, text: str) -> Caller:
        """Whose token that is.

        Raises:
            NotLetInError: nobody's, or it has expired.
        """
        parts = text.split(".")
        if len(parts) != 3 or parts[0] != PREFIX or not _NAME.fullmatch(parts[1]):
            raise NotLetInError("that is no token of hamanager")
        row = self._last_known(parts[1])
        if row is None or not hmac.compare_digest(row.hash, _hash(text)):
            raise NotLetInError(f"the token '{parts[1]}' is unknown here, or was revoked")
        if row.expires_at is not None and row.expires_at <= self._clock.now():
            raise NotLetInError(f"the token '{row.name}' has expired {moment(row.expires_at)}")
        return Caller(f"token {row.name}", row.role)

    def _last_known(self, name: str) -> _Row | None:
        """As the store has it; while that is away, as it was: then nobody can revoke one either."""
        try:
            row = self._row(name)
        except StoreError:
            with self._lock:
                if name in self._seen:
                    return self._seen[name]
            raise
        with self._lock:
            if row is not None or name in self._seen:  # strangers' names are not kept
                self._seen[name] = row
        return row

    def _row(self, name: str) -> _Row | None:
        kept = self._store.get(_ROOT + name)
        if kept is None:
            return None
        try:
            return _Row.model_validate_json(kept.value)
        except ValidationError:
            raise StoreError(
                f"the row '{_ROOT}{name}' in the store is damaged: `hamanager token revoke {name}`"
                " and make another one"
            ) from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
