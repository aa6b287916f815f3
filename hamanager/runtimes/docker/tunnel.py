"""The way to an engine over SSH: the `ssh` program forwards a socket of ours to the engine's.

The docker package would start a process for each connection, whose reads have no time-out.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from hamanager.errors import RuntimeFailedError

CONNECT_SECONDS = 5.0
POLL_SECONDS = 0.02
OPTIONS = (
    *("-o", "BatchMode=yes"),
    *("-o", f"ConnectTimeout={CONNECT_SECONDS:.0f}"),
    *("-o", "ExitOnForwardFailure=yes"),
    *("-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"),
    *("-o", "StreamLocalBindUnlink=yes"),
)
DEFAULT_SOCKET = "/var/run/docker.sock"


class Tunnel:
    """One tunnel, opened when it is needed and whenever it has ended. Thread-safe."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._login = ["-l", parts.username] if parts.username else []
        self._port = ["-p", str(parts.port)] if parts.port else []
        self._far = parts.path if len(parts.path) > 1 else DEFAULT_SOCKET
        self._lock = threading.Lock()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """Where the engine is reached on this machine, while the tunnel is open.

        Raises:
            RuntimeFailedError: it cannot be opened.
        """
        with self._lock:
            if self._directory is None:
                self._directory = tempfile.TemporaryDirectory(prefix="hamanager-ssh-")
            near = Path(self._directory.name) / "docker.sock"
            if self._process is None or self._process.poll() is not None:
                self._open(near)
            return f"unix://{near}"

    def close(self) -> None:
        """End it."""
        with self._lock:
            if self._process is not None:
                self._end(self._process)
            if self._directory is not None:
                self._directory.cleanup()
            self._process = self._directory = None

    def _open(self, near: Path) -> None:
        near.unlink(missing_ok=True)
        forward = f"{near}:{self._far}"
        words = ["ssh", "-N", *OPTIONS, *self._login, *self._port, "-L", forward, "--", self._host]
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeFailedError(
                f"the program ssh cannot be started ({error.strerror}): install it", permanent=True
            ) from error
        deadline = time.monotonic() + CONNECT_SECONDS + 1
        while not _accepts(near):
            if process.poll() is not None or time.monotonic() > deadline:
                self._end(process)
                assert process.stderr is not None
                said = process.stderr.read().decode(errors="replace").strip().splitlines()
                why = said[-1] if said else "no answer in time"
                raise RuntimeFailedError(f"ssh does not reach {self._host}: {why}")
            time.sleep(POLL_SECONDS)
        assert process.stderr is not None
        # Whatever it says later is read by nobody, and must not fill a pipe.
        threading.Thread(target=process.stderr.read, name="ssh-stderr", daemon=True).start()
        self._process = process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
            return
        process.kill()
        process.wait()


def _accepts(near: Path) -> bool:
    """The name is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(near))
        except OSError:
            return False
    return True
