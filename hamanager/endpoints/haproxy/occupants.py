"""The manager's own connections into HAProxy's `wait` servers: they take the one place there, so
that every client waits in the queue, and none is held. Not thread-safe."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from hamanager.endpoints.haproxy.backend import Backend, way_in
from hamanager.endpoints.haproxy.control import connected


class Occupants:
    """One for each listener whose clients may have to wait. HAProxy ends each now and then."""

    def __init__(self, directory: Path) -> None:
        """`directory` is where HAProxy has its sockets."""
        self._directory = directory
        self._open: dict[str, socket.socket] = {}
        """By the name of their way in."""

    def take(self, backends: Iterable[Backend]) -> None:
        """Be there. One that cannot get in is missing: a client is held in its stead then, and
        sent on with the others, by having it come again."""
        for name in (way_in(backend) for backend in backends if backend.has_queue):
            present = self._open.get(name)
            if present is not None and _is_open(present):
                continue
            self._leave(name)
            try:
                self._open[name] = connected(self._directory / name)
            except OSError:
                continue

    def leave(self) -> None:
        """Be gone: a worker from before a reload would live on for them."""
        for name in list(self._open):
            self._leave(name)

    def _leave(self, name: str) -> None:
        present = self._open.pop(name, None)
        if present is not None:
            present.close()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
