"""`hamanager proxy`: the services' addresses on a machine without a manager. It asks the managers
(or the store) where clients are led, and goes on with the last word when nobody answers."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from hamanager import paths
from hamanager.contracts.routes import Source, Told
from hamanager.daemon.process import log_to_standard_error, raise_descriptor_limit, tell_ready
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import HamanagerError
from hamanager.routes.book import Book
from hamanager.routes.follower import Follower
from hamanager.routes.here import Here
from hamanager.runtimes.docker.address import bind_address
from hamanager.runtimes.docker.runtime import DockerRuntime

log = logging.getLogger("hamanager")

CHECK_SECONDS = 1.0


def run_proxy(home: Path, address: str, sources: Sequence[Source]) -> None:
    """Run it with that state directory until SIGINT or SIGTERM. HAProxy stays, and leads clients
    where the last word was.

    Raises:
        ConflictError: another process uses the directory.
    """
    log_to_standard_error()
    raise_descriptor_limit()
    ending = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: ending.set())
    with paths.only_one(home):
        runtime = DockerRuntime(paths.manager_id(home))
        endpoint = HaproxyEndpoint(paths.endpoint_directory(home), runtime, bind_address)
        notebook = Notebook(paths.routes_path(home))
        book = Book()
        here = Here(endpoint, book, address, alone=True)
        follower = Follower(here, book, sources, keep=notebook.keep)
        follower.take_over(notebook.read())
        follower.start()
        log.info(
            "the services' addresses are at %s; asked are %s; state in %s",
            address,
            ", ".join(source.name for source in sources),
            home,
        )
        tell_ready()
        try:
            _watch(endpoint, ending, paths.alive_path(home))
        finally:
            follower.stop()
            endpoint.close()
            runtime.close()
            log.info("following no more; HAProxy leads clients where the last word was")


def remove_proxy(home: Path) -> None:
    """Take HAProxy away from this machine, and forget what was known.

    Raises:
        HamanagerError: it runs, or the Docker engine does not answer.
    """
    with paths.only_one(home):
        runtime = DockerRuntime(paths.manager_id(home))
        try:
            endpoint = HaproxyEndpoint(paths.endpoint_directory(home), runtime, bind_address)
            for service in endpoint.services():
                endpoint.publish(service, ())
            endpoint.close()
        finally:
            runtime.close()
        paths.routes_path(home).unlink(missing_ok=True)


def _watch(endpoint: HaproxyEndpoint, ending: threading.Event, alive: Path) -> None:
    """Look after HAProxy. While it leads where it should `alive` is touched each second: for
    whoever decides which machine has an address that moves (see docs/proxy.md)."""
    problem = ""
    while True:
        try:
            endpoint.check()
            alive.touch(mode=0o644)
            problem = ""
        except (HamanagerError, OSError) as error:
            if str(error) != problem:
                log.warning("%s", error)
            problem = str(error)
        if ending.wait(CHECK_SECONDS):
            return


class Notebook:
    """What is known, on this machine's disk. It cannot be written: that is told, and nothing else
    depends on it while this process lives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, object] = {}
        self._problem = ""

    def read(self) -> Told:
        """What was known last; nothing when it is not there or damaged: the managers tell it."""
        try:
            return Told.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            log.warning("what was known last cannot be read in %s: %s", self._path, error)
        return Told(after=0, version=0, services=frozenset(), words={})

    def keep(self, told: Told) -> None:
        """Write it down, if it has changed."""
        wanted = told.model_dump(mode="json", include={"version", "services", "words", "after"})
        words = {key: value for key, value in wanted.items() if key != "version"}
        if words == self._kept:
            return  # a later version with the same words is as good
        draft = self._path.with_suffix(".new")
        try:
            draft.unlink(missing_ok=True)
            opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "w") as file:
                json.dump(wanted, file)
            draft.replace(self._path)
        except OSError as error:
            if str(error) != self._problem:
                log.warning("%s cannot be written (%s)", self._path, error.strerror or error)
            self._problem = str(error)
        else:
            self._kept, self._problem = words, ""
