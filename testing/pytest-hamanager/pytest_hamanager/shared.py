"""The installation that all of a session's workers share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from filelock import FileLock

from hamanager.chaos.installation import Installation
from hamanager.chaos.sandbox import Sandbox
from hamanager.errors import HamanagerError
from hamanager.stores.opening import open_store
from pytest_hamanager.emptying import empty
from pytest_hamanager.service import Service

SIZES = {"mysql": 2, "redis": 2, "mongodb": 3}
CREATE_SECONDS = 180.0
TEST_SECONDS = 900.0
"""So long a test may keep others waiting for its service."""
OTHERS_SECONDS = 3600.0
"""So long the worker that began the installation waits for the others' last test."""


class Joined(Installation):
    """One that this worker or another one began."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        own = {"HAMANAGER_HOME": str(home), "HAMANAGER_STORE": "", "HAMANAGER_MANAGER": ""}
        self.environment = {**os.environ, **own}
        self.docker = docker.from_env(timeout=30)
        self.store = open_store("", home)

    def close(self) -> None:
        """Let go of it."""
        self.store.close()
        self.docker.close()


class Shared:
    """The installation, and its services one test at a time."""

    def __init__(self, directory: Path, installation: Installation) -> None:
        self._directory = directory
        self.installation = installation

    @classmethod
    @contextmanager
    def joined(cls, directory: Path) -> Iterator[Shared]:
        """Inside there is one; whoever comes first begins it, and ends it when nobody uses it any
        more. `directory` is the same for all who share it."""
        lock = FileLock(directory / "hamanager.lock", timeout=CREATE_SECONDS)
        users = _Users(directory / "hamanager.json")
        sandbox: Sandbox | None = None
        with lock:
            if users.home is None:
                sandbox = Sandbox().__enter__()
                users.begin(sandbox.home)
            users.change(+1)
            home = users.home
        assert home is not None
        installation = Joined(home)
        try:
            yield cls(directory, installation)
        finally:
            installation.close()
            with lock:
                users.change(-1)
            if sandbox is not None:
                _wait_for_others(lock, users)
                sandbox.close()

    @contextmanager
    def service(self, engine: str) -> Iterator[Service]:
        """That engine's, healthy and with empty data; nobody else has it meanwhile."""
        name = f"test-{engine}"
        with FileLock(self._directory / f"{name}.lock", timeout=TEST_SECONDS):
            self._create(name, engine)
            service = Service(self.installation, name, engine)
            service.wait_healthy(CREATE_SECONDS)
            empty(engine, service.url)
            try:
                yield service
            finally:
                service.heal()

    def _create(self, name: str, engine: str) -> None:
        if self.installation.ask("info", name) is None:
            size = str(SIZES[engine])
            self.installation.command("create", name, "--engine", engine, "--instances", size)


class _Users:
    """How many workers use which state directory; read and written under the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def home(self) -> Path | None:
        return Path(self._read()[0]) if self._path.exists() else None

    @property
    def number(self) -> int:
        return self._read()[1]

    def begin(self, home: Path) -> None:
        self._write(str(home), 0)

    def end(self) -> None:
        """Whoever comes now begins another one."""
        self._path.unlink()

    def change(self, by: int) -> None:
        home, users = self._read()
        self._write(home, users + by)

    def _read(self) -> tuple[str, int]:
        found = json.loads(self._path.read_text())
        return str(found["home"]), int(found["users"])

    def _write(self, home: str, users: int) -> None:
        self._path.write_text(json.dumps({"home": home, "users": users}))


def _wait_for_others(lock: FileLock, users: _Users) -> None:
    deadline = time.monotonic() + OTHERS_SECONDS
    while True:
        with lock:
            if users.number <= 0:
                users.end()
                return
        if time.monotonic() > deadline:
            raise HamanagerError("other workers still use the databases of this session")
        time.sleep(0.2)
