"""The thread of a service: what a pass that fails does to it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

import pytest

from hamanager.daemon.worker import WAITING_SECONDS, Worker
from hamanager.loop import Pass, ServiceLoop
from hamanager.model.decision import Action, Decision
from hamanager.model.snapshot import Snapshot

FAILED = Pass(
    Snapshot(0, {}),
    Decision("rejoin", Action.ATTACH, "loose", "db.1"),
    "attach db.1 failed: broken",
    acted=False,
    failed=True,
)
BACKS_OFF = Pass(
    Snapshot(0, {}),
    Decision("backing-off", Action.WAIT, "attach db.1: tried once"),
    "attach db.1: tried once",
    acted=False,
)
FINE = Pass(Snapshot(0, {}), Decision("rule", Action.NOTHING, "fine"), "fine", acted=False)


class FailingLoop:
    """Its passes fail alike, until they succeed, and until the service is no more."""

    name = "db"
    wakes = True

    def __init__(self, outcomes: list[Exception | Pass | None]) -> None:
        self.outcomes = outcomes
        self.worker: Worker | None = None
        self.failures: list[str] = []

    def run_pass(self) -> Pass | None:
        assert self.worker is not None
        self.failures.append(self.worker.failure)
        if self.wakes:
            self.worker.wake()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_fault_is_shown_logged_once_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    loop = FailingLoop([KeyError("x"), KeyError("x"), KeyError("x"), FINE, None])
    worker = Worker(cast(ServiceLoop, loop), lambda *_: None, lambda _: None)
    loop.worker = worker
    worker.wake()
    worker.run()
    shown = "the manager failed at this service unexpectedly: KeyError('x')"
    assert loop.failures == ["", shown, shown, shown, ""]
    errors = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert errors == [f"db: {shown}"]


def test_after_a_failure_others_have_their_turn_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """In the same wake-up; and the log says once what fails again and again."""
    caplog.set_level(logging.INFO)
    loop = FailingLoop([FAILED, BACKS_OFF, FAILED, FAILED, BACKS_OFF, None])
    loop.wakes = False
    worker = Worker(cast(ServiceLoop, loop), lambda *_: None, lambda _: None)
    loop.worker = worker
    worker.wake()
    worker.run()
    assert loop.outcomes == []
    assert [r.getMessage() for r in caplog.records] == ["db: attach db.1 failed: broken"]


def test_what_is_waited_for_is_logged_once_however_long_it_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    decision = Decision("beyond-reach", Action.WAIT, "its host is waited for", "db.1")
    told = ["db.1: no sign of life for 4.9 s: 1 of 2", "db.1: no sign of life for 12.3 s: 1 of 2"]
    told += ["db.1: no sign of life for 12.6 s: 2 of 2"]
    waits = [replace(FINE, decision=decision, message=message) for message in told]
    loop = FailingLoop([*waits, None])
    worker = Worker(cast(ServiceLoop, loop), lambda *_: None, lambda _: None)
    loop.worker = worker
    worker.wake()
    worker.run()
    assert [r.getMessage() for r in caplog.records] == [f"db: {told[0]}", f"db: {told[2]}"]


def test_the_pause_ends_when_the_primarys_time_is_over() -> None:
    waiting = replace(FINE, decision=Decision("primary-suspect", Action.WAIT, "silent"))
    assert Worker._pause(waiting) == WAITING_SECONDS
    assert Worker._pause(replace(waiting, decided_in_seconds=0.07)) == 0.07
    assert Worker._pause(replace(waiting, decided_in_seconds=2.0)) == WAITING_SECONDS


def test_what_is_unfinished_is_looked_at_again_soon_and_then_ever_more_rarely() -> None:
    after = [replace(FINE, unfinished_seconds=s) for s in (0.0, 0.9, 2.0, 10.0, 20.0, 3600.0)]
    assert [Worker._pause(done) for done in after] == [0.05, 0.05, 0.1, 0.5, None, None]
    assert Worker._pause(FINE) is None


def test_a_wait_for_an_unfinished_instance_is_no_longer_than_any_wait() -> None:
    waiting = replace(FINE, decision=Decision("primary-not-ready", Action.WAIT, "starts"))
    assert Worker._pause(replace(waiting, unfinished_seconds=0.0)) == 0.05
    assert Worker._pause(replace(waiting, unfinished_seconds=60.0)) == WAITING_SECONDS
