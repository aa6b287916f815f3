"""The API's part about who is let in: tokens and certificates."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from hamanager.api.credentials import AuthorityView, IssuedView, TokenView
from hamanager.authority.authority import Authority, Trust
from hamanager.authority.certificates import Certified, Wanted, described
from hamanager.daemon.certificates import Certificates
from hamanager.daemon.documented import problems
from hamanager.daemon.tokens import Tokens
from hamanager.errors import ConflictError, UsageError
from hamanager.model.access import AccessRole

TAGS: list[str | Enum] = ["access"]


class CredentialsPort(Protocol):
    """What these routes need of the daemon."""

    @property
    def tokens(self) -> Tokens:
        """All tokens."""
        ...

    @property
    def authority(self) -> Authority:
        """Makes certificates."""
        ...

    @property
    def certificates(self) -> Certificates:
        """Those of encrypted services."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TokenBody(_Body):
    """A new token."""

    name: str
    role: AccessRole
    days: int | None = None


class NewToken(BaseModel):
    """What lets its owner in."""

    token: str = Field(repr=False)


class Revoked(BaseModel):
    """It lets nobody in any more."""

    revoked: str


class CertificateBody(_Body):
    """A new certificate."""

    name: str
    hosts: list[str] = []
    role: AccessRole | None = None
    days: int = 365


class RotationBody(_Body):
    """A step in the change of the authority; with an operator's own one, that begins to be it."""

    finish: bool = False
    certificate: str | None = None
    key: str | None = None


def add_credentials(app: FastAPI, manager: CredentialsPort) -> None:
    """The routes."""

    @app.get("/v1/tokens", tags=TAGS)
    def tokens() -> list[TokenView]:
        """All tokens, without what lets their owners in."""
        return [TokenView(**token.model_dump()) for token in manager.tokens.all()]

    @app.post("/v1/tokens", status_code=201, tags=TAGS, responses=problems(409))
    def create_token(body: TokenBody) -> NewToken:
        """Make a token; it is told this once."""
        return NewToken(token=manager.tokens.create(body.name, body.role, body.days))

    @app.delete("/v1/tokens/{name}", tags=TAGS, responses=problems(404))
    def revoke_token(name: str) -> Revoked:
        """Revoke a token: from the next request on it lets nobody in."""
        manager.tokens.revoke(name)
        return Revoked(revoked=name)

    @app.get("/v1/authority", tags=TAGS)
    def authority() -> AuthorityView:
        """The installation's certificate authority."""
        return _view(manager.authority.trust())

    @app.post("/v1/certificates", status_code=201, tags=TAGS)
    def issue(body: CertificateBody) -> IssuedView:
        """Make a certificate; its key is told this once."""
        if not body.hosts and body.role is None:
            raise UsageError(
                "what is the certificate for? Name the hosts of a server (--host), the role of a"
                " client (--role), or both"
            )
        wanted = Wanted(body.name, tuple(body.hosts), body.role, body.days)
        made = manager.authority.issue(wanted)
        trusted = manager.authority.trust().bundle
        return IssuedView(
            certificate=made.certificate,
            key=made.key,
            authority=trusted,
            ends_at=described(made.certificate).ends_at,
        )

    @app.post("/v1/authority/rotation", tags=TAGS, responses=problems(409))
    def rotate(body: RotationBody) -> AuthorityView:
        """Change the certificate authority, step by step."""
        own = None
        if body.certificate is not None and body.key is not None:
            own = Certified(body.certificate, body.key)
        if body.finish:
            if behind := manager.certificates.behind():
                raise ConflictError(
                    f"servers of {', '.join(behind)} do not use certificates of the new authority"
                    " yet: try again in a moment (a server that runs and does not answer has to be"
                    " restarted first); nothing was changed"
                )
            return _view(manager.authority.finish_rotation())
        return _view(manager.authority.begin_rotation(own))


def _view(trust: Trust) -> AuthorityView:
    found = described(trust.signer.certificate)
    if trust.upcoming is not None:
        stage = "a new authority is trusted beside the one that signs"
    elif trust.former is not None:
        stage = "the new authority signs; the former one is still trusted"
    else:
        stage = ""
    return AuthorityView(
        certificates=trust.bundle,
        name=found.name,
        fingerprint=found.fingerprint,
        ends_at=found.ends_at,
        rotation=stage,
    )
