"""The look at who takes writes: whom it asks, and what it keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from hamanager.chaos.watch import Look, Seen, Watch, duplicates
from hamanager.contracts.driver import Driver
from hamanager.errors import RefusedError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role, ServerStatus
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power
from tests.simulation.servers import Engine
from tests.simulation.world import World

SERVICE = ServiceContext("db", "sim", None, {})
MEMBERS = [Target(f"db.{number}", "10.0.0.1", 20001 + number, number) for number in range(3)]


class Servers:
    """What each of them answers."""

    def __init__(self, *, elects: bool = False) -> None:
        world = World(Engine.ELECTING if elects else Engine.ASYNCHRONOUS)
        self.capabilities = SimDriver(world, Power()).capabilities
        self.roles = {"db.0": Role.PRIMARY, "db.1": Role.STANDBY, "db.2": Role.STANDBY}
        self.terms: dict[str, int] = {}
        self.down: set[str] = set()
        self.turning_away: set[str] = set()
        self.forgotten: list[str] = []

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        if target.name in self.down:
            raise RefusedError("nothing answers")
        term = str(self.terms.get(target.name, 0))
        away = target.name in self.turning_away
        position = {"term": term}
        return ServerStatus(self.roles[target.name], position=position, turns_clients_away=away)

    def forget(self, target: Target) -> None:
        self.forgotten.append(target.name)


def watching(servers: Servers, members: list[Target]) -> Watch:
    return Watch(cast(Driver, servers), SERVICE, lambda: list(members))


def becomes(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_what_is_seen_of_each() -> None:
    servers = Servers()
    servers.down.add("db.2")
    expected = {"db.0": Seen.PRIMARY, "db.1": Seen.STANDBY, "db.2": Seen.DOWN}
    with watching(servers, MEMBERS) as watch:
        assert becomes(lambda: watch.latest(0.0) == expected)
        seen = watch.since(0.0)
    assert {name: {look.seen for look in looks} for name, looks in seen.items()} == {
        name: {what} for name, what in expected.items()
    }
    assert sorted(servers.forgotten) == ["db.0", "db.1", "db.2"]


def test_one_that_turns_its_clients_away_takes_no_writes() -> None:
    """A former MySQL primary that steps down: its writes wait for nobody any more before it is
    read-only, and it has no client left by then."""
    servers = Servers()
    servers.roles["db.1"] = Role.PRIMARY
    servers.turning_away.add("db.1")
    expected = {"db.0": Seen.PRIMARY, "db.1": Seen.STANDBY, "db.2": Seen.STANDBY}
    with watching(servers, MEMBERS) as watch:
        assert becomes(lambda: watch.latest(0.0) == expected)
        assert becomes(lambda: len(watch.since(0.0)["db.1"]) > 3)
        assert duplicates(watch.since(0.0)) == []


def test_two_that_take_writes() -> None:
    servers = Servers()
    servers.roles["db.1"] = Role.PRIMARY
    servers.terms = {"db.0": 1, "db.1": 2}
    with watching(servers, MEMBERS) as watch:
        assert becomes(lambda: bool(duplicates(watch.since(0.0)))), "terms mean nothing there"


@pytest.mark.parametrize(("follows", "two"), [("10.0.0.1:20001", True), ("10.0.0.1:20002", False)])
def test_one_whose_writes_wait_for_a_standby_that_has_left_it_takes_none(
    follows: str, two: bool
) -> None:
    def looks(at: float) -> dict[str, Look]:
        old = Look(at, at + 0.01, Seen.PRIMARY, waits_for=1, address="10.0.0.1:20001")
        new = Look(at, at + 0.01, Seen.PRIMARY, waits_for=1, address="10.0.0.1:20002")
        other = Look(at, at + 0.01, Seen.STANDBY, source=follows)
        third = Look(at, at + 0.01, Seen.STANDBY, source="10.0.0.1:20002")
        return {"db.0": old, "db.1": new, "db.2": other, "db.3": third}

    seen: dict[str, list[Look]] = {}
    for turn in range(5):
        for name, look in looks(turn * 0.1 + len(seen) * 0.001).items():
            seen.setdefault(name, []).append(look)
    assert bool(duplicates(seen)) is two


def test_two_of_an_electing_set_in_different_terms() -> None:
    servers = Servers(elects=True)
    servers.roles["db.1"] = Role.PRIMARY
    servers.terms = {"db.0": 1, "db.1": 2}
    with watching(servers, MEMBERS) as watch:
        assert becomes(lambda: all(len(looks) > 3 for looks in watch.since(0.0).values()))
        assert duplicates(watch.since(0.0)) == []
        servers.terms["db.0"] = 2
        assert becomes(lambda: bool(duplicates(watch.since(0.0))))


def test_a_watch_that_has_ended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    servers = Servers()
    with watching(servers, MEMBERS) as watch:
        assert becomes(lambda: watch.latest(0.0) is not None)
        assert watch.is_whole()
        del servers.roles["db.1"]  # a fault of the driver's
        assert becomes(lambda: not watch.is_whole())


def test_members_come_and_go() -> None:
    servers, members = Servers(), MEMBERS[:2]
    with watching(servers, members) as watch:
        assert becomes(lambda: watch.latest(0.0) is not None)
        members[1:] = [MEMBERS[2]]
        assert becomes(lambda: set(watch.latest(0.0) or ()) == {"db.0", "db.2"})
        assert set(watch.since(0.0)) == {"db.0", "db.1", "db.2"}, "what was seen stays"
        now = time.monotonic()
        watch.forget_before(now)
        assert all(look.asked_at >= now for looks in watch.since(0.0).values() for look in looks)
