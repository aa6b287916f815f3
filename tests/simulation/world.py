"""In-memory servers and their disks: one world that a simulation can break.

Three engines: one whose primary can wait for its standbys' acknowledgements, one that replicates
asynchronously, one that elects its primary by itself.

Servers are logs of numbered writes. Replication happens only when the simulation says so, or as
far as a write waits for it.
"""

from __future__ import annotations

from hamanager.contracts.driver import HELD_SECONDS
from hamanager.contracts.endpoint import Listener
from hamanager.contracts.runtime import Container, InstanceRef
from hamanager.model.snapshot import Role
from tests.simulation.elsewhere import Elsewhere
from tests.simulation.power import SimClock, StoreHealth
from tests.simulation.servers import (
    CONNECTIONS,
    GIVES_UP_SECONDS,
    REFUSES_ALONE_SECONDS,
    Engine,
    SimServer,
    Volume,
    version_of,
)


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
        """What an operator had seen before letting the data go."""
        self.next_write = 0
        self.next_port = 20000
        self.runtime_down = False
        self.runtime_out: frozenset[str] = frozenset()
        """Calls of the runtime that hang or fail while it answers others."""
        self.store = StoreHealth()
        self.published: tuple[Listener, ...] = ()
        """The service's addresses, and where they lead."""
        self.elsewhere = Elsewhere(self.clock.monotonic)
        self.endpoint_down = False
        self.names_lost = False
        """The endpoint cannot find out where the servers are."""
        self.misled = False
        """Where clients should be sent could not be written down: they go where they went."""
        self.bad_images: set[str] = set()
        """Nothing comes up from these."""
        self.images: dict[str, Container] = {}
        """Per instance, what it was last started from."""
        self.used_bytes: int | None = None
        """By every server's process; None while nobody can tell."""
        self.hosts: tuple[str, ...] = ()
        """None: one engine alone."""
        self.silent: dict[str, float] = {}
        """Hosts whose engine does not answer, and since when."""
        self.leaving: set[str] = set()
        """Hosts that an operator drains."""
        self._term = 0

    # --- Who is who ------------------------------------------------------------------------

    def at(self, address: str | None) -> SimServer | None:
        return next((s for s in self.servers.values() if s.address == address), None)

    def named(self, name: str) -> SimServer | None:
        named = [s for s in self.servers.values() if s.ref.instance == name]
        return next((s for s in named if not s.left), None)

    def placed(self, ref: InstanceRef) -> SimServer | None:
        """The container of that instance on that host."""
        key = (ref.service, ref.instance)
        server = self.servers.get(key)
        if server is not None and server.ref.placed_on == ref.placed_on:
            return server
        return self.servers.get((ref.service, f"{ref.instance} on {ref.placed_on}"))

    def make_way(self, ref: InstanceRef) -> None:
        """The instance is made anew elsewhere: what it was stays where it was."""
        former = self.servers.get((ref.service, ref.instance))
        if former is not None and former.ref.placed_on != ref.placed_on:
            del self.servers[ref.service, ref.instance]
            former.left = True
            self.servers[ref.service, f"{ref.instance} on {former.ref.placed_on}"] = former

    def on(self, host: str) -> list[SimServer]:
        """Every container there."""
        return [s for s in self.servers.values() if s.ref.placed_on == host]

    def led_to(self, listener: str) -> tuple[str, ...]:
        """The instances to which that address leads."""
        found = [told.routes for told in self.published if told.name == listener]
        return tuple(route.instance for routes in found for route in routes)

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
            if s.link_acknowledges and s.source == server.address and self.linked(s, woken=True)
        ]

    def linked(self, server: SimServer, *, woken: bool = False) -> bool:
        """Whether it replicates from its source now (`woken`: were that one not hung)."""
        return server.stalled_at is None and self._connected(server, woken=woken)

    def _reports(self, server: SimServer) -> bool:
        """Whether its source hears from it. Nothing need come back: a network can fail in one
        direction."""
        at = server.stalled_at
        gave_up = at is not None and self.clock.monotonic() - at >= GIVES_UP_SECONDS
        return not gave_up and self._connected(server)

    def _connected(self, server: SimServer, *, woken: bool = False) -> bool:
        source = self.at(server.source)
        return (
            server.awake
            and not server.link_cut
            and source is not None
            and server.serial not in source.refused
            and source.running
            and not source.link_cut
            and (woken or not source.hung)
            and (self.elects or version_of(server.image) >= version_of(source.image))
        )

    def safe_somewhere(self) -> set[int]:
        """Every write that some volume still holds, or that an operator has seen to."""
        held = {number for volume in self.volumes.values() for number in volume.log}
        return held | self.archive

    # --- What clients do ---------------------------------------------------------------------

    def would_acknowledge(self, server: SimServer) -> bool:
        """Whether a client's write to that server would succeed, now or when it wakes up."""
        if self.elects:
            return not server.hung and not server.link_cut  # its majority has moved on by then
        if self.engine is Engine.ASYNCHRONOUS:
            # Whom it last heard of it counts on for some seconds more.
            return not self.hosts or server.required_acks == 0 or self._counts_on(server)
        return server.required_acks == 0 or len(self.acknowledging(server)) >= server.required_acks

    def write(self, first: int = 0) -> None:
        """A client writes to whoever takes it; `first` turns the order in which standbys get it:
        no more of them than necessary do."""
        for server in self.primaries():
            if server.hung or not self._accepts(server):
                continue
            volume = self.data(server)
            volume.append(self.next_write)
            if self.elects:
                volume.term = self._term
                self._commit(server, first)
            else:
                server.waiting.append(self.next_write)
                self.release(server, first)
            self.next_write += 1

    def _accepts(self, server: SimServer) -> bool:
        """An asynchronous primary can refuse writes while too few standbys are linked."""
        if self.engine is not Engine.ASYNCHRONOUS:
            return not server.offline and len(server.waiting) < CONNECTIONS
        return self._hears_enough(server) or bool(self.hosts and self._counts_on(server))

    def _hears_enough(self, server: SimServer) -> bool:
        linked = [s for s in self.servers.values() if s.source == server.address]
        return sum(self._reports(s) for s in linked) >= server.required_acks

    def _counts_on(self, server: SimServer) -> bool:
        return self.clock.monotonic() - server.heard_at < REFUSES_ALONE_SECONDS

    def note_links(self) -> None:
        """Whom primaries hear of now."""
        now = self.clock.monotonic()
        for server in self.servers.values():
            if server.role is Role.PRIMARY and not server.hung and self._hears_enough(server):
                server.heard_at = now

    def release(self, server: SimServer, first: int = 0) -> None:
        """Tell the clients whose writes wait, if enough standbys have them. Any that acknowledge
        will do; where they are too few, they have acknowledged all the same."""
        if server.hung or not server.waiting:
            return
        if self.engine is Engine.ACKNOWLEDGING:
            for standby in _turned(self.acknowledging(server), first)[: server.required_acks]:
                self.receive(standby)
                mine, theirs = self.data(standby), self.data(server)
                if len(mine.log) > standby.held_at_link and mine.log == theirs.log[: len(mine.log)]:
                    server.acks[standby.ref.instance] = len(mine.log)
        self.count_acknowledgements(server)

    def count_acknowledgements(self, server: SimServer) -> None:
        """Whoever gave them, and whether or not it is still there."""
        log = self.data(server).log
        released = len(log)
        if self.engine is Engine.ACKNOWLEDGING and server.required_acks:
            stored = sorted(server.acks.values(), reverse=True)
            released = (
                stored[server.required_acks - 1] if len(stored) >= server.required_acks else 0
            )
        told = set(log[:released]) & set(server.waiting)
        self.acknowledged |= told
        server.waiting[:] = [number for number in server.waiting if number not in told]

    def relink(self, server: SimServer) -> None:
        """Its receiver connects anew, and so do those of its standbys."""
        for other in self.servers.values():
            if other is server or other.source == server.address:
                other.link_acknowledges = other.acknowledges
                other.held_at_link = len(self.data(other).log)

    def _commit(self, server: SimServer, first: int) -> None:
        """An engine that elects acknowledges what a majority has."""
        volume, followers = self.data(server), self._followers(server)
        needed = self.voters // 2
        if len(followers) < needed:
            return
        for follower in _turned(followers, first)[:needed]:
            self.data(follower).copy(volume)
            self.data(follower).sync()  # a majority's word means its disks
        self.acknowledged |= set(volume.log)

    def write_on_standby(self, server: SimServer, *, promised: bool) -> None:
        """Somebody writes where nobody should."""
        if server.awake and self.data(server).seeded and server.role is Role.STANDBY:
            self.data(server).append(self.next_write)
            if promised:
                self.errant.add(self.next_write)
            self.next_write += 1

    # --- What servers do by themselves ---------------------------------------------------------

    def replicate(self) -> None:
        """Every standby receives everything from its source, and applies it."""
        for server in self.servers.values():
            self.receive(server)
            if server.awake:
                self.data(server).apply()
        for server in self.primaries():
            self.release(server)

    def receive(self, server: SimServer) -> None:
        """One standby receives everything from its source."""
        source = self.at(server.source)
        if source is None or not self.linked(server):
            return
        mine, theirs = self.data(server), self.data(source)
        if mine.log == theirs.log[: len(mine.log)]:
            mine.copy(theirs)
            if self.engine is not Engine.ACKNOWLEDGING:
                mine.apply()
            elif server.syncs:
                mine.sync()

    @property
    def voters(self) -> int:
        """How many members vote in elections: those that once had a full copy."""
        members = [s for s in self.servers.values() if not s.expelled]
        return sum(self.data(server).seeded for server in members)

    def _followers(self, primary: SimServer) -> list[SimServer]:
        """The members that have a full copy and replicate from that primary now."""
        return [
            server
            for server in self.servers.values()
            if server.source == primary.address and self.linked(server) and self.data(server).seeded
        ]

    def elect(self, wanted: SimServer | None = None, first: int = 0) -> None:
        """Members that elect by themselves: without a working primary, a majority chooses the one
        with the most data (or the one that asks, if none of them has more; `first` decides among
        equals)."""
        if not self.elects or self._leader() is not None:
            return
        connected = [s for s in self.servers.values() if s.awake and not s.link_cut]
        electorate = [s for s in connected if self.data(s).seeded and not s.expelled]
        if not electorate or len(electorate) <= self.voters / 2:
            return
        best = max(_turned(electorate, first), key=lambda s: self.data(s).progress)
        if wanted in electorate and self.data(wanted).progress >= self.data(best).progress:
            best = wanted
        for server in self.primaries():
            server.role = Role.STANDBY  # a newer term: it steps down before it can acknowledge
        self.lead(best)
        self.rejoin()

    def lead(self, server: SimServer) -> None:
        """A member leads in a new term."""
        self._term += 1
        server.role, server.source, server.expelled = Role.PRIMARY, None, False

    def _leader(self) -> SimServer | None:
        leading = [s for s in self.primaries() if not s.hung and not s.link_cut]
        return leading[0] if leading else None

    def rejoin(self) -> None:
        """Members of an engine that elects find the primary by themselves, and undo what it has
        not."""
        leader = self._leader()
        if not self.elects or leader is None:
            return
        theirs = self.data(leader)
        for server in self.servers.values():
            mine = self.data(server)
            able = server.awake and not server.link_cut and mine.seeded and not server.expelled
            if able and server is not leader:
                server.role, server.source = Role.STANDBY, leader.address
                if mine.log != theirs.log[: len(mine.log)]:
                    mine.copy(theirs)
                    mine.sync()

    # --- What happens to them --------------------------------------------------------------------

    def start_process(self, server: SimServer) -> None:
        volume, version = self.data(server), version_of(server.image)
        reads = version >= volume.version and server.image not in self.bad_images
        server.running = reads and not server.broken
        if server.running:
            volume.version = version

    def stop_process(self, server: SimServer) -> None:
        server.running = server.hung = False
        server.role, server.source, server.stalled_at = Role.STANDBY, None, None
        server.ends_at = None
        server.required_acks, server.acknowledges, server.syncs = 0, False, False
        server.offline = False
        server.waiting.clear()
        server.acks.clear()
        self.relink(server)

    def shut_down(self, server: SimServer) -> None:
        """It is asked to end by itself, and wakes up whoever waits: their clients are told that all
        is well (MySQL, `semisync_source.cc`: `commitTrx`)."""
        if server.awake:
            self.acknowledged |= set(server.waiting)
            self.stop_process(server)

    def terminate(self, server: SimServer) -> None:
        """Somebody stops its container."""
        if server.holds_stop and server.running:
            server.ends_at = server.ends_at or self.clock.monotonic() + HELD_SECONDS
        else:
            self.stop(server)

    def end_overdue(self) -> None:
        """Nobody's signal is held back for longer than that."""
        for server in self.servers.values():
            if server.ends_at is not None and server.ends_at <= self.clock.monotonic():
                self.stop(server)

    def stop(self, server: SimServer) -> None:
        """The signal reaches it."""
        if server.stop_signal == "SIGTERM":
            self.shut_down(server)
        elif server.running:
            self.stop_process(server)

    def lose_power(self, server: SimServer) -> None:
        """Its machine ends: what was not on its disk is gone."""
        self.stop_process(server)
        self.data(server).lose_power()

    def lose_data(self, server: SimServer) -> None:
        """Its process ends and its disk is replaced by an empty one."""
        self.stop_process(server)
        self.volumes[server.volume] = Volume()


def _turned(servers: list[SimServer], first: int) -> list[SimServer]:
    first %= max(1, len(servers))
    return [*servers[first:], *servers[:first]]
