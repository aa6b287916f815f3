"""Connections to MySQL servers, and its client's errors in the contract's words.

Error numbers: MySQL Server Error Message Reference.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from hamanager.contracts.assurance import assure
from hamanager.errors import BusyError, RefusedError, ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import client_context, distrust, distrusted
from hamanager_drivers.mysql.config import MANAGER
from hamanager_drivers.naming import APPLICATION

CONNECT_SECONDS = 1.0
PROBE_SECONDS = 1.0
CHANGE_SECONDS = 5.0

Row = dict[str, Any]

_BUSY = {
    1037: "is out of memory",
    1040: "has no connection left",
    1041: "is out of memory",
    1053: "is shutting down",
    1135: "cannot start another thread",
    1203: "has no connection left for this account",
    1226: "has no connection left for this account",
    3032: "is in offline mode",
    3168: "is not available at the moment",
}
_NO_SUCH_CONNECTION = 1094
_TOO_MANY = 1040
_DISK_FULL = 1021
_ATTEMPTS = 5
_ATTEMPT_PAUSE_SECONDS = 0.02
"""The server needs a moment until a closed connection is free for another."""
_READ_ONLY = {1290, 1836}
_LOST = {2002, 2003, 2006, 2013, 2055}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}


_MANAGER_SETTING = "SET SESSION lock_wait_timeout = 1, wait_timeout = 31536000"
"""No statement waits long for another client's locks; idle connections are kept."""


class Purpose(StrEnum):
    """A slow change must not hold up a probe: each has a connection of its own."""

    PROBE = "probe"
    CHANGE = "change"


class Session:
    """A connection for as long as its lock is held; not for sharing."""

    def __init__(self, connection: pymysql.Connection[Any]) -> None:
        self._connection = connection

    def rows(self, statement: str, *arguments: object) -> list[Row]:
        """Run one statement and give all its rows."""
        assure()
        with self._connection.cursor(DictCursor) as cursor:
            cursor.execute(statement, arguments or None)
            return list(cursor.fetchall())

    def row(self, statement: str, *arguments: object) -> Row:
        """Run a statement that gives exactly one row."""
        [only] = self.rows(statement, *arguments)
        return only

    def run(self, *statements: str) -> None:
        """Run statements one after the other."""
        for statement in statements:
            self.rows(statement)

    def kill(self, connection_id: int) -> None:
        """End another client's connection, unless it has ended already."""
        try:
            self.rows("KILL CONNECTION %s", connection_id)
        except pymysql.MySQLError as error:
            if _number(error) != _NO_SUCH_CONNECTION:
                raise


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: pymysql.Connection[Any] | None = None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            hang_up(connection)


class Connections:
    """One cached connection of the manager's account per server and purpose."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, Purpose], _Slot] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def session(
        self, service: ServiceContext, target: Target, purpose: Purpose = Purpose.CHANGE
    ) -> Iterator[Session]:
        """The manager's session on that server; raises the contract's errors only."""
        seconds = PROBE_SECONDS if purpose is Purpose.PROBE else CHANGE_SECONDS
        with self._lock:
            slot = self._slots.setdefault((target.address, purpose), _Slot())
        if not slot.lock.acquire(timeout=seconds):
            raise SilentError(f"{target.name} has not answered the question before this one yet")
        try:
            with told_apart(target, service):
                if slot.connection is not None and _ended(slot.connection):
                    slot.close()
                if slot.connection is None:
                    slot.connection = self._connect(service, target, seconds, purpose)
                try:
                    yield Session(slot.connection)
                except pymysql.MySQLError as error:
                    if _number(error) in _LOST or isinstance(error, pymysql.InterfaceError):
                        slot.close()
                    raise
        finally:
            slot.lock.release()

    def _connect(
        self, service: ServiceContext, target: Target, seconds: float, purpose: Purpose
    ) -> pymysql.Connection[Any]:
        """When clients hold every connection the server keeps one more for accounts like the
        manager's: a change takes it over from the probe."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return as_manager(service, target, seconds, _MANAGER_SETTING)
            except pymysql.MySQLError as error:
                if _number(error) != _TOO_MANY or purpose is Purpose.PROBE:
                    raise
                self._close_idle(target, Purpose.PROBE)
                time.sleep(_ATTEMPT_PAUSE_SECONDS)
        return as_manager(service, target, seconds, _MANAGER_SETTING)

    def _close_idle(self, target: Target, purpose: Purpose) -> None:
        with self._lock:
            slot = self._slots.get((target.address, purpose))
        if slot is not None and slot.lock.acquire(blocking=False):
            slot.close()
            slot.lock.release()

    def forget(self, target: Target) -> None:
        """Close the connections to that server, except those in use, whose end is near."""
        for purpose in Purpose:
            self._close_idle(target, purpose)
            with self._lock:
                self._slots.pop((target.address, purpose), None)


def connect(
    target: Target,
    user: str,
    password: str,
    timeout_seconds: float,
    setting: str | None = None,
    *,
    context: ssl.SSLContext | None = None,
) -> pymysql.Connection[Any]:
    """A connection whose every call is bounded, with an optional first statement; in clear without
    a context. Nothing comes on an idle one before its end, encrypted or not (the tickets of TLS 1.3
    are read with the first answer)."""
    return pymysql.connect(
        host=target.host,
        port=target.port if user == APPLICATION else target.replication_port,
        user=user,
        password=password,
        autocommit=True,
        connect_timeout=min(timeout_seconds, CONNECT_SECONDS),
        read_timeout=timeout_seconds,
        write_timeout=timeout_seconds,
        init_command=setting,
        ssl=context,
        ssl_disabled=context is None,
    )


def as_manager(
    service: ServiceContext, target: Target, timeout_seconds: float, setting: str | None = None
) -> pymysql.Connection[Any]:
    """With the manager's account."""
    password = service.secrets["manager_password"]
    context = client_context(service)
    return connect(target, MANAGER, password, timeout_seconds, setting, context=context)


def as_application(
    service: ServiceContext, target: Target, timeout_seconds: float
) -> pymysql.Connection[Any]:
    """With the application's account."""
    password = service.secrets["password"]
    context = client_context(service)
    return connect(target, APPLICATION, password, timeout_seconds, context=context)


def idle_socket(service: ServiceContext, target: Target) -> socket.socket:
    """The socket of an authenticated connection that the server does not close by itself."""
    with told_apart(target, service):
        connection = as_manager(service, target, CONNECT_SECONDS, _MANAGER_SETTING)
        # The client library has no way to hand its socket over; closing the file object that
        # reads from it leaves the socket open.
        taken: socket.socket = connection._sock  # type: ignore[attr-defined]  # noqa: SLF001
        connection._rfile.close()  # type: ignore[attr-defined]  # noqa: SLF001
        connection._sock = connection._rfile = None  # type: ignore[attr-defined]  # noqa: SLF001
        return taken


def hang_up(connection: pymysql.Connection[Any]) -> None:
    """Close without a farewell, which a dead server would keep waiting for."""
    with contextlib.suppress(pymysql.MySQLError, OSError):
        connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001


def _ended(connection: pymysql.Connection[Any]) -> bool:
    """An idle connection has nothing to read until the server closes it."""
    taken = connection._sock  # type: ignore[attr-defined]  # noqa: SLF001
    if taken is None:
        return True
    # Not select(), which takes no descriptor above 1023: a manager of many services has more.
    asked = select.poll()
    asked.register(taken, select.POLLIN)
    return bool(asked.poll(0))


@contextlib.contextmanager
def told_apart(target: Target, service: ServiceContext) -> Iterator[None]:
    """Turns the client's errors into the contract's, without secrets."""
    try:
        yield
    except pymysql.MySQLError as error:
        raise in_words(target, service, error) from error


def in_words(target: Target, service: ServiceContext, error: pymysql.MySQLError) -> ServerError:
    """The contract's error for one of the client's."""
    number = _number(error)
    if number in _LOST or isinstance(error, pymysql.InterfaceError):
        return _lost(target, error)
    if number in _BUSY:
        return BusyError(f"{target.name} {_BUSY[number]}")
    if number == 1045:
        return ServerError(f"{target.name} does not accept the password of this service")
    if number in _READ_ONLY:
        return ServerError(f"{target.name} refuses writes: it is read-only")
    if number == _DISK_FULL:
        return ServerError(
            f"{target.name} has no space left: free some on its disk", permanent=True
        )
    said = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    for secret in service.secrets.values():
        said = said.replace(secret, "***")
    return ServerError(f"{target.name} answered: {said} (error {number})")


def _lost(target: Target, error: BaseException) -> ServerError:
    if distrusted(error):
        return distrust(target)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return SilentError(f"{target.name} at {target.address} did not answer in time")
        if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
            return SilentError(f"{target.name} at {target.address} is out of reach")
        cause = cause.__cause__ or cause.__context__
    return RefusedError(f"nothing answers for {target.name} at {target.address}")


def _number(error: pymysql.MySQLError) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
