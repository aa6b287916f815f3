"""The self-audit: a write a second, and what is said when it does not go through or is lost."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from hamanager.contracts.clock import SystemClock
from hamanager.daemon.canaries import Canaries, Watched
from hamanager.daemon.events import EventKind, event_of
from hamanager.decide.canary import STALLED_SECONDS, CanaryState, lost, stalled
from hamanager.errors import RefusedError, SilentError
from hamanager.model.service import ServiceContext, Target
from tests.support.memory_store import MemoryStore
from tests.support.runtimes import wait_until

SERVICE = ServiceContext("db", "e", None, {})
ADDRESS = Target("the address of db", "h", 1, 0)


# --- Pure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "found", "term", "is_lost"),
    [
        (CanaryState(), None, 1, False),
        (CanaryState(5, 1.0, 1), 5, 1, False),
        (CanaryState(5, 1.0, 1), 6, 1, False),  # whose answer did not come
        (CanaryState(5, 1.0, 1), None, 1, False),  # an application emptied everything
        (CanaryState(5, 1.0, 1), 4, 1, True),
        (CanaryState(5, 1.0, 1), 5, 2, False),
        (CanaryState(5, 1.0, 1), 4, 2, True),
        (CanaryState(5, 1.0, 1), None, 2, True),
    ],
)
def test_a_write_that_was_acknowledged_is_there(
    before: CanaryState, found: int | None, term: int, is_lost: bool
) -> None:
    assert bool(lost(before, found, term)) is is_lost


def test_what_is_lost_is_said() -> None:
    assert lost(CanaryState(5, 1.0, 1), None, 2) == (
        "an acknowledged write is lost: the canary's write 5 was acknowledged in term 1, and in"
        " term 2 the primary holds none of them"
    )


def test_silence_is_counted_from_the_first_beat_that_was_not_acknowledged() -> None:
    state = CanaryState(5, 1.0, 1).begun(10.0).failed("no answer").begun(11.0)
    assert stalled(state, 10.0 + STALLED_SECONDS - 0.1, "db.0", primary_answers=True) == ""
    told = stalled(state, 10.0 + STALLED_SECONDS, "db.0", primary_answers=True)
    assert told.startswith("no write has been acknowledged for 3 s although db.0 answers")
    assert told.endswith(": no answer")
    assert stalled(state, 99.0, "db.0", primary_answers=False) == ""
    assert stalled(state, 99.0, None, primary_answers=False) == ""
    assert stalled(state.acknowledged(6, 1, 12.0), 99.0, "db.0", primary_answers=True) == ""


# --- With threads -------------------------------------------------------------------------------


class FakeCanary:
    """Holds a number; hangs, refuses or forgets when it is told to."""

    def __init__(self) -> None:
        self.held: int | None = None
        self.beats = 0
        self.free = threading.Event()
        self.free.set()
        self.refuses = False

    def beat(
        self, service: ServiceContext, target: Target, number: int, timeout_seconds: float
    ) -> int | None:
        if not self.free.wait(timeout_seconds):
            raise SilentError("no answer in time")
        if self.refuses:
            raise RefusedError("nothing listens")
        self.beats += 1
        found, self.held = self.held, number
        return found


@pytest.fixture
def canary() -> FakeCanary:
    return FakeCanary()


@pytest.fixture
def watched(canary: FakeCanary, monkeypatch: pytest.MonkeyPatch) -> dict[str, Watched]:
    for name, seconds in (("LOOK_SECONDS", 0.01), ("BEAT_SECONDS", 0.01)):
        monkeypatch.setattr(f"hamanager.daemon.canaries.{name}", seconds)
    monkeypatch.setattr("hamanager.decide.canary.STALLED_SECONDS", 0.2)
    return {"db": Watched(canary, SERVICE, ADDRESS, 1, "db.0", True)}


def told(store: MemoryStore) -> list[str]:
    return [entry.text for entry in store.history("db")]


def test_a_write_path_that_hangs_is_said_and_its_end_too(
    canary: FakeCanary, watched: dict[str, Watched]
) -> None:
    store = MemoryStore()
    with Canaries(store, SystemClock(), lambda: watched) as canaries:
        wait_until(lambda: canary.beats > 2)
        assert canaries.problem("db") == ""
        assert canaries.acknowledged_seconds()["db"] < 5
        canary.free.clear()
        wait_until(lambda: "although db.0 answers" in canaries.problem("db"))
        canary.free.set()
        wait_until(lambda: canaries.problem("db") == "")
        wait_until(lambda: told(store)[-1:] == ["writes are acknowledged again"])
        assert len(told(store)) == 2
        event = event_of(store.history("db")[0], "h1")
        assert event is not None
        assert event.event is EventKind.CANARY


def test_a_write_that_a_failover_has_lost_is_said(
    canary: FakeCanary, watched: dict[str, Watched]
) -> None:
    store = MemoryStore()
    with Canaries(store, SystemClock(), lambda: watched):
        wait_until(lambda: canary.beats > 2)
        canary.free.clear()
        wait_until(lambda: True)
        canary.held = 1
        watched["db"] = replace(watched["db"], term=2)
        canary.free.set()
        wait_until(lambda: any("an acknowledged write is lost" in text for text in told(store)))


def test_nothing_is_said_while_the_primary_does_not_answer_or_nobody_wants_it(
    canary: FakeCanary, watched: dict[str, Watched]
) -> None:
    store = MemoryStore()
    watched["db"] = replace(watched["db"], primary_answers=False)
    canary.refuses = True
    with Canaries(store, SystemClock(), lambda: watched) as canaries:
        wait_until(lambda: "db" in canaries._problems)
        canary.refuses = False
        wait_until(lambda: canary.beats > 2)
        assert told(store) == []
        watched.clear()
        wait_until(lambda: not canaries._beats)
        assert canaries.acknowledged_seconds() == {}
