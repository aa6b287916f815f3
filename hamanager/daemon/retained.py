"""How much the retained volumes take on disk, for monitoring. Nothing changes in one that was set
aside, so each is counted once by the manager that leads its service: in a thread that nobody waits
for, one after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.daemon.metrics import Watched
from hamanager.errors import HamanagerError
from hamanager.model.kept import Facts
from hamanager.model.record import RetainedVolume
from hamanager.model.upgrade import wanted_image

log = logging.getLogger("hamanager")

LOOK_SECONDS = 15.0
AGAIN_SECONDS = 600.0
"""After one could not be counted."""
STOP_SECONDS = 1.0


class Retained:
    """A context manager: inside, volumes are counted. `counted_bytes` is thread-safe."""

    def __init__(self, runtime: Runtime, watched: Callable[[], Mapping[str, Watched]]) -> None:
        """`watched` tells of the services that this manager watches."""
        self._runtime = runtime
        self._watched = watched
        self._bytes: Mapping[str, int] = {}
        """By volume."""
        self._failed: dict[str, tuple[float, str]] = {}
        """By volume: when it could not be counted (monotonic seconds), and why."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retained", daemon=True)

    def __enter__(self) -> Retained:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def counted_bytes(self) -> dict[str, int]:
        """By service that this manager watches: all its retained volumes; without those services
        of which one has not been counted (yet)."""
        known = self._bytes
        found = {}
        for name, facts in self._facts():
            volumes = [kept.volume for kept in facts.record.retained]
            if all(volume in known for volume in volumes):
                found[name] = sum(known[volume] for volume in volumes)
        return found

    def _facts(self) -> Iterator[tuple[str, Facts]]:
        for name, one in self._watched().items():
            if one.leads and one.facts is not None:
                yield name, one.facts

    # --- The thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look is another one
                log.warning("retained volumes were not counted: %r", error)

    def look(self) -> None:
        """Count those that were not counted yet, and forget those that are no more."""
        wanted = {
            kept.volume: (facts, kept)
            for _, facts in self._facts()
            for kept in facts.record.retained
        }
        self._bytes = {volume: size for volume, size in self._bytes.items() if volume in wanted}
        for volume in self._failed.keys() - wanted.keys():
            del self._failed[volume]
        for volume, (facts, kept) in wanted.items():
            if self._stopping.is_set():
                return
            if volume not in self._bytes and not self._has_just_failed(volume):
                self._count(facts, kept)

    def _has_just_failed(self, volume: str) -> bool:
        at, _ = self._failed.get(volume, (None, ""))
        return at is not None and time.monotonic() - at < AGAIN_SECONDS

    def _count(self, facts: Facts, kept: RetainedVolume) -> None:
        ref = InstanceRef(facts.spec.name, kept.instance, kept.generation, kept.placed_on)
        try:
            size = self._runtime.volume_bytes(ref, wanted_image(facts.spec).id)
        except HamanagerError as error:
            if self._failed.get(kept.volume, (0.0, ""))[1] != str(error):
                log.info("%s", error)
            self._failed[kept.volume] = time.monotonic(), str(error)
            return
        self._failed.pop(kept.volume, None)
        self._bytes = {**self._bytes, kept.volume: size}
