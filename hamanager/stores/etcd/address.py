"""Which etcd is meant, and how one is admitted there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hamanager.errors import UsageError

PORT = 2379
PREFIX = "hamanager"
EXAMPLE = "etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/hamanager"

CA = "HAMANAGER_STORE_CA"
CERTIFICATE = "HAMANAGER_STORE_CERT"
KEY = "HAMANAGER_STORE_KEY"
USER = "HAMANAGER_STORE_USER"
PASSWORD = "HAMANAGER_STORE_PASSWORD"  # noqa: S105 - a name
PASSWORD_FILE = "HAMANAGER_STORE_PASSWORD_FILE"  # noqa: S105 - likewise


@dataclass(frozen=True)
class EtcdAddress:
    """The members, what is ours in it, and how one is admitted."""

    endpoints: tuple[str, ...]
    """`http://HOST:PORT` each."""
    prefix: str
    """Of all keys; another installation on the same etcd has another one."""
    compacts: bool = True
    """Whether old versions are let go of by hamanager."""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        members = ",".join(endpoint.partition("://")[2] for endpoint in self.endpoints)
        return f"etcd://{members}/{self.prefix}"


def parse(url: str, environment: Mapping[str, str]) -> EtcdAddress:
    """From the URL and, as they are nobody else's business, certificates, user and password from
    the environment.

    Raises:
        UsageError: one of them is wrong.
    """
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong(url, "it cannot be read") from None
    if parts.scheme not in ("etcd", "etcds"):
        raise _wrong(url, "it does not begin with etcd:// or etcds://")
    if "@" in parts.netloc:
        raise UsageError(
            "the store's URL holds a user or password, which every user of this machine could"
            f" read: set {USER} and {PASSWORD_FILE} instead"
        )
    prefix = parts.path.strip("/") or PREFIX
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", prefix):
        raise _wrong(url, f"the prefix '{prefix}' is not made of letters, digits, '.', '_', '-'")
    if set(options) - {"compact"} or options.get("compact", ["yes"])[-1] not in ("yes", "no"):
        raise _wrong(url, "'?compact=no' alone may follow the prefix")
    ca, certificate, key = (_file(environment, name) for name in (CA, CERTIFICATE, KEY))
    if (certificate is None) != (key is None):
        raise UsageError(f"a client certificate has two files: set both {CERTIFICATE} and {KEY}")
    scheme = "https" if parts.scheme == "etcds" or ca or certificate else "http"
    members = tuple(f"{scheme}://{_member(url, m)}" for m in parts.netloc.split(","))
    user, password = environment.get(USER, ""), _password(environment)
    if bool(user) != bool(password):
        raise UsageError(
            f"the user of etcd has a name and a password: set both {USER} and {PASSWORD_FILE}"
            f" (or {PASSWORD})"
        )
    return EtcdAddress(
        members,
        prefix,
        options.get("compact", ["yes"])[-1] == "yes",
        ca,
        certificate,
        key,
        user,
        password,
    )


def _member(url: str, text: str) -> str:
    """`HOST:PORT`, the port filled in."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        raise _wrong(url, f"'{text}' is not HOST or HOST:PORT") from None
    if not host or parts.path or parts.query:
        raise _wrong(url, f"'{text}' is not HOST or HOST:PORT")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _file(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    return Path(text).expanduser().absolute() if text else None


def _password(environment: Mapping[str, str]) -> str:
    path = _file(environment, PASSWORD_FILE)
    if path is None:
        return environment.get(PASSWORD, "")
    try:
        return path.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"the password file {path} cannot be read: {reason}") from None


def _wrong(url: str, why: str) -> UsageError:
    return UsageError(f"the store '{url}' is not a URL of etcd ({why}): it looks like {EXAMPLE}")
