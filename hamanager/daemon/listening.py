"""Sockets that others reach over TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hamanager.errors import ConflictError

BACKLOG = 128


@contextmanager
def listening(host: str, port: int, what: str, option: str) -> Iterator[socket.socket]:
    """A socket at that address. `what` is offered there, as `option` says: for the error.

    Raises:
        ConflictError: the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _taken(host, port, what, option, error) from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise _taken(host, port, what, option, error) from None
        yield listener


def _taken(host: str, port: int, what: str, option: str, error: OSError) -> ConflictError:
    return ConflictError(
        f"{what} cannot be offered at {host}:{port} ({error.strerror}): name another address with"
        f" {option}; nothing was started"
    )
