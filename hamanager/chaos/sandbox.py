"""A daemon in a state directory of its own, used as an operator at a shell would use it.

The demo, the benchmarks and the tests drive the product through this: the real daemon process,
the real commands, real containers. Everything is removed at the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import docker

from hamanager import paths
from hamanager.chaos.installation import PROGRAM, Installation
from hamanager.chaos.services import wait_for
from hamanager.stores.opening import open_store
from hamanager.stores.repository import service_names

__all__ = ["PROGRAM", "Filters", "Sandbox", "wait_for"]

START_SECONDS = 30
Filters = dict[str, str | list[str] | bool]


class Sandbox(Installation):
    """Use as a context manager: the daemon runs inside, and nothing is left afterwards."""

    def __init__(
        self,
        show: Callable[[str], None] | None = None,
        store_url: str = "",
        serve_options: Sequence[str] = (),
        *,
        name: str = "",
        beside: Sandbox | None = None,
    ) -> None:
        """`name`: one of several managers, whose store is the one's that it stands `beside`."""
        super().__init__(show)
        self._serve_options = serve_options
        self._serve_options = [*serve_options, *(("--name", name) if name else ())]
        self._directory = tempfile.TemporaryDirectory(prefix="hamanager-")
        self.home = Path(self._directory.name)
        here = {"HAMANAGER_HOME": str(self.home), "HAMANAGER_MANAGER": "", "COLUMNS": "100"}
        self.environment = {**os.environ, **here}
        self._first = beside or self
        if beside is not None:
            store_url = beside.environment["HAMANAGER_STORE"]
        elif name and not store_url:
            store_url = f"sqlite://{paths.database_path(self.home)}"
        self.environment["HAMANAGER_STORE"] = store_url
        self.docker = docker.from_env(timeout=30)
        self.store = open_store(store_url, self.home)
        self._daemon: subprocess.Popen[str] | None = None
        self._log: IO[str] = (self.home / "serve.log").open("a")

    def __enter__(self) -> Sandbox:
        try:
            self.start_daemon()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def manager_id(self) -> str:
        """What the names and labels of this installation's containers carry."""
        return paths.manager_id(self._first.home)

    @property
    def daemon_pid(self) -> int:
        """The number of the daemon's process."""
        assert self._daemon is not None
        return self._daemon.pid

    # --- The daemon ----------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start `hamanager serve` and wait until it answers."""
        self._daemon = subprocess.Popen(
            [*PROGRAM, "serve", *self._serve_options],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the caller, who still needs the daemon
        )
        wait_for("the daemon to answer", START_SECONDS, lambda: self.ask("info") is not None)

    def kill_daemon(self) -> None:
        """SIGKILL."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait(10)

    def suspend_daemon(self) -> None:
        """SIGSTOP."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def continue_daemon(self) -> None:
        """SIGCONT."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def daemon_log(self) -> str:
        """All that the daemon has printed."""
        return (self.home / "serve.log").read_text()

    def close_services(self) -> None:
        """Destroy every service, as an operator would."""
        for name in service_names(self.store):
            self.run("destroy", name, "--yes")

    def close(self) -> None:
        """End the daemon and remove every container, volume and network that it made. A second
        Ctrl-C does not keep it from that."""
        with _uninterrupted():
            self._close()

    def _close(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(20)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait(10)
        self._remove_everything()
        self._log.close()
        self.store.close()
        self.docker.close()
        self._directory.cleanup()

    def _remove_everything(self) -> None:
        mine: Filters = {"label": f"hamanager.manager={self.manager_id}"}
        for container in self.docker.containers.list(all=True, filters=mine, ignore_removed=True):
            with suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        for volume in self.docker.volumes.list(filters=mine):
            volume.remove(force=True)
        for network in self.docker.networks.list(filters=mine):
            try:
                network.remove()
            except docker.errors.APIError as error:
                # Docker 20.10 keeps an endpoint now and then whose container is long gone (once
                # after 180 were removed at a time), until the engine is started anew.
                print(f"the network {network.name} was left behind: {error.explanation}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
