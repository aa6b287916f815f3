"""The services' addresses elsewhere: `hamanager proxy` on further addresses of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from hamanager.chaos.sandbox import PROGRAM, Sandbox, wait_for
from hamanager.paths import manager_id
from tests.support.clients import PlainWriter

ADDRESSES = ("127.0.0.2", "127.0.0.3")
"""This machine has them, and nobody uses them."""
HEARD_SECONDS = 20.0


class Proxy:
    """One `hamanager proxy` on an address of this machine, beside the manager's own."""

    def __init__(self, sandbox: Sandbox, address: str) -> None:
        self._sandbox = sandbox
        self.address = address
        self.state = sandbox.home / f"proxy-{address}"
        self._process: subprocess.Popen[str] | None = None
        self._urls: dict[str, str] = {}

    def _words(self, *words: str) -> Sequence[str]:
        return [*PROGRAM, "proxy", "--state", str(self.state), *words]

    @property
    def _log(self) -> Path:
        return self._sandbox.home / f"proxy-{self.address}.log"

    def times_heard(self) -> int:
        """How often it has begun to follow, or begun again."""
        return self._log.read_text().count("following the manager")

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._words("--listen", self.address),
                env=self._sandbox.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def send(self, kind: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(kind)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def kill_haproxy(self) -> None:
        """SIGKILL to its HAProxy, whose container starts it again."""
        [container] = self._sandbox.docker.containers.list(
            filters={"label": [f"hamanager.manager={manager_id(self.state)}"]}
        )
        container.reload()
        os.kill(int(container.attrs["State"]["Pid"]), signal.SIGKILL)

    def url(self, service: str) -> str:
        if service not in self._urls:
            told = self._sandbox.command("url", service, "--at", self.address)
            self._urls[service] = told.strip()
        return self._urls[service]

    def close(self) -> None:
        if self._process is not None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            self._process.wait(20)
        subprocess.run(
            self._words("--remove"), env=self._sandbox.environment, check=True, timeout=60
        )


def goes_on(writer: PlainWriter, seconds: float = HEARD_SECONDS) -> None:
    """Until it has written something from now on."""
    moment = time.monotonic()
    wait_for("writes to go on", seconds, lambda: writer.accepted[-1].at > moment)
