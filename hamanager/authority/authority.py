"""The authority as it lies in the store: who signs, and whom everybody trusts.

The key lies there too: who can read the store has the databases' passwords already. A change of
authority has three steps, so that nobody is refused at any time: a new one is trusted beside the
old one; then it signs; then the old one is trusted no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hamanager.authority.certificates import (
    Certified,
    Wanted,
    bundle,
    checked_authority,
    issue,
    new_authority,
    signed_by,
)
from hamanager.authority.signatures import signed
from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, StaleVersionError, StoreError

KEY = "ca/authority"
TRIES = 10


class Signer(BaseModel):
    """An authority's certificate and key, PEM."""

    model_config = ConfigDict(frozen=True)

    certificate: str
    key: str = Field(repr=False)

    @classmethod
    def of(cls, found: Certified) -> Signer:
        """To be written down."""
        return cls(certificate=found.certificate, key=found.key)

    @property
    def certified(self) -> Certified:
        """To sign with."""
        return Certified(self.certificate, self.key)


class Trust(BaseModel):
    """The row. `signer` makes certificates; `others` are trusted beside it."""

    model_config = ConfigDict(frozen=True)

    signer: Signer
    upcoming: Signer | None = None
    """Trusted already; signs from the next step on."""
    former: str | None = None
    """Trusted until the change is finished."""

    @property
    def bundle(self) -> str:
        """All certificates that are trusted now, PEM."""
        found = [self.signer.certificate]
        if self.upcoming is not None:
            found.append(self.upcoming.certificate)
        if self.former is not None:
            found.append(self.former)
        return bundle(found)


class Authority:
    """Makes certificates, and changes who makes them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def trust(self) -> Trust:
        """Who signs and who is trusted; the first to ask makes the authority."""
        found = self.known()
        if found is not None:
            return found
        made = Trust(signer=Signer.of(self._new()))
        try:
            self._store.put(KEY, made.model_dump_json(), 0)
        except StaleVersionError:
            found = self.known()
            if found is None:
                raise
            return found
        return made

    def known(self) -> Trust | None:
        """The same, or None as long as there is no authority."""
        kept = self._store.get(KEY)
        return None if kept is None else _read(kept.value)

    def issue(self, wanted: Wanted) -> Certified:
        """A certificate of the authority that signs now.

        Raises:
            UsageError: it cannot be what is wanted.
        """
        return issue(self.trust().signer.certified, wanted, self._clock.now())

    @staticmethod
    def sign(document: bytes, signer: Signer) -> bytes:
        """That authority's signature under a document.

        Raises:
            UsageError: its key signs none.
        """
        return signed(signer.key, document)

    def signs(self, certificate: str) -> bool:
        """Whether that certificate was made by the authority that signs now."""
        return signed_by(certificate, self.trust().signer.certificate)

    def begin_rotation(self, own: Certified | None = None) -> Trust:
        """A new authority (or the operator's own) is trusted beside the present one.

        Raises:
            ConflictError: a change is under way.
            UsageError: the operator's own cannot sign.
        """
        upcoming = self._new() if own is None else checked_authority(own, self._clock.now())

        def begin(trust: Trust) -> Trust:
            if trust.upcoming is not None or trust.former is not None:
                raise ConflictError(
                    "a change of the authority is under way: finish it with `hamanager ca rotate"
                    " --finish`; nothing was changed"
                )
            return Trust(signer=trust.signer, upcoming=Signer.of(upcoming))

        return self._change(begin)

    def sign_anew(self) -> Trust:
        """From now on the new authority signs; both are trusted."""

        def take_over(trust: Trust) -> Trust:
            if trust.upcoming is None:
                return trust
            former = trust.signer.certificate
            return Trust(signer=trust.upcoming, former=former)

        return self._change(take_over)

    def finish_rotation(self) -> Trust:
        """The old authority is trusted no more.

        Raises:
            ConflictError: there is no change, or the new authority does not sign yet.
        """

        def finish(trust: Trust) -> Trust:
            if trust.upcoming is not None:
                raise ConflictError(
                    "the new authority does not sign yet: wait until `hamanager ca show` says that"
                    " it does; nothing was changed"
                )
            if trust.former is None:
                raise ConflictError(
                    "no change of the authority is under way: `hamanager ca rotate` begins one"
                )
            return Trust(signer=trust.signer)

        return self._change(finish)

    def _change(self, change: Callable[[Trust], Trust]) -> Trust:
        self.trust()
        for _ in range(TRIES):
            kept = self._store.get(KEY)
            if kept is None:
                break
            present = _read(kept.value)
            changed = change(present)
            if changed == present:
                return present
            try:
                self._store.put(KEY, changed.model_dump_json(), kept.version)
            except StaleVersionError:
                continue
            return changed
        raise StaleVersionError("the authority is being changed by others all the time: try again")

    def _new(self) -> Certified:
        # A name of its own: two of the same name are told apart by some programs only.
        return new_authority(f"hamanager {secrets.token_hex(4)}", self._clock.now())


def _read(value: str) -> Trust:
    try:
        return Trust.model_validate_json(value)
    except ValidationError:
        # Nothing of what it says: that would hold a part of the key.
        raise StoreError(
            f"the certificate authority cannot be read, its row '{KEY}' in the store is damaged:"
            " put it back from a backup (docs/repair.md)"
        ) from None
