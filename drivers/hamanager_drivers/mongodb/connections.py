"""Connections to MongoDB servers, and its client's errors in the contract's words."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import bson
import pymongo
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from hamanager.contracts.assurance import assure
from hamanager.errors import BusyError, RefusedError, ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import client_context, distrust, distrusted

TIMEOUT_SECONDS = 1.0
KNOCK_SECONDS = 0.005
"""Between two attempts to find a server that has just answered."""
ONE_LOOK_MS = 0.001
"""Practically none, so that the client waits for one look at the server and no other: it waits in
steps of half a second, which the look's end cuts short, and then asks whether its time is over."""
Document = dict[str, Any]

# Error codes of the server (its error_codes.yml).
COMMAND_FAILED = 125
NOT_PRIMARY = frozenset({189, 10107, 11602, 13435, 13436})
SHUTTING_DOWN = frozenset({91, 11600})
AUTHENTICATION_FAILED = 18
OUT_OF_DISK_SPACE = 14031

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT})


class AnsweredError(ServerError):
    """The server answered a command with an error."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, permanent=code == OUT_OF_DISK_SPACE)
        self.code = code


@dataclass
class _Cached:
    client: pymongo.MongoClient[Document]
    context: ssl.SSLContext | None = None
    """What it believes."""
    version: str = ""
    found: bool = False

    def await_server(self) -> None:
        """See the function; a client that has lost its server is not waited for."""
        if self.found and not self.client.nodes:
            raise ServerSelectionTimeoutError("it lost its server")
        await_server(self.client)
        self.found = True


class Connections:
    """One client with the members' own rights per server.

    It authenticates as `__system` with the key file's content, which works from outside, before
    there is any user, and during an initial sync, when the users are not copied yet.
    """

    def __init__(self) -> None:
        self._cached: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def command(
        self,
        service: ServiceContext,
        target: Target,
        command: Mapping[str, Any],
        timeout_seconds: float = TIMEOUT_SECONDS,
        database: str = "admin",
    ) -> Document:
        """Run a command on a database of the server; a cached connection that turns out to
        be broken is replaced once.

        Raises:
            AnsweredError: the server answered with an error.
            ServerError: any other failure, told apart as the contract asks.
        """
        deadline = time.monotonic() + timeout_seconds
        with told_apart(target):
            while True:
                cached, is_new = self._get(service, target, deadline)
                try:
                    cached.await_server()
                    assure()
                    return _run(cached.client[database], command, deadline)
                except ServerSelectionTimeoutError:
                    # Nothing was sent. Knocking tells what became of the server meanwhile.
                    self._drop(target, cached)
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(KNOCK_SECONDS)
                except (AutoReconnect, InvalidOperation) as error:
                    if _code(error) in NOT_PRIMARY | SHUTTING_DOWN:
                        raise
                    self._drop(target, cached)
                    if is_new or _timed_out(error):
                        raise

    def version(self, service: ServiceContext, target: Target) -> str:
        """The server's version, asked once per connection."""
        with self._lock:
            cached = self._cached.get(target.address)
        if cached is not None and cached.version:
            return cached.version
        version = str(self.command(service, target, {"buildInfo": 1})["version"])
        with self._lock:
            if target.address in self._cached:
                self._cached[target.address].version = version
        return version

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        with self._lock:
            cached = self._cached.pop(target.address, None)
        if cached is not None:
            close(cached.client)

    def _get(
        self, service: ServiceContext, target: Target, deadline: float
    ) -> tuple[_Cached, bool]:
        with self._lock:
            cached = self._cached.get(target.address)
        context = client_context(service)
        if cached is not None and cached.context is not context:
            self._drop(target, cached)
        elif cached is not None:
            return cached, False
        # The client hides a refused connection until its time to choose a server is over.
        knock(service, target, deadline - time.monotonic()).close()
        made = _Cached(
            connect(service, target, "__system", service.secrets["key"], "local"), context
        )
        with self._lock:
            cached = self._cached.setdefault(target.address, made)
        if cached is not made:
            close(made.client)
        return cached, True

    def _drop(self, target: Target, cached: _Cached) -> None:
        with self._lock:
            if self._cached.get(target.address) is cached:
                del self._cached[target.address]
        close(cached.client)


def connect(
    service: ServiceContext,
    target: Target,
    username: str,
    password: str,
    source: str,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> pymongo.MongoClient[Document]:
    """A client for this server alone, whatever its set says; connects when it is first used. Its
    commands need a `pymongo.timeout`."""
    make = partial(
        pymongo.MongoClient[Document],
        target.host,
        target.port,
        directConnection=True,
        username=username,
        password=password,
        authSource=source,
        appname="hamanager",
        connect=False,
        serverSelectionTimeoutMS=ONE_LOOK_MS,
        connectTimeoutMS=int(timeout_seconds * 1000),
        maxPoolSize=8,
        retryReads=False,
        retryWrites=False,
        # Its background checks are of no use here: every command looks for itself.
        serverMonitoringMode="poll",
        heartbeatFrequencyMS=60_000,
        w="majority",
        readPreference="secondaryPreferred",
    )
    if service.encryption is None:
        return make()
    # It takes authorities from a file only, when it is made, and expects the address in the
    # certificate. Whose server it is is proven by the knock before, and by a login in which the
    # server has to prove that it knows the password, which it is not told.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(service.encryption.trusted)
        file.flush()
        return make(tls=True, tlsCAFile=file.name, tlsAllowInvalidHostnames=True)


def await_server(client: pymongo.MongoClient[Document]) -> None:
    """Until the client has looked at its server, if it has not yet: once, or half a second at the
    most. Within a time-out of their own its commands would go on looking until that is over.

    Raises:
        ServerSelectionTimeoutError: it found nobody.
    """
    _ = client.address


def close(client: pymongo.MongoClient[Document]) -> None:
    """Without waiting for it: the client takes leave of its server, and looks for one that is dead
    for as long as for any other."""
    threading.Thread(target=_close, args=(client,), name="closing-client", daemon=True).start()


def _close(client: pymongo.MongoClient[Document]) -> None:
    with contextlib.suppress(PyMongoError):
        client.close()


def knock(
    service: ServiceContext, target: Target, timeout_seconds: float = TIMEOUT_SECONDS
) -> socket.socket:
    """An open connection on which the server has answered `hello`.

    That it was accepted proves nothing: a port proxy accepts for a server that does not listen
    yet, and the kernel accepts for one that hangs. Raises `OSError`.
    """
    deadline = time.monotonic() + max(0.001, timeout_seconds)
    context = client_context(service)
    connection = socket.create_connection((target.host, target.port), max(0.001, timeout_seconds))
    try:
        if context is not None:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection = context.wrap_socket(connection)
        body = bytes(5) + bson.encode({"hello": 1, "$db": "admin"})
        connection.sendall(_HEADER.pack(_HEADER.size + len(body), 1, 0, _OP_MSG) + body)
        size, *_ = _HEADER.unpack(_receive(connection, _HEADER.size, deadline))
        _receive(connection, size - _HEADER.size, deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    received = b""
    while len(received) < size:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionResetError("closed before an answer")
        received += part
    return received


@contextlib.contextmanager
def told_apart(target: Target) -> Iterator[None]:
    """Turns the client's errors into the contract's; none of their texts holds a secret."""
    try:
        yield
    except PyMongoError as error:
        raise _translated(target, error) from error
    except OSError as error:
        raise _lost(target, error) from error


def _run(database: Database[Document], command: Mapping[str, Any], deadline: float) -> Document:
    with pymongo.timeout(max(0.001, deadline - time.monotonic())):
        return database.command(dict(command))


def _translated(target: Target, error: PyMongoError) -> ServerError:
    code = _code(error)
    if code in NOT_PRIMARY:
        return AnsweredError(f"{target.name} takes no writes: it is not the primary", code)
    if code in SHUTTING_DOWN:
        return BusyError(f"{target.name} is shutting down")
    if code == AUTHENTICATION_FAILED:
        return AnsweredError(f"{target.name} does not accept the user or its password", code)
    if isinstance(error, OperationFailure) and not error.timeout:
        said = (error.details or {}).get("errmsg") or error.args[0]
        return AnsweredError(f"{target.name} answered: {str(said).splitlines()[0]}", code)
    if distrusted(error):
        return distrust(target)
    if isinstance(error, AutoReconnect) or _timed_out(error):
        return _lost(target, error)
    return ServerError(f"{target.name} could not be asked: {type(error).__name__}")


def _lost(target: Target, error: Exception) -> ServerError:
    if distrusted(error):
        return distrust(target)
    if _timed_out(error):
        return SilentError(f"{target.name} at {target.address} did not answer in time")
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return SilentError(f"{target.name} at {target.address} is out of reach")
    return RefusedError(f"nothing answers for {target.name} at {target.address}")


def _timed_out(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or (isinstance(error, PyMongoError) and error.timeout)


def _code(error: PyMongoError) -> int:
    """The server's error code, 0 when the error is the client's own."""
    details = getattr(error, "details", None)
    code = details.get("code") if isinstance(details, Mapping) else None
    return int(code or getattr(error, "code", None) or 0)
