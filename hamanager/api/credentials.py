"""What the API says about tokens and certificates."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from hamanager.model.access import AccessRole


class _View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class TokenView(_View):
    """A token, without what lets its owner in."""

    name: str
    role: AccessRole
    made_at: float
    """Seconds since the epoch, as is the next."""
    expires_at: float | None = None


class AuthorityView(_View):
    """The installation's certificate authority."""

    certificates: str
    """All that are trusted, PEM."""
    name: str
    fingerprint: str
    """SHA-256 of the one that signs."""
    ends_at: float
    rotation: str
    """How far a change of it is; '' when there is none."""


class IssuedView(_View):
    """A new certificate; its key is kept by nobody else."""

    certificate: str
    key: str = Field(repr=False)
    authority: str
    """All authorities that are trusted, PEM."""
    ends_at: float
