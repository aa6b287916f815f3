"""The files of a server that encrypts, and how its clients here verify it."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any

from hamanager.contracts.driver import FILES_DIRECTORY, FileContent
from hamanager.errors import BusyError
from hamanager.model.encryption import Encryption, identity
from hamanager.model.service import ServiceContext, Target

AUTHORITIES = f"{FILES_DIRECTORY}/ca.pem"
CERTIFICATE = f"{FILES_DIRECTORY}/server.pem"
KEY = f"{FILES_DIRECTORY}/server.key"
BOTH = f"{FILES_DIRECTORY}/server-both.pem"
"""Certificate and key in one file, for programs that want it so."""
CLIENT_AUTHORITIES = "ca.pem"
"""As URLs call the file that `hamanager ca show` prints."""


FILE_NAMES = frozenset(("ca.pem", "server.pem", "server.key", "server-both.pem"))


def certificate_files(encryption: Encryption | None) -> dict[str, FileContent]:
    """By name, for `LaunchSpec.files`."""
    if encryption is None:
        return {}
    return {
        "ca.pem": FileContent(encryption.trusted),
        "server.pem": FileContent(encryption.certificate),
        "server.key": FileContent(encryption.key),
        "server-both.pem": FileContent(encryption.certificate + encryption.key),
    }


def distrusted(error: BaseException) -> bool:
    """Whether something answered and could not prove that it is a server of the service: that says
    nothing of whether the server lives."""
    present: BaseException | None = error
    for _ in range(10):
        if present is None:
            break
        if isinstance(present, ssl.SSLCertVerificationError):
            return True
        present = present.__cause__ or present.__context__
    return False


def distrust(target: Target) -> BusyError:
    """What is said of it."""
    return BusyError(
        f"what answers at {target.address} shows a certificate that is not {target.name}'s, or has"
        " expired; it is asked nothing"
    )


def client_context(service: ServiceContext) -> ssl.SSLContext | None:
    """How the manager verifies that service's servers: by authority, and by the service's identity
    instead of an address, so that a certificate which lacks one can be replaced."""
    if service.encryption is None:
        return None
    return _context(service.encryption.trusted, identity(service.name))


@lru_cache(maxsize=256)
def _context(trusted: str, name: str) -> ssl.SSLContext:
    context = _Identifying(ssl.PROTOCOL_TLS_CLIENT)
    context.identity = name
    context.load_verify_locations(cadata=trusted)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Identifying(ssl.SSLContext):
    """Expects a name of its own, whatever address is connected to."""

    identity = ""

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """As ever, and with that name."""
        return super().wrap_socket(*arguments, **{**named, "server_hostname": self.identity})
