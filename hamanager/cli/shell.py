"""`hamanager run`: a command inside an instance's container, joined to this terminal or pipe.

The command line comes from the daemon and holds no secret; the container has the application's
credentials in a file that only its server's user can read.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.utils.socket import STDERR, frames_iter
from requests.exceptions import RequestException

from hamanager.errors import RuntimeFailedError
from hamanager.model.shell import ShellView

CHUNK_BYTES = 65536
ENGINE_SECONDS = 20


def run(view: ShellView, words: Sequence[str]) -> int:
    """Run it, joined to standard input and output; its exit code.

    Raises:
        RuntimeFailedError: the Docker engine does not do it.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        client = docker.from_env(timeout=ENGINE_SECONDS)
        made = client.api.exec_create(
            view.container,
            view.command(words),
            stdin=True,
            tty=interactive,
        )
        stream = client.api.exec_start(made["Id"], tty=interactive, socket=True)
        raw: socket.socket = getattr(stream, "_sock")  # noqa: B009 (not all of its kinds have it)
        raw.settimeout(None)  # a command may be quiet for as long as it likes
        with _joined(client, made["Id"], interactive=interactive):
            threading.Thread(target=_feed, args=(raw,), daemon=True).start()
            _drain(stream, interactive=interactive)
        return int(client.api.exec_inspect(made["Id"])["ExitCode"] or 0)
    except APIError as error:
        raise RuntimeFailedError(
            f"nothing can be run in {view.instance}: {error.explanation or error}"
        ) from error
    except (DockerException, RequestException) as error:
        raise RuntimeFailedError(
            "the Docker engine does not answer here; `hamanager run` has to be used where it does"
        ) from error


def _drain(stream: Any, *, interactive: bool) -> None:
    for kind, data in frames_iter(stream, interactive):  # type: ignore[no-untyped-call]
        out = sys.stderr.buffer if kind == STDERR else sys.stdout.buffer
        out.write(data)
        out.flush()


def _feed(raw: socket.socket) -> None:
    """Standard input, until its end; then the command sees the end too."""
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK_BYTES):
            raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _joined(client: docker.DockerClient, exec_id: str, *, interactive: bool) -> Iterator[None]:
    """Keys go to the command as they are pressed, and it learns the window's size."""
    if not interactive:
        yield
        return

    def resize(*_: object) -> None:
        size = os.get_terminal_size()
        with contextlib.suppress(APIError, RequestException):
            client.api.exec_resize(exec_id, height=size.lines, width=size.columns)

    before = termios.tcgetattr(sys.stdin)
    handler = signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(sys.stdin)
        resize()
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
