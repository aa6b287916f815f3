"""What the servers of a service prove to each other and to their clients who they are with."""

from __future__ import annotations

import hashlib

from pydantic import Field

from hamanager.model.frozen import Frozen


def identity(service: str) -> str:
    """The name by which the manager knows that service's servers, wherever they are: it is in their
    certificate and in no other service's."""
    return f"{service}.hamanager"


class Encryption(Frozen):
    """Of a service whose connections are encrypted; all of it is PEM."""

    trusted: str
    """The authorities whose certificates are believed."""
    certificate: str
    """Of every server of the service: it is made out to all hosts on which one may run."""
    key: str = Field(repr=False)
    hosts: tuple[str, ...] = ()
    """To whom the certificate is made out."""
    spread: str = ""
    """The fingerprint of what every server that runs is known to use."""

    @property
    def fingerprint(self) -> str:
        """Differs when anything does that servers use."""
        text = f"{self.trusted}\0{self.certificate}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def trusting(self, trusted: str) -> Encryption:
        """The same certificate, and other authorities to believe."""
        return self._with(trusted=trusted)

    def spread_everywhere(self) -> Encryption:
        """Every server that runs uses it."""
        return self._with(spread=self.fingerprint)
