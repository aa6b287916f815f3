"""A daemon in a state directory of its own, used as an operator at a shell would use it.

The demo, the benchmarks and the tests drive the product through this: the real daemon process,
the real commands, real containers. Everything is removed at the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import docker
from docker.models.containers import Container

from hamanager import paths
from hamanager.api.client import Client
from hamanager.chaos.workload import LoadWriter, count_lost, open_writer
from hamanager.contracts.driver import Driver
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.stores.repository import (
    load_context,
    load_record,
    load_spec,
    service_names,
    spec_key,
)
from hamanager.stores.sqlite import SqliteStore

PROGRAM = [sys.executable, "-m", "hamanager"]
COMMAND_SECONDS = 300
START_SECONDS = 30
Filters = dict[str, str | list[str] | bool]


class Sandbox:
    """Use as a context manager: the daemon runs inside, and nothing is left afterwards."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show
        self._directory = tempfile.TemporaryDirectory(prefix="hamanager-")
        self.home = Path(self._directory.name)
        self.environment = {**os.environ, "HAMANAGER_HOME": str(self.home), "COLUMNS": "100"}
        self.drivers = load_drivers()
        self.docker = docker.from_env(timeout=30)
        self.store = SqliteStore(paths.database_path(self.home))
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
        """What the names and labels of this manager's containers carry."""
        return paths.manager_id(self.home)

    # --- The daemon ----------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """Start `hamanager serve` and wait until it answers."""
        self._daemon = subprocess.Popen(
            [*PROGRAM, "serve"],
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
            network.remove()

    # --- Commands ------------------------------------------------------------------------------

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever comes of it."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def command(self, *words: str) -> str:
        """Run a command that has to succeed; what it printed.

        Raises:
            HamanagerError: it failed.
        """
        printed = []
        with subprocess.Popen(
            [*PROGRAM, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            # Leaving this block waits for the process, so it must end in any case.
            watchdog = threading.Timer(COMMAND_SECONDS, process.kill)
            watchdog.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    printed.append(line)
                    if self._show is not None:
                        self._show(line.rstrip())
                code = process.wait(COMMAND_SECONDS)
            finally:
                watchdog.cancel()
                if process.poll() is None:
                    process.kill()
        if code != 0:
            raise HamanagerError(f"`hamanager {' '.join(words)}` ended with {code}: {printed[-1:]}")
        return "".join(printed)

    def ask(self, what: Literal["info", "history"], service: str | None = None) -> Any:
        """What such a command prints as JSON; None when the daemon does not answer. Asked over its
        socket: a process for each look would take most of a core from what is looked at."""
        try:
            with Client.connect(self.home) as client:
                if what == "history":
                    return [entry.model_dump(mode="json") for entry in client.history(str(service))]
                views = client.views() if service is None else [client.view(service)]
        except HamanagerError:
            return None
        shown = [view.model_dump(mode="json", by_alias=True) for view in views]
        return shown if service is None else shown[0]

    def wait_for_state(
        self, service: str, state: str, seconds: float, instances: int | None = None
    ) -> Any:
        """Until `info` shows that state (and so many instances); what it shows then."""
        last: list[Any] = [None]

        def reached() -> bool:
            view = last[0] = self.ask("info", service)
            return (
                view is not None
                and view["state"] == state
                and (instances is None or len(view["instances"]) == instances)
            )

        try:
            wait_for(f"{service} to be {state}", seconds, reached)
        except HamanagerError as error:
            raise HamanagerError(f"{error}; last seen: {last[0]}") from None
        return last[0]

    # --- What a test or a benchmark needs beyond the commands ------------------------------------

    def driver(self, service: str) -> Driver:
        """The driver of that service's engine."""
        return self.drivers[self.context(service).engine]

    def context(self, service: str) -> ServiceContext:
        """The service with its credentials, as its applications have them."""
        loaded = load_spec(self.store, service)
        assert loaded is not None, f"there is no service {service}"
        return load_context(self.store, loaded[0])

    def record(self, service: str) -> ServiceRecord:
        """What the loop has written down."""
        return load_record(self.store, service)[0]

    def specs(self) -> list[str]:
        """Every spec as it is written down."""
        kept = (self.store.get(spec_key(name)) for name in service_names(self.store))
        return [entry.value for entry in kept if entry is not None]

    def members(self, service: str) -> list[Target]:
        """All instances of a service."""
        return [Target.of(instance) for instance in self.record(service).instances]

    def primary(self, service: str) -> Target:
        """The primary on record."""
        record = self.record(service)
        found = record.instance(record.primary)
        assert found is not None, f"{service} has no primary"
        return Target.of(found)

    def in_step(self, service: str) -> bool:
        """Whether on record there is a primary, and every other instance is its full standby:
        where standbys acknowledge, a member of the sync set."""
        record = self.record(service)
        others = [instance for instance in record.instances if instance.name != record.primary]
        if record.primary is None or record.promoting is not None:
            return False
        if self.driver(service).capabilities.acknowledges:
            return {instance.name for instance in others} == set(record.sync_set)
        return all(instance.synchronized for instance in others)

    def wait_until_in_step(self, service: str, after_term: int, seconds: float) -> float:
        """Until all are in step in a term later than that one; when it was (monotonic seconds)."""
        wait_for(
            f"{service} to be in step",
            seconds,
            lambda: self.record(service).term > after_term and self.in_step(service),
            pause_seconds=0.01,
        )
        return time.monotonic()

    def container(self, instance: str) -> Container:
        """The container of an instance, found by its labels as a chaos test would."""
        labels = [
            f"hamanager.manager={self.manager_id}",
            f"hamanager.instance={instance}",
        ]
        found = self.docker.containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
        assert found, f"{instance} has no container"
        return found[0]

    def fill(self, service: str, total_bytes: int) -> None:
        """Write ballast to the primary."""
        writer = open_writer(
            self.driver(service), self.context(service), self.primary(service), timeout_seconds=30
        )
        try:
            writer.prepare()
            writer.fill(total_bytes)
        finally:
            writer.close()

    def start_writer(self, service: str, pause_seconds: float = 0.001) -> LoadWriter:
        """A client that writes numbered rows from now on."""
        preparing = open_writer(
            self.driver(service), self.context(service), self.primary(service), timeout_seconds=10
        )
        preparing.prepare()
        written_before = max(preparing.numbers(), default=0)
        preparing.close()
        writer = LoadWriter(
            self.driver(service),
            self.context(service),
            lambda: self.members(service),
            pause_seconds,
            written_before,
        )
        writer.start()
        return writer

    def lost(self, service: str, writer: LoadWriter) -> int:
        """How many acknowledged writes the present primary does not hold."""
        return count_lost(
            writer, self.driver(service), self.context(service), self.primary(service)
        )


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


def wait_for(
    what: str, seconds: float, condition: Callable[[], bool], pause_seconds: float = 0.1
) -> None:
    """Until the condition holds.

    Raises:
        HamanagerError: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise HamanagerError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(pause_seconds)
