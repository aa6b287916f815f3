"""HAProxy's control socket: the master's, which knows its workers, also those from before a
reload that still serve old connections (HAProxy Management Guide, "Unix Socket commands" and
"Master CLI")."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from hamanager.endpoints.haproxy import shared
from hamanager.errors import EndpointFailedError

ANSWER_SECONDS = 1.0
LONGEST_ANSWER_BYTES = 8 * 1024**2
LOCAL = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EACCES, errno.EPERM}
)
"""Errors of this process's own: they say nothing about HAProxy."""
_SESSION = re.compile(r"^(0x[0-9a-f]+): .* be=(\S+) ", re.MULTILINE)


class CannotAskError(EndpointFailedError):
    """The manager itself could not ask: whether HAProxy is well, nobody knows."""


class Control:
    """Asks HAProxy; every call is one connection. What lies in its directory is HAProxy's, and may
    be a link to something else, which is never followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, commands: Sequence[str], worker: str = "@1") -> str:
        """What the present worker (or another one) answers to these commands, one after the other.

        Raises:
            CannotAskError: it could not be asked.
            EndpointFailedError: it does not answer, or refuses one of the commands.
        """
        told = self._master("; ".join(f"{worker} {command}" for command in commands))
        for refusal in ("Unknown command", "No such server", "No such backend", "Can't find"):
            if refusal in told:
                raise EndpointFailedError(f"HAProxy refused a change: {told.strip()[:200]}")
        return told

    def ask_master(self, command: str) -> str:
        """What the master process itself answers."""
        return self._master(command)

    def workers(self) -> tuple[list[str], list[str]]:
        """The process numbers of the present workers and of those from before a reload."""
        present: list[str] = []
        old: list[str] = []
        into = present
        for line in self._master("show proc").splitlines():
            if line.startswith("#"):
                into = old if "old workers" in line else present
            elif len(line.split()) > 1 and line.split()[1] == "worker":
                into.append(line.split()[0])
        return present, old

    def end_old_connections(self, listener: str) -> None:
        """End what workers from before a reload still serve of that listener."""
        for pid in self.workers()[1]:
            worker = f"@!{pid}"
            try:
                sessions = _SESSION.findall(self.ask(["show sess"], worker))
                mine = [f"shutdown session {key}" for key, name in sessions if name == listener]
                if mine:
                    self.ask(mine, worker)
            except CannotAskError:
                raise
            except EndpointFailedError:
                continue  # it ended with its last connection

    def _master(self, line: str) -> str:
        try:
            return self._talk(line.encode() + b"\n").decode(errors="replace")
        except OSError as error:
            if error.errno in LOCAL:
                raise CannotAskError(
                    f"HAProxy cannot be asked at {self._path}: {error.strerror}; it was left as it"
                    " is"
                ) from error
            raise EndpointFailedError(
                f"HAProxy does not answer at {self._path} ({error.strerror or error})"
            ) from error

    def _talk(self, line: bytes) -> bytes:
        with connected(self._path) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while len(answer) < LONGEST_ANSWER_BYTES:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
            return bytes(answer)


def connected(path: Path) -> socket.socket:
    """A connection to one of HAProxy's sockets, with a time-out.

    Raises:
        OSError: there is none, or it is no socket of HAProxy's.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _found(path) as descriptor:
            made.settimeout(ANSWER_SECONDS)
            made.connect(f"/proc/self/fd/{descriptor}")
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _found(path: Path) -> Iterator[int]:
    """A descriptor that stands for the socket: the directory is HAProxy's, where whatever it puts
    there may be a link to something else. (And a socket's path may have 107 characters only.)"""
    with shared.opened(path.parent) as directory:
        descriptor = os.open(path.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
        try:
            seen, owner = os.fstat(descriptor), os.fstat(directory).st_uid
            if not stat.S_ISSOCK(seen.st_mode) or seen.st_uid != owner:
                raise OSError(errno.ENOTSOCK, "it is no socket of HAProxy's")
            yield descriptor
        finally:
            os.close(descriptor)
