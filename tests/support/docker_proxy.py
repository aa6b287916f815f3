"""A Docker engine that can hang: a Unix socket that passes everything on to the real one, and that
can be told to pass on no more, or not what asks for certain paths."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path
from types import TracebackType

from hamanager.runtimes.docker.engine import DEFAULT_URL

_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.[01]\r\n")
EVERYTHING = ""
_CHECK_SECONDS = 0.1


class DockerProxy:
    """Use as a context manager."""

    def __init__(self, path: Path, engine: str = DEFAULT_URL) -> None:
        self._path = path
        self._engine = engine.removeprefix("unix://")
        self._held: re.Pattern[str] | None = None
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._closing = False
        self.held_back: list[str] = []
        """The paths that were asked for in vain, so far."""

    @property
    def url(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self._path}"

    def __enter__(self) -> DockerProxy:
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="docker-proxy", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self.release()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def hold(self, paths: str = EVERYTHING) -> None:
        """From now on requests whose path holds a match of the expression are not passed on; no
        answers either, when that is all requests."""
        with self._changed:
            self._held = re.compile(paths)

    def release(self) -> None:
        """Pass everything on, also what was held back."""
        with self._changed:
            self._held = None
            self._changed.notify_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closing:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._engine)
                for pump in ((client, engine, True), (engine, client, False)):
                    threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                self._wait(part, asking)
                sink.sendall(part)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                # The answer to a request may still come after the end of the request.
                end.shutdown(socket.SHUT_WR if end is sink else socket.SHUT_RD)

    def _wait(self, part: bytes, asking: bool) -> None:
        request = _REQUEST.match(part) if asking else None
        path = request.group(1).decode() if request else ""
        with self._changed:
            if self._holds(request is not None, path) and request is not None:
                self.held_back.append(path)
            while self._holds(request is not None, path):
                self._changed.wait(_CHECK_SECONDS)

    def _holds(self, is_request: bool, path: str) -> bool:
        if self._held is None or self._closing:
            return False
        if self._held.pattern == EVERYTHING:
            return True
        return is_request and self._held.search(path) is not None
