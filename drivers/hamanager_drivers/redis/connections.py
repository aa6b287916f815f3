"""Connections to Redis servers, and its client's errors in the contract's words."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.retry import Retry

from hamanager.contracts.assurance import assure
from hamanager.errors import BusyError, RefusedError, ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import client_context, distrust, distrusted
from hamanager_drivers.redis.config import APPLICATION, MANAGER

TIMEOUT_SECONDS = 1.0


class Connections:
    """One client, with a small pool of connections, per server."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[redis.Redis, ssl.SSLContext | None]] = {}
        self._lock = threading.Lock()

    def manager(self, service: ServiceContext, target: Target) -> redis.Redis:
        """A client with the manager's rights."""
        context = client_context(service)
        password = service.secrets["manager_password"]
        with self._lock:
            client, trusting = self._clients.get(target.address, (None, None))
            if client is not None and trusting is context:
                return client
            made = connect(service, target, MANAGER, password, TIMEOUT_SECONDS, retries=1)
            self._clients[target.address] = made, context
        if client is not None:
            client.close()
        return made

    def forget(self, target: Target) -> None:
        """Close the connections to that server."""
        with self._lock:
            client, _ = self._clients.pop(target.address, (None, None))
        if client is not None:
            client.close()


class _Encrypted(redis.Connection):
    """Verified by the service's own context: the package's has no way to expect another name than
    the address."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._context = context

    def _connect(self) -> socket.socket:
        plain: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return self._context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise


class _Assured(redis.Redis):
    """Asks before each command, or transaction, whether it may still be sent."""

    def execute_command(self, *words: Any, **options: Any) -> Any:
        """Run one command."""
        assure()
        return super().execute_command(*words, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:
        """Commands that are sent together."""
        return _AssuredPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )


class _AssuredPipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run them all."""
        assure()
        return super().execute(raise_on_error)


def connect(
    service: ServiceContext,
    target: Target,
    username: str,
    password: str,
    timeout_seconds: float,
    retries: int = 0,
) -> redis.Redis:
    """A client whose every call is bounded. With `retries=1` a connection that turns out to be
    broken is replaced once."""
    context = client_context(service)
    encrypted: dict[str, Any] = {}
    if context is not None:
        encrypted = {"connection_class": _Encrypted, "context": context}
    pool = redis.ConnectionPool(
        host=target.host,
        port=target.port,
        username=username,
        password=password,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        # A time-out is not tried again: it would take twice as long as it may.
        retry=Retry(NoBackoff(), retries, supported_errors=(redis.ConnectionError,)),
        retry_on_error=[redis.ConnectionError] if retries else [],
        decode_responses=True,
        protocol=2,
        **encrypted,
    )
    return _Assured.from_pool(pool)


@contextlib.contextmanager
def told_apart(target: Target) -> Iterator[None]:
    """Turns the client's errors into the contract's; none of their texts holds a secret."""
    try:
        yield
    except redis.TimeoutError as error:
        raise SilentError(f"{target.name} at {target.address} did not answer in time") from error
    except redis.BusyLoadingError as error:
        raise BusyError(f"{target.name} is loading its data") from error
    except redis.AuthenticationError as error:
        raise ServerError(f"{target.name} does not accept the manager's password") from error
    except redis.ConnectionError as error:
        if "max number of clients" in str(error):
            raise BusyError(f"{target.name} has no connection left") from error
        if _cause(error) in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
            raise SilentError(f"{target.name} at {target.address} is out of reach") from error
        if distrusted(error):
            raise distrust(target) from error
        raise RefusedError(f"nothing answers for {target.name} at {target.address}") from error
    except redis.ResponseError as error:
        if str(error).startswith("BUSY"):
            raise BusyError(f"{target.name} is busy running a script") from error
        # It could not write its last snapshot or its log, most often as the disk is full.
        permanent = str(error).startswith("MISCONF")
        raise ServerError(f"{target.name} answered: {error}", permanent=permanent) from error


def _cause(error: BaseException) -> int | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        seen = seen.__cause__ or seen.__context__
    return None


def info(client: redis.Redis) -> dict[str, Any]:
    """INFO as a flat dictionary."""
    answer: dict[str, Any] = client.info()
    return answer


def cut_clients(pipe: redis.client.Pipeline) -> None:
    """Applications reconnect and ask again who is primary; the manager's own stay."""
    for kind in ("normal", "pubsub"):
        pipe.execute_command(  # type: ignore[no-untyped-call]
            "CLIENT", "KILL", "TYPE", kind, "USER", APPLICATION, "SKIPME", "yes"
        )
