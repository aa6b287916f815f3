"""In-memory engines, their runtime and their clock: one world that a simulation can break.

One engine is promoted by the manager, the other elects by itself.

Servers are logs of numbered writes. Replication is asynchronous and happens only when the
simulation says so. A dead manager can do nothing: every effect passes `Power`, which may be cut
between any two of them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from hamanager.contracts.driver import LaunchSpec, Writer
from hamanager.contracts.runtime import Container, Place, RuntimeEvent
from hamanager.errors import RefusedError, RuntimeFailedError, ServerError, SilentError
from hamanager.values.capabilities import Capabilities
from hamanager.values.service import ServiceContext, Target
from hamanager.values.snapshot import Process, Relation, Role, ServerStatus
from hamanager_drivers.ranking import rank_by


class ManagerDiedError(BaseException):
    """The manager was killed; not an `Exception`, so that nothing in it can handle that."""


class Power:
    """What keeps one manager alive: cut after a number of effects."""

    def __init__(self) -> None:
        self.effects_left: int | None = None
        self.dead = False

    def effect(self) -> None:
        """Called before each effect of the manager on the world."""
        if self.effects_left is not None:
            if self.effects_left <= 0:
                self.dead = True
            self.effects_left -= 1
        if self.dead:
            raise ManagerDiedError


class SimClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class InlineExecutor(Executor):
    """Runs everything at once in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Volume:
    """Data on disk."""

    log: list[int] = field(default_factory=list)
    seeded: bool = False


@dataclass
class SimServer:
    """A container with, perhaps, a running server."""

    place: Place
    address: str
    volume: str
    running: bool = True
    hung: bool = False
    cut_off: bool = False
    """The manager cannot reach it; everybody else can."""
    role: Role = Role.STANDBY
    source: str | None = None


class World:
    """All servers and volumes, and what clients were promised."""

    def __init__(self, elects: bool = False) -> None:
        self.elects = elects
        self.clock = SimClock()
        self.servers: dict[tuple[str, str], SimServer] = {}
        self.volumes: dict[str, Volume] = {}
        self.acknowledged: set[int] = set()
        self.next_write = 0
        self.next_port = 20000
        self.runtime_down = False

    def at(self, address: str | None) -> SimServer | None:
        return next((s for s in self.servers.values() if s.address == address), None)

    def named(self, name: str) -> SimServer | None:
        return next((s for s in self.servers.values() if s.place.instance == name), None)

    def data(self, server: SimServer) -> Volume:
        return self.volumes[server.volume]

    def primaries(self) -> list[SimServer]:
        """Whoever would take a client's write now, or when it wakes up."""
        return [s for s in self.servers.values() if s.running and s.role is Role.PRIMARY]

    def write(self) -> None:
        """A client writes to whoever takes it. An engine that elects acknowledges only what a
        majority has."""
        for server in self.primaries():
            if server.hung:
                continue
            log = self.data(server).log
            log.append(self.next_write)
            if not self.elects:
                self.acknowledged.add(self.next_write)
            elif len(followers := self.followers(server)) + 1 > self.voters / 2:
                for follower in followers:
                    self.data(follower).log[:] = log
                self.acknowledged.add(self.next_write)
            self.next_write += 1

    @property
    def voters(self) -> int:
        """How many members vote in elections: those that once had a full copy."""
        return sum(self.data(server).seeded for server in self.servers.values())

    def followers(self, primary: SimServer) -> list[SimServer]:
        """The members that have a full copy and replicate from that primary now."""
        return [
            server
            for server in self.servers.values()
            if server.source == primary.address and self.linked(server) and self.data(server).seeded
        ]

    def elect(self, wanted: SimServer | None = None) -> None:
        """Members that elect by themselves: without a working primary, a majority chooses the one
        with the most data (or the one that asks, if none of them has more)."""
        if not self.elects or any(not server.hung for server in self.primaries()):
            return
        awake = [s for s in self.servers.values() if s.running and not s.hung]
        electorate = [s for s in awake if self.data(s).seeded]
        if not electorate or len(electorate) <= self.voters / 2:
            return
        best = max(electorate, key=lambda s: len(self.data(s).log))
        if wanted in electorate and len(self.data(wanted).log) >= len(self.data(best).log):
            best = wanted
        for server in self.primaries():
            server.role = Role.STANDBY  # a newer term: it steps down before it can acknowledge
        best.role, best.source = Role.PRIMARY, None
        for server in awake:
            if server is not best:
                server.source = best.address
                self._roll_back(server, best)

    def _roll_back(self, server: SimServer, primary: SimServer) -> None:
        mine, theirs = self.data(server).log, self.data(primary).log
        if mine != theirs[: len(mine)]:
            mine[:] = theirs

    def rejoin(self) -> None:
        """Members of an engine that elects find the primary by themselves."""
        if not self.elects:
            return
        leaders = [server for server in self.primaries() if not server.hung]
        for server in self.servers.values():
            awake = server.running and not server.hung and self.data(server).seeded
            if leaders and awake and server is not leaders[0]:
                server.source = leaders[0].address
                self._roll_back(server, leaders[0])

    def replicate(self) -> None:
        """Every standby receives everything from its source."""
        for server in self.servers.values():
            if not self.linked(server):
                continue
            source = self.at(server.source)
            assert source is not None
            mine, theirs = self.data(server).log, self.data(source).log
            if mine == theirs[: len(mine)]:
                mine.extend(theirs[len(mine) :])

    def linked(self, server: SimServer) -> bool:
        source = self.at(server.source)
        return (
            server.running
            and not server.hung
            and source is not None
            and source.running
            and not source.hung
        )

    def stop_process(self, server: SimServer) -> None:
        server.running = server.hung = False
        server.role, server.source = Role.STANDBY, None

    def wake(self, server: SimServer) -> None:
        server.hung = False

    def safe_somewhere(self) -> set[int]:
        """Every write that some volume still holds."""
        return {number for volume in self.volumes.values() for number in volume.log}


class SimRuntime:
    """The runtime contract on the world."""

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power

    def reserve_address(self, taken: frozenset[int]) -> tuple[str, int]:
        while self.world.next_port in taken:
            self.world.next_port += 1
        self.world.next_port += 1
        return "10.0.0.1", self.world.next_port - 1

    def start(self, place: Place, container: Container) -> None:
        self._effect()
        key, volume = (place.service, place.instance), self.volume_name(place)
        self.world.volumes.setdefault(volume, Volume())
        server = self.world.servers.get(key)
        if server is None or server.volume != volume:
            address = f"{container.host}:{container.port}"
            self.world.servers[key] = SimServer(place, address, volume)
        elif not server.running:
            server.running = True

    def process(self, place: Place) -> Process:
        if self.world.runtime_down:
            return Process.UNKNOWN
        server = self.world.servers.get((place.service, place.instance))
        if server is None:
            return Process.MISSING
        return Process.RUNNING if server.running else Process.EXITED

    def request_stop(self, place: Place) -> None:
        self.kill(place)

    def kill(self, place: Place) -> None:
        self._effect()
        server = self.world.servers.get((place.service, place.instance))
        if server is not None:
            self.world.stop_process(server)

    def remove(self, place: Place, *, discard_data: bool) -> None:
        self._effect()
        self.world.servers.pop((place.service, place.instance), None)
        if discard_data:
            self.world.volumes.pop(self.volume_name(place), None)

    def volume_name(self, place: Place) -> str:
        return f"{place.instance}-g{place.generation}"

    def destroy_service(self, service: str) -> None:
        self._effect()
        self.world.servers.clear()
        self.world.volumes.clear()

    def set_memory(self, place: Place, memory_bytes: int | None) -> None:
        self._effect()

    def memory_used(self, place: Place) -> int | None:
        return None

    def logs(self, place: Place, lines: int) -> str:
        return ""

    def exit_descriptor(self, place: Place) -> int | None:
        return None

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        return iter(())

    def resolve_image(self, engine: str, configured: str | None) -> str:
        return "image"

    def labels(self, place: Place) -> Mapping[str, str]:
        return {}

    def _effect(self) -> None:
        self.power.effect()
        if self.world.runtime_down:
            raise RuntimeFailedError("the runtime does not answer")


class SimDriver:
    """The driver contract on the world: an engine promoted by the manager, like MySQL."""

    engine = "sim"

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power
        self.capabilities = Capabilities((1, 2, 3, 4, 5), world.elects, 1, world.elects)

    def new_secrets(self) -> dict[str, str]:
        return {}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        return LaunchSpec("", 1)

    def url(
        self, service: ServiceContext, primary: Target | None, members: Sequence[Target]
    ) -> str | None:
        return None

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        server = self._reach(target)
        volume = self.world.data(server)
        linked = self.world.linked(server)
        return ServerStatus(
            role=server.role,
            position={"log": json.dumps(volume.log), "seeded": str(volume.seeded)},
            source=server.source,
            link_up=linked,
            lag_seconds=0.0 if linked else None,
            synchronized=linked and volume.seeded,
        )

    def relate(
        self,
        target: Target,
        standby: ServerStatus,
        primary_target: Target,
        primary: ServerStatus,
        members: Sequence[Target],
    ) -> Relation:
        if standby.position["seeded"] != "True":
            return Relation.EMPTY
        if standby.source == primary_target.address:
            return Relation.ATTACHED
        return Relation.DETACHED if covers(primary, standby) else Relation.DIVERGED

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        return rank_by(standbys, covers)

    def open_tripwire(self, service: ServiceContext, target: Target) -> socket.socket:
        raise ServerError("there are none here")

    def initialize(self, service: ServiceContext, target: Target) -> None:
        self.power.effect()
        server = self._reach(target)
        self.world.data(server).seeded = True
        server.role = Role.PRIMARY

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        self.power.effect()
        volume = self.world.data(self._reach(target))
        volume.log[:] = self.world.data(self._reach(primary)).log
        volume.seeded = True

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],
    ) -> None:
        self.power.effect()
        self._reach(target).source = primary.address

    def drain(self, service: ServiceContext, target: Target) -> str:
        self.power.effect()
        self._reach(target)
        return ""

    def promote(self, service: ServiceContext, target: Target, others: Sequence[Target]) -> str:
        self.power.effect()
        server = self._reach(target)
        if self.world.elects:
            self.world.elect(server)
            if server.role is not Role.PRIMARY:
                raise ServerError("it was not elected")
            return ""
        server.source, server.role = None, Role.PRIMARY
        return ""

    def demote(self, service: ServiceContext, target: Target) -> None:
        self.power.effect()
        self._reach(target).role = Role.STANDBY

    def hand_over(self, service: ServiceContext, target: Target, primary: Target) -> str:
        raise ServerError("not simulated yet")

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        self.power.effect()

    def before_stop(self, service: ServiceContext, target: Target) -> None:
        return None

    def forget(self, target: Target) -> None:
        return None

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> Writer:
        raise ServerError("clients of the simulation write to the world itself")

    def _reach(self, target: Target) -> SimServer:
        if self.power.dead:
            raise ManagerDiedError
        server = self.world.at(target.address)
        if server is None or not server.running:
            raise RefusedError("nothing listens")
        if server.hung or server.cut_off:
            raise SilentError("no answer")
        return server


def covers(ahead: ServerStatus, behind: ServerStatus) -> bool:
    """Whether the one's log begins with the other's."""
    more, less = json.loads(ahead.position["log"]), json.loads(behind.position["log"])
    return bool(more[: len(less)] == less)
