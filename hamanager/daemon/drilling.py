"""Runs the drills that are due of the services that this manager leads, each in a process of its
own: what it breaks, and the load that it makes, is not the manager's.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.decide.drills import Missed, due
from hamanager.errors import HamanagerError
from hamanager.formats import moment
from hamanager.model.drill import NOTED, DrillResult, Outcome, Schedule
from hamanager.model.history import HistoryEntry
from hamanager.stores import drills
from hamanager.stores.repository import load_spec

log = logging.getLogger("hamanager")

LOOK_SECONDS = 5.0
PRUNE_LOOKS = 720
"""Once an hour."""
ROUND_SECONDS = 900.0
"""Of one drill, for each of its rounds: longer than any takes."""
UNDO_SECONDS = 60.0
"""Given to a drill that is to end, to undo what it has broken."""
STOP_SECONDS = 15.0
"""The same when the manager itself is to end."""
POLL_SECONDS = 0.5
TOLD_CHARACTERS = 400

Carry = Callable[[Schedule, float, threading.Event], str]
"""Carries a drill out; what it said last, when it did not end well."""


class Drilling:
    """A context manager: inside, drills are run when they are due."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        manager: str,
        leads: Callable[[], Collection[str]],
        carry: Carry,
    ) -> None:
        """`manager`: its name; `leads`: the services that it leads now."""
        self._store = store
        self._clock = clock
        self._manager = manager
        self._leads = leads
        self._carry = carry
        self._told: dict[str, float] = {}
        """By service the due time of which it is known what became of it."""
        self._running: dict[str, threading.Thread] = {}
        self._looks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drills", daemon=True)

    def __enter__(self) -> Drilling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(LOOK_SECONDS)
        for thread in list(self._running.values()):
            thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except HamanagerError as error:
                log.debug("the drills that are due are not known: %s", error)
            except Exception as error:  # noqa: BLE001 - the next look is another one
                log.warning("the drills were not looked after: %r", error)

    def look(self) -> None:
        """Begin what is due, and tell what was missed."""
        self._running = {name: t for name, t in self._running.items() if t.is_alive()}
        leads = self._leads()
        for name, (schedule, version) in drills.schedules(self._store).items():
            if name in leads and name not in self._running:
                try:
                    self._see_to(schedule, version)
                except HamanagerError as error:
                    log.debug("%s: its drills are not seen to: %s", name, error)
        if self._looks % PRUNE_LOOKS == 0:
            self._prune()
        self._looks += 1

    def _see_to(self, schedule: Schedule, version: int) -> None:
        name, now = schedule.service, self._clock.now()
        claim = drills.claimed(self._store, name)
        busy = claim is not None and now < claim.until
        found = due(schedule, now, told=self._is_told(schedule), busy=busy)
        if found.unfinished_at is not None:
            text = f"manager {schedule.manager} began it, and nothing was heard of it again"
            self._tell(self._result(schedule, found.unfinished_at, Outcome.UNFINISHED, text))
        if found.settle_at is None or self._is_older(schedule):
            return
        for missed in found.missed:
            self._tell(self._missed(schedule, missed))
        settled = schedule.settled(found.settle_at, self._manager, now)
        # Whoever writes this runs it: of two managers, and after a restart, nobody else does.
        if not drills.settle(self._store, settled, version) or found.run_at is None:
            return
        thread = threading.Thread(
            target=self._drill, args=(settled, found.run_at), name=f"drill-{name}", daemon=True
        )
        self._running[name] = thread
        thread.start()

    def _is_told(self, schedule: Schedule) -> bool:
        at = schedule.settled_at
        if at is None or self._told.get(schedule.service) == at:
            return True
        if drills.result_of(self._store, schedule.service, at) is None:
            return False
        self._told[schedule.service] = at
        return True

    def _is_older(self, schedule: Schedule) -> bool:
        """It was made for another service of the same name."""
        loaded = load_spec(self._store, schedule.service)
        return loaded is None or loaded[0].created_at > schedule.since

    def _drill(self, schedule: Schedule, due_at: float) -> None:
        name = schedule.service
        log.info("%s: the drill of %s begins: %s", name, moment(due_at), schedule.fault)
        try:
            problem = self._carry(schedule, due_at, self._stopping)
        except Exception as error:
            log.exception("%s: the drill could not be run", name)
            problem = f"it could not be run ({type(error).__name__})"
        try:
            result = drills.result_of(self._store, name, due_at)
            if result is None:
                text = problem or "it ended without a word"
                result = self._result(schedule, due_at, Outcome.UNFINISHED, text)
                drills.keep(self._store, result, "", self._clock.now())
            self._note(result)
        except HamanagerError as error:
            log.warning("%s: what became of its drill could not be written: %s", name, error)

    def _missed(self, schedule: Schedule, missed: Missed) -> DrillResult:
        times = f", and {missed.times - 1} times before" if missed.times > 1 else ""
        text = f"no manager led the service at {moment(missed.due_at)}{times}"
        result = self._result(schedule, missed.due_at, Outcome.MISSED, text)
        return result.of_times(missed.times)

    def _result(
        self, schedule: Schedule, due_at: float, outcome: Outcome, text: str
    ) -> DrillResult:
        loaded = load_spec(self._store, schedule.service)
        return DrillResult(
            service=schedule.service,
            engine=loaded[0].engine if loaded else "",
            fault=schedule.fault,
            rounds_wanted=schedule.rounds,
            outcome=outcome,
            text=text,
            due_at=due_at,
            began_at=due_at,
            ended_at=self._clock.now(),
            manager=self._manager,
        )

    def _tell(self, result: DrillResult) -> None:
        """Once, whoever comes first."""
        if drills.keep(self._store, result, "", self._clock.now()):
            self._note(result)

    def _note(self, result: DrillResult) -> None:
        """In the history, from which hooks hear of it."""
        text = f"drill by schedule ({result.fault}): {result.outcome}: {result.text}"
        log.info("%s: %s", result.service, text)
        entry = HistoryEntry(
            at=self._clock.now(),
            service=result.service,
            kind="note",
            text=text,
            rule=NOTED,
            seconds=round(result.ended_at - result.began_at, 3) if result.rounds else None,
            ok=result.outcome is Outcome.PASSED,
        )
        try:
            self._store.append(entry)
        except HamanagerError as error:
            log.warning("%s: that is not in the history: %s", result.service, error)

    def _prune(self) -> None:
        """Also of services that are drilled no more."""
        for name in drills.drilled_services(self._store):
            drills.prune_results(self._store, name, self._clock.now(), self._stopping.is_set)


def in_process(environment: Mapping[str, str]) -> Carry:
    """By `hamanager drill`, in a process with these variables beside the manager's own."""

    def carry(schedule: Schedule, due_at: float, stopping: threading.Event) -> str:
        words = ["drill", "run", schedule.service, "--fault", schedule.fault.value]
        words += ["--rounds", str(schedule.rounds), "--due", f"{due_at:.0f}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "hamanager", *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the manager, which ends it in its own way
        )
        return _ended(process, schedule.rounds * ROUND_SECONDS, stopping)

    return carry


def _ended(process: subprocess.Popen[str], seconds: float, stopping: threading.Event) -> str:
    """What it said last, when it did not end well. It is ended after its time, and with the
    manager; what it has broken it undoes first."""
    deadline = time.monotonic() + seconds
    while not stopping.is_set() and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            return _last_words(process, process.communicate(timeout=POLL_SECONDS)[1])
    process.terminate()
    left = STOP_SECONDS - 2 if stopping.is_set() else UNDO_SECONDS
    with suppress(subprocess.TimeoutExpired):
        return _last_words(process, process.communicate(timeout=left)[1])
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=POLL_SECONDS)
    return f"it had not ended {left:g} s after it was told to, and was killed"


def _last_words(process: subprocess.Popen[str], errors: str) -> str:
    last = errors.strip().splitlines()[-1:] if process.returncode else []
    return "".join(last).removeprefix("hamanager: ")[:TOLD_CHARACTERS]
