"""The thread that watches descriptors for their end."""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hamanager.observe import tripwire
from hamanager.observe.tripwire import Tripwires

DB0 = ("db", "db.0", "connection")


class Trips(queue.SimpleQueue[tuple[str, str, str]]):
    """Collects the calls."""

    def note(self, service: str, instance: str, kind: str) -> None:
        self.put((service, instance, kind))

    def next(self) -> tuple[str, str, str]:
        return self.get(timeout=5)


@pytest.fixture
def trips() -> Trips:
    return Trips()


@pytest.fixture
def wires(trips: Trips) -> Iterator[Tripwires]:
    made = Tripwires(trips.note)
    yield made
    made.close()
    assert not made._thread.is_alive()


def fence(wires: Tripwires, trips: Trips) -> None:
    """Returns when the thread has dealt with everything asked for so far."""
    mine, theirs = socket.socketpair()
    theirs.close()
    wires.watch("fence", "fence.0", "fence", mine)
    assert trips.next() == ("fence", "fence.0", "fence")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("sign", ["end", "data", "reset"])
def test_a_connection_trips_once(wires: Tripwires, trips: Trips, sign: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    mine = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    listener.close()
    assert wires.watch(*DB0, mine)
    fence(wires, trips)
    assert wires.has(*DB0)
    assert trips.empty()
    if sign == "data":
        theirs.sendall(b"goodbye")
    elif sign == "reset":
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    assert trips.next() == DB0
    assert not wires.has(*DB0)
    assert mine.fileno() == -1, "it was closed"
    fence(wires, trips)
    assert trips.empty()


def test_a_process_trips(wires: Tripwires, trips: Trips) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    descriptor = os.pidfd_open(process.pid)
    wires.watch("db", "db.0", "process", descriptor)
    fence(wires, trips)
    process.send_signal(signal.SIGKILL)
    assert trips.next() == ("db", "db.0", "process")
    process.wait(10)
    assert not is_open(descriptor)


def test_what_ended_before_it_was_watched_trips_too(wires: Tripwires, trips: Trips) -> None:
    mine, theirs = socket.socketpair()
    theirs.close()
    wires.watch(*DB0, mine)
    assert trips.next() == DB0


def test_a_second_descriptor_of_that_name_is_closed(wires: Tripwires, trips: Trips) -> None:
    mine, theirs = socket.socketpair()
    second, other_end = socket.socketpair()
    assert wires.watch(*DB0, mine)
    assert not wires.watch(*DB0, second)
    assert second.fileno() == -1
    theirs.close()
    assert trips.next() == DB0
    other_end.close()


def test_unwatched_ones_do_not_trip(wires: Tripwires, trips: Trips) -> None:
    names = [
        ("db", "db.0", "connection"),
        ("db", "db.0", "process"),
        ("db", "db.1", "connection"),
        ("db2", "db2.0", "connection"),
    ]
    pairs = {name: socket.socketpair() for name in names}
    for name, (mine, _) in pairs.items():
        wires.watch(*name, mine)
    wires.unwatch("db", "db.0", "process")
    assert [wires.has(*name) for name in names] == [True, False, True, True]
    wires.unwatch("db", "db.0")
    assert [wires.has(*name) for name in names] == [False, False, True, True]
    wires.unwatch("db")
    wires.unwatch("nobody")
    assert [wires.has(*name) for name in names] == [False, False, False, True]
    fence(wires, trips)
    assert [pairs[name][0].fileno() == -1 for name in names] == [True, True, True, False]
    for _, theirs in pairs.values():
        theirs.close()
    assert trips.next() == ("db2", "db2.0", "connection")
    fence(wires, trips)
    assert trips.empty()


def test_a_name_can_be_watched_again_from_the_call() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    left = [mine for mine, _ in pairs]
    tripped = threading.Semaphore(0)

    def again(service: str, instance: str, kind: str) -> None:
        if left:
            assert made.watch(service, instance, kind, left.pop(0))
        tripped.release()

    made = Tripwires(again)
    made.watch(*DB0, left.pop(0))
    for _, theirs in pairs:
        theirs.close()
    for _ in pairs:
        assert tripped.acquire(timeout=5)
    made.close()


def test_a_call_that_fails_does_not_end_the_watch(
    trips: Trips, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_first(service: str, instance: str, kind: str) -> None:
        trips.note(service, instance, kind)
        if instance == "db.0":
            raise RuntimeError("a bug")

    wires = Tripwires(fail_first)
    for instance in ("db.0", "db.1"):
        mine, theirs = socket.socketpair()
        theirs.close()
        wires.watch("db", instance, "connection", mine)
        assert trips.next() == ("db", instance, "connection")
    wires.close()
    assert "the end of db.0 could not be reported" in caplog.text


def test_descriptors_that_cannot_be_watched_are_let_go(wires: Tripwires, trips: Trips) -> None:
    with open(__file__, "rb") as file:  # noqa: PTH123
        regular = os.dup(file.fileno())
    closed, other_end = socket.socketpair()
    closed.close()
    other_end.close()
    wires.watch("db", "db.0", "file", regular)
    wires.watch("db", "db.0", "closed", closed)
    fence(wires, trips)
    assert not wires.has("db", "db.0", "file")
    assert not wires.has("db", "db.0", "closed")
    assert not is_open(regular)


def test_there_is_a_limit(wires: Tripwires, trips: Trips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tripwire, "LIMIT", 2)
    pairs = [socket.socketpair() for _ in range(3)]
    watched = [wires.watch("db", f"db.{i}", "c", mine) for i, (mine, _) in enumerate(pairs)]
    assert watched == [True, True, False]
    assert pairs[2][0].fileno() == -1
    pairs[0][1].close()
    assert trips.next() == ("db", "db.0", "c")
    mine, theirs = socket.socketpair()
    assert wires.watch("db", "db.2", "c", mine)
    for end in (theirs, pairs[1][1], pairs[2][1]):
        end.close()


def test_closing_closes_everything(trips: Trips) -> None:
    wires = Tripwires(trips.note)
    mine, theirs = socket.socketpair()
    descriptor = os.dup(theirs.fileno())
    wires.watch(*DB0, mine)
    wires.watch("db", "db.1", "connection", descriptor)
    wires.close()
    wires.close()
    assert mine.fileno() == -1
    assert not is_open(descriptor)
    late, other_end = socket.socketpair()
    assert not wires.watch("db", "db.2", "connection", late)
    assert late.fileno() == -1
    assert not wires.has(*DB0)
    assert trips.empty()
    theirs.close()
    other_end.close()


def test_closing_from_the_call() -> None:
    closed = threading.Event()

    def close(*_: str) -> None:
        made.close()
        closed.set()

    made = Tripwires(close)
    mine, theirs = socket.socketpair()
    made.watch(*DB0, mine)
    theirs.close()
    assert closed.wait(5)
    made._thread.join(5)
    assert not made._thread.is_alive()


def test_each_descriptor_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes and goes while the thread is busy: closed twice, its number might be
    another descriptor's the second time."""
    closed: list[object] = []
    monkeypatch.setattr(tripwire, "_close", closed.append)
    entered, leave = threading.Event(), threading.Event()

    def block(*_: str) -> None:
        entered.set()
        assert leave.wait(5)

    made = Tripwires(block)
    mine, theirs = socket.socketpair()
    theirs.close()
    made.watch(*DB0, mine)
    assert entered.wait(5)
    other, other_end = socket.socketpair()
    made.watch("db", "db.1", "connection", other)
    made.unwatch("db", "db.1")
    leave.set()
    made.close()
    assert closed == [mine, other]
    for left in (mine, other, other_end):
        left.close()


def test_many_threads_at_once(trips: Trips) -> None:
    """Every descriptor is closed exactly once, whatever comes in between: one closed twice would
    take another thread's away."""
    wires = Tripwires(trips.note)
    failures: list[BaseException] = []

    def churn(instance: str) -> None:
        chance = random.Random(instance)
        try:
            for _ in range(200):
                mine, theirs = socket.socketpair()
                descriptor = mine.detach()
                wires.watch("db", instance, "c", descriptor)
                if chance.random() < 0.5:
                    wires.unwatch("db", instance)
                os.fstat(theirs.fileno())  # fails if somebody closed this number
                theirs.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(f"db.{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wires.close()
    assert failures == []
