"""An installation as an operator at a shell has it: its state directory, its commands, what `info`
shows, and the containers of its instances."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import docker
from docker.models.containers import Container

from hamanager import paths
from hamanager.api.client import Client
from hamanager.chaos.services import Services
from hamanager.errors import HamanagerError

PROGRAM = [sys.executable, "-m", "hamanager"]
COMMAND_SECONDS = 300


class Installation(Services):
    """One whose daemon somebody has started."""

    home: Path
    """Its state directory."""
    environment: dict[str, str]
    """Of its commands."""
    docker: docker.DockerClient

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        """`show` gets each line that a command prints."""
        super().__init__()
        self._show = show

    @property
    def manager_id(self) -> str:
        """What the names and labels of this installation's containers carry."""
        return paths.manager_id(self.home)

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

    def ask(self, what: Literal["info", "history", "managers"], service: str | None = None) -> Any:
        """What such a command prints as JSON; None when the daemon does not answer. Asked over its
        socket: a process for each look would take most of a core from what is looked at."""
        try:
            with Client.connect(self.home) as client:
                if what == "history":
                    return [entry.model_dump(mode="json") for entry in client.history(str(service))]
                if what == "managers":
                    return [manager.model_dump(mode="json") for manager in client.managers()]
                views = client.views() if service is None else [client.view(service)]
        except HamanagerError:
            return None
        shown = [view.model_dump(mode="json", by_alias=True) for view in views]
        return shown if service is None else shown[0]

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
