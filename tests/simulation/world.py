"""In-memory engines, their runtime and their clock: one world that a simulation can break.

Three engines: one whose primary can wait for its standbys' acknowledgements, one that replicates
asynchronously, one that elects its primary by itself.

Servers are logs of numbered writes. Replication happens only when the simulation says so, or as
far as a write waits for it. A dead manager can do nothing: every effect passes `Power`, which may
be cut between any two of them; a suspended one goes on later with what it knew.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hamanager.contracts.driver import HandOver, LaunchSpec, Writer
from hamanager.contracts.runtime import Container, Place, RuntimeEvent
from hamanager.errors import (
    HamanagerError,
    RefusedError,
    RuntimeFailedError,
    ServerError,
    SilentError,
)
from hamanager.values.capabilities import Capabilities
from hamanager.values.durability import Durability
from hamanager.values.service import ServiceContext, Target
from hamanager.values.snapshot import Process, Relation, Role, ServerStatus
from hamanager_drivers.ranking import rank_by


class ManagerDiedError(BaseException):
    """The manager was killed; not an `Exception`, so that nothing in it can handle that."""


class Engine(StrEnum):
    """How the simulated servers replicate."""

    ACKNOWLEDGING = "acknowledging"
    ASYNCHRONOUS = "asynchronous"
    ELECTING = "electing"


class Power:
    """What keeps one manager alive: cut after a number of effects, or suspended once at one of its
    questions to the store (there is one before each step)."""

    def __init__(self) -> None:
        self.effects_left: int | None = None
        self.dead = False
        self.questions_left: int | None = None
        self.while_suspended: Callable[[], None] = lambda: None

    def question(self) -> None:
        """Called before the manager asks the store for anything."""
        if self.dead:
            raise ManagerDiedError
        if self.questions_left is None:
            return
        self.questions_left -= 1
        if self.questions_left < 0:
            self.questions_left = None
            self.while_suspended()

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
    expelled: bool = False
    """A forced reconfiguration has left it out of an electing set."""
    link_cut: bool = False
    """It cannot reach any other server."""
    role: Role = Role.STANDBY
    source: str | None = None
    awaits: int = 0
    """How many acknowledgements a write of its clients waits for."""
    acknowledges: bool = False
    waiting: list[int] = field(default_factory=list)
    """Writes in its log whose clients wait."""


class World:
    """All servers and volumes, and what clients were promised."""

    def __init__(self, engine: Engine = Engine.ASYNCHRONOUS) -> None:
        self.engine = engine
        self.elects = engine is Engine.ELECTING
        self.clock = SimClock()
        self.servers: dict[tuple[str, str], SimServer] = {}
        self.volumes: dict[str, Volume] = {}
        self.acknowledged: set[int] = set()
        self.errant: set[int] = set()
        """What somebody wrote to a standby: to be kept somewhere."""
        self.archive: set[int] = set()
        """What a person had seen before letting the data go."""
        self.archiving = False
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

    def acknowledging(self, server: SimServer) -> list[SimServer]:
        """Whose acknowledgements that server hears now, or will when it wakes up."""
        return [
            s
            for s in self.servers.values()
            if s.acknowledges and s.source == server.address and self.linked(s, woken=True)
        ]

    def would_acknowledge(self, server: SimServer) -> bool:
        """Whether a client's write to that server would succeed, now or when it wakes up."""
        if self.elects and server.hung:
            return False  # its majority has moved on by then
        if self.engine is Engine.ASYNCHRONOUS:
            return True  # whom it last heard of it counts on for some seconds more
        return server.awaits == 0 or len(self.acknowledging(server)) >= server.awaits

    def accepts(self, server: SimServer) -> bool:
        """An asynchronous primary can refuse writes while too few standbys are linked."""
        if self.engine is not Engine.ASYNCHRONOUS:
            return True
        linked = [s for s in self.servers.values() if s.source == server.address]
        return sum(self.linked(s) for s in linked) >= server.awaits

    def release(self, server: SimServer, first: int = 0) -> None:
        """Tell the clients whose writes wait, if enough standbys have them. Any that acknowledge
        will do: `first` turns the order in which they are heard."""
        if server.hung or server.role is not Role.PRIMARY or not server.waiting:
            return
        if self.engine is Engine.ASYNCHRONOUS:
            self.acknowledged |= set(server.waiting)
            server.waiting.clear()
            return
        heard = self.acknowledging(server)
        if len(heard) < server.awaits:
            return
        first %= max(1, len(heard))
        for standby in [*heard[first:], *heard[:first]][: server.awaits]:
            self.receive(standby)
            if not set(server.waiting) <= set(self.data(standby).log):
                return
        self.acknowledged |= set(server.waiting)
        server.waiting.clear()

    def write(self, first: int = 0) -> None:
        """A client writes to whoever takes it. An engine that elects acknowledges only what a
        majority has."""
        for server in self.primaries():
            if server.hung or not self.accepts(server):
                continue
            log = self.data(server).log
            log.append(self.next_write)
            if not self.elects:
                server.waiting.append(self.next_write)
                self.release(server, first)
            elif len(followers := self.followers(server)) + 1 > self.voters / 2:
                for follower in followers:
                    self.data(follower).log[:] = log
                self.acknowledged.add(self.next_write)
            self.next_write += 1

    @property
    def voters(self) -> int:
        """How many members vote in elections: those that once had a full copy."""
        members = [s for s in self.servers.values() if not s.expelled]
        return sum(self.data(server).seeded for server in members)

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
        electorate = [s for s in awake if self.data(s).seeded and not s.expelled]
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
            if leaders and awake and server is not leaders[0] and not server.expelled:
                server.source = leaders[0].address
                self._roll_back(server, leaders[0])

    def replicate(self) -> None:
        """Every standby receives everything from its source."""
        for server in self.servers.values():
            self.receive(server)
        for server in self.primaries():
            self.release(server)

    def receive(self, server: SimServer) -> None:
        """One standby receives everything from its source."""
        source = self.at(server.source)
        if source is None or not self.linked(server):
            return
        mine, theirs = self.data(server).log, self.data(source).log
        if mine == theirs[: len(mine)]:
            mine.extend(theirs[len(mine) :])

    def write_on_standby(self, server: SimServer) -> None:
        """Somebody writes where nobody should."""
        takes_it = server.running and not server.hung and self.data(server).seeded
        if takes_it and server.role is Role.STANDBY:
            self.data(server).log.append(self.next_write)
            self.errant.add(self.next_write)
            self.next_write += 1

    def lose_data(self, server: SimServer) -> None:
        """Its process ends and its disk is replaced by an empty one."""
        self.stop_process(server)
        self.volumes[server.volume] = Volume()

    def linked(self, server: SimServer, *, woken: bool = False) -> bool:
        """Whether it replicates from its source now (`woken`: were that one not hung)."""
        source = self.at(server.source)
        return (
            server.running
            and not server.hung
            and not server.link_cut
            and source is not None
            and source.running
            and not source.link_cut
            and (woken or not source.hung)
        )

    def stop_process(self, server: SimServer) -> None:
        server.running = server.hung = False
        server.role, server.source = Role.STANDBY, None
        server.awaits, server.acknowledges = 0, False
        server.waiting.clear()

    def wake(self, server: SimServer) -> None:
        server.hung = False

    def safe_somewhere(self) -> set[int]:
        """Every write that some volume still holds, or that a person has seen to."""
        held = {number for volume in self.volumes.values() for number in volume.log}
        return held | self.archive


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

    def discard_volume(self, place: Place) -> None:
        self._effect()
        gone = self.world.volumes.pop(self.volume_name(place), None)
        if gone is not None and self.world.archiving:
            self.world.archive |= set(gone.log)

    def file_names(self, place: Place, directory: str) -> tuple[str, ...]:
        return ()

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
    """The driver contract on the world."""

    engine = "sim"

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power
        choice = (Durability.AVAILABILITY, Durability.STRICT)
        self.capabilities = Capabilities(
            allowed_instances=(1, 2, 3, 4, 5),
            elects_itself=world.elects,
            minimum_memory_bytes=1,
            url_names_all=world.elects,
            durabilities=(Durability.MAJORITY,) if world.elects else choice,
            acknowledges=world.engine is Engine.ACKNOWLEDGING,
        )

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
            synchronized=linked and volume.seeded and self._has_all(server),
            awaits=None if self.world.elects else server.awaits,
            acknowledges=server.acknowledges and linked,
            empty=not volume.seeded,
            facts={"expelled": "yes"} if server.expelled else {},
        )

    def _has_all(self, server: SimServer) -> bool:
        source = self.world.at(server.source)
        return source is not None and self.world.data(source).log == self.world.data(server).log

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
        if standby.facts:
            return Relation.DETACHED
        if not covers(primary, standby):
            return Relation.DIVERGED
        attached = standby.source == primary_target.address
        return Relation.ATTACHED if attached else Relation.DETACHED

    def excess(self, status: ServerStatus, primary: ServerStatus) -> str:
        extra = set(json.loads(status.position["log"])) - set(json.loads(primary.position["log"]))
        return ",".join(str(number) for number in sorted(extra))

    def shortfall(self, status: ServerStatus, primary: ServerStatus) -> str:
        lacks = set(json.loads(primary.position["log"])) - set(json.loads(status.position["log"]))
        return f"at least {len(lacks)} writes" if lacks else ""

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        return rank_by({n: s for n, s in standbys.items() if not s.empty}, covers)

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
        server = self._reach(target)
        server.role, server.source, server.awaits = Role.STANDBY, primary.address, 0
        server.expelled = False
        server.waiting.clear()

    def drain(self, service: ServiceContext, target: Target) -> str:
        self.power.effect()
        server = self._reach(target)
        if not self.world.elects:
            server.source = None
        return ""

    def promote(
        self, service: ServiceContext, target: Target, others: Sequence[Target], awaits: int
    ) -> str:
        self.power.effect()
        server = self._reach(target)
        if self.world.elects:
            self.world.elect(server)
            if server.role is not Role.PRIMARY:
                raise ServerError("it was not elected")
            return ""
        self._lead(server, awaits)
        return ""

    def _lead(self, server: SimServer, awaits: int) -> None:
        server.source, server.role = None, Role.PRIMARY
        server.awaits, server.acknowledges = awaits, False

    def require(self, service: ServiceContext, primary: Target, awaits: int) -> None:
        self.power.effect()
        server = self._reach(primary)
        server.awaits = awaits
        self.world.release(server)

    def acknowledge(self, service: ServiceContext, target: Target, *, wanted: bool) -> None:
        self.power.effect()
        server = self._reach(target)
        server.acknowledges = wanted
        if wanted and not self.world.linked(server):
            raise ServerError("its link is down")

    def confirm(self, service: ServiceContext, target: Target, primary: Target) -> None:
        server, led = self._reach(target), self._reach(primary)
        self.world.receive(server)
        if not set(self.world.data(led).log) <= set(self.world.data(server).log):
            raise ServerError("it does not hold everything")

    def demote(self, service: ServiceContext, target: Target) -> None:
        self.power.effect()
        server = self._reach(target)
        server.role, server.awaits = Role.STANDBY, 0
        server.waiting.clear()

    def force(self, service: ServiceContext, target: Target, members: Sequence[Target]) -> str:
        self.power.effect()
        chosen = self._reach(target)
        for server in self.world.servers.values():
            reached = server.running and not server.hung and not server.cut_off
            if server is not chosen and not reached:
                server.expelled = True
        chosen.role, chosen.source, chosen.expelled = Role.PRIMARY, None, False
        return "what only the others had"

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        new, old = self._reach(target), self._reach(primary)
        if new.role is Role.PRIMARY:
            self.demote(service, primary)
            return "it took over already"
        if self.world.elects:
            self.power.effect()
            if not self.world.linked(new) or not self.world.data(new).seeded:
                raise ServerError("it does not follow")
            terms.before_promotion()
            self.world.receive(new)
            new.role, new.source = Role.PRIMARY, None
            old.role, old.source = Role.STANDBY, new.address
            return ""
        self.power.effect()
        old.role = Role.STANDBY
        try:
            self.world.receive(new)
            if self.world.data(new).log != self.world.data(old).log:
                raise ServerError("it did not catch up")
            self.world.release(old)
            old.waiting.clear()
            terms.before_promotion()
        except HamanagerError:
            self.power.effect()
            old.role = Role.PRIMARY
            raise
        self.power.effect()
        self._lead(new, terms.awaits)
        return ""

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
