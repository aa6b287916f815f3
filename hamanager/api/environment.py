"""The connection of a service as variables, as dotCloud gave them to applications."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import threading
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from hamanager.errors import UsageError

PREFIX, DOTCLOUD_PREFIX = "HAMANAGER", "DOTCLOUD"

log = logging.getLogger("hamanager")

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class ConnectionView(BaseModel):
    """How applications connect to a service."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    service: str
    engine: str
    url: str = Field(repr=False)
    """With the password."""
    host: str | None
    port: int | None
    """Null, as the host, where the URL names several servers."""
    login: str
    password: str = Field(repr=False)
    database: str
    kind: str = ""
    """What its variables are named after, where that is not the engine."""
    reads_url: str | None = Field(default=None, repr=False)
    """Leads to the standbys; null when no address for reading is wanted."""
    reads_port: int | None = None


def at_address(connection: ConnectionView, host: str) -> ConnectionView:
    """The same on another machine that has the service's addresses. Where the URL names all servers
    there are none, and it holds everywhere.

    Raises:
        UsageError: that is no host.
    """
    if not _HOST.fullmatch(host):
        raise UsageError(f"'{host}' is no address: write a name or an IP address, without a port")
    if connection.host is None:
        return connection
    reads = connection.reads_url
    moved = {
        "host": host,
        "url": _moved(connection.url, host),
        "reads_url": None if reads is None else _moved(reads, host),
    }
    return ConnectionView(**{**dict(connection), **moved})


def _moved(url: str, host: str) -> str:
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}{host}:{parts.port}").geturl()


class Format(StrEnum):
    """How variables are printed."""

    SHELL = "shell"
    JSON = "json"
    DOTENV = "dotenv"


def variables(connection: ConnectionView, prefix: str = PREFIX) -> dict[str, str]:
    """`HAMANAGER_DB_MYSQL_HOST` and so on; what does not exist is left out."""
    values = {
        "HOST": connection.host,
        "PORT": connection.port,
        "LOGIN": connection.login,
        "PASSWORD": connection.password,
        "DATABASE": connection.database,
        "URL": connection.url,
        "READS_PORT": connection.reads_port,
        "READS_URL": connection.reads_url,
    }
    stem = f"{_stem(connection.service, prefix)}{(connection.kind or connection.engine).upper()}"
    there = {name: value for name, value in values.items() if value not in (None, "")}
    return {f"{stem}_{name}": str(value) for name, value in there.items()}


def _stem(service: str, prefix: str = PREFIX) -> str:
    return f"{prefix}_{service.upper().replace('-', '_')}_"


def text(values: Mapping[str, str], style: Format) -> str:
    """For `eval "$(hamanager env db)"`, for programs, or for a `.env` file."""
    if style is Format.JSON:
        return json.dumps(values, indent=2) + "\n"
    if style is Format.DOTENV:
        return "".join(f"{name}={_dotenv(value)}\n" for name, value in values.items())
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _dotenv(value: str) -> str:
    """In single quotes, in which all readers take every character as it is."""
    return f"'{value}'"


class EnvironmentFile:
    """A file, for its owner alone, with the variables of all services: applications on this machine
    read it as they read dotCloud's `environment.json`. Thread-safe. When it cannot be written that
    is told once and tried again with each pass: nothing else depends on it."""

    def __init__(self, path: Path, at: str | None = None) -> None:
        """`at`: this machine's own address, where it is not the one that is on record."""
        self._path = path
        self._at = at
        self._lock = threading.Lock()
        self._of: dict[str, dict[str, str]] = {}
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why it could not be written the last time; '' when it could."""
        return self._problem

    def begin(self, connections: Iterable[ConnectionView], unreadable: Iterable[str] = ()) -> None:
        """Write the variables of all services there are; of those whose connection cannot be read
        what is in the file already stays."""
        with self._lock:
            written = self._read()
            for service in unreadable:
                stem = _stem(service)
                self._of[service] = {k: v for k, v in written.items() if k.startswith(stem)}
            self._of |= {found.service: self._variables(found) for found in connections}
            self._write()

    def keep(self, connection: ConnectionView) -> None:
        """Write that service's variables, if they changed."""
        with self._lock:
            present = self._variables(connection)
            if self._of.get(connection.service) != present or self._problem:
                self._of[connection.service] = present
                self._write()

    def forget(self, service: str) -> None:
        """Take that service's variables out."""
        with self._lock:
            if self._of.pop(service, None) is not None:
                self._write()

    def _variables(self, connection: ConnectionView) -> dict[str, str]:
        return variables(at_address(connection, self._at) if self._at else connection)

    def _read(self) -> dict[str, str]:
        """What is written; nothing when it is not there or damaged, as it is written anew."""
        try:
            written = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {k: str(v) for k, v in written.items()} if isinstance(written, dict) else {}

    def _write(self) -> None:
        merged: dict[str, str] = {}
        for service in sorted(self._of):
            merged |= self._of[service]
        try:
            self._replace(merged)
        except OSError as error:
            problem = error.strerror or str(error)
            if problem != self._problem:
                log.warning(
                    "%s cannot be written (%s), so applications may read old variables there; it is"
                    " tried again with every observation of a service",
                    self._path,
                    problem,
                )
            self._problem = problem
        else:
            self._problem = ""

    def _replace(self, merged: Mapping[str, str]) -> None:
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text(merged, Format.JSON))
        draft.replace(self._path)
