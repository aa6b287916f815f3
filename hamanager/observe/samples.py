"""What people want to know of an instance and no probe may wait for: asked now and then, apart from
everything else, and the last answer is shown until the next one comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.errors import HamanagerError
from hamanager.model.instance import InstanceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.observe.questions import Asked, Questions, Threads, wait_while

MEMORY_SAMPLE_SECONDS = 2.0
"""Twice as long after each answer that says the same, up to eight times; with a hundred quiet
services these questions would be as many as those that decisions rest on."""
MOST_PATIENCE = 8
SAME_SHARE = 0.02
ROLLBACK_SAMPLE_SECONDS = 10.0
FIRST_SAMPLE_SECONDS = 0.1
"""How long an observation waits for the first answer, so that what is shown begins complete."""
MEMORY, CACHE, ROLLBACK = "memory", "cache", "rollback"


class Samples:
    """Of one service's instances."""

    def __init__(
        self,
        driver: Driver,
        runtime: Runtime,
        clock: Clock,
        threads: Threads,
        report: Callable[[str, Exception], None],
    ) -> None:
        """`report` is told of what fails as nothing should."""
        self._driver = driver
        self._runtime = runtime
        self._clock = clock
        self._threads = threads
        self._report = report
        self._questions = Questions()
        self._last: dict[tuple[InstanceRef, str], tuple[float, Any]] = {}
        """With when it was asked for (monotonic)."""
        self._patience: dict[tuple[InstanceRef, str], int] = {}
        """How many times longer than usual the next question waits."""

    def take(
        self, service: ServiceContext, instances: Sequence[InstanceRecord], answering: set[str]
    ) -> None:
        """Ask for what is due; `answering` are those whose server can be asked, too."""
        now = self._clock.monotonic()
        self._questions.forget_all_but({instance.name for instance in instances})
        places = {_place(service, instance): instance for instance in instances}
        self._last = {key: kept for key, kept in self._last.items() if key[0] in places}
        self._patience = {key: kept for key, kept in self._patience.items() if key in self._last}
        first: list[Asked[Any]] = []
        for ref, instance in places.items():
            first += self._due(now, ref, MEMORY, partial(self._runtime.memory_used, ref))
            if instance.name not in answering:
                continue
            if self._driver.cache is not None:
                cached = partial(self._driver.cache.cache_bytes, service, Target.of(instance))
                first += self._due(now, ref, CACHE, cached)
            directory = self._driver.traits.rollback_directory
            if directory:
                files = partial(self._runtime.file_names, ref, directory)
                first += self._due(now, ref, ROLLBACK, files)
        wait_while(lambda: first, now + FIRST_SAMPLE_SECONDS, self._clock)
        for ref in places:
            for kind in (MEMORY, CACHE, ROLLBACK):
                self._collect(ref, kind)

    def memory(self, ref: InstanceRef) -> tuple[int | None, int | None]:
        """The bytes that it uses, and those of them that are the engine's cache."""
        used, cache = self._of(ref, MEMORY), self._of(ref, CACHE)
        if cache is not None and used is not None:
            cache = min(cache, used)  # an engine also counts what it has not touched yet
        return used, cache

    def warnings(self, ref: InstanceRef) -> tuple[str, ...]:
        """Files of writes that the engine had to undo."""
        files = self._of(ref, ROLLBACK)
        if not files:
            return ()
        undone = f"writes that no majority had were undone on {ref.instance}"
        directory = self._driver.traits.rollback_directory
        return (f"{undone} and lie in {directory}: {', '.join(files)}",)

    def _of(self, ref: InstanceRef, kind: str) -> Any:
        kept = self._last.get((ref, kind))
        return kept[1] if kept else None

    def _due(
        self, now: float, ref: InstanceRef, kind: str, ask: Callable[[], object]
    ) -> list[Asked[Any]]:
        """Ask if it is time to; the question, if it is the first of its kind."""
        self._collect(ref, kind)
        kept = self._last.get((ref, kind))
        pause = MEMORY_SAMPLE_SECONDS * self._patience.get((ref, kind), 1)
        if kind is ROLLBACK:
            pause = ROLLBACK_SAMPLE_SECONDS
        if kept is not None and now - kept[0] <= pause:
            return []
        key = (ref.instance, kind)
        self._questions.ask(key, now, self._threads.samples, self._answer, ref, ask)
        asked = self._questions.under_way(key)
        return [asked] if kept is None and asked is not None and asked.at == now else []

    def _answer(
        self, ref: InstanceRef, ask: Callable[[], object]
    ) -> tuple[InstanceRef, bool, object]:
        """With whether there is one."""
        try:
            return ref, True, ask()
        except HamanagerError:
            pass
        except Exception as error:  # noqa: BLE001 - what is for people only must hide nothing
            self._report(ref.instance, error)
        return ref, False, None

    def _collect(self, ref: InstanceRef, kind: str) -> None:
        asked = self._questions.under_way((ref.instance, kind))
        if asked is None or not asked.answer.done():
            return
        of, known, told = asked.answer.result()
        kept = self._last.get((ref, kind))
        if of == ref and (kept is None or kept[0] < asked.at):
            same = kept is not None and known and _same(kept[1], told)
            patience = min(2 * self._patience.get((ref, kind), 1), MOST_PATIENCE)
            self._patience[ref, kind] = patience if same else 1
            self._last[ref, kind] = asked.at, told if known or kept is None else kept[1]


def _same(before: object, after: object) -> bool:
    if isinstance(before, int) and isinstance(after, int):
        return abs(after - before) <= SAME_SHARE * before
    return before == after


def _place(service: ServiceContext, instance: InstanceRecord) -> InstanceRef:
    return InstanceRef.of(service.name, instance)
