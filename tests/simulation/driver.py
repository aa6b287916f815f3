"""The driver contract on the simulated world, for all of its engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hamanager.contracts.assurance import assure
from hamanager.contracts.driver import Connection, Driver, LaunchSpec, Shell
from hamanager.contracts.replication import HandOver
from hamanager.errors import (
    HamanagerError,
    RefusedError,
    ServerError,
    SilentError,
    StaleVersionError,
)
from hamanager.model.capabilities import Traits
from hamanager.model.durability import Durability
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_drivers.ranking import rank_by
from tests.simulation.power import Power
from tests.simulation.servers import (
    CONNECTIONS,
    REFUSES_ALONE_SECONDS,
    Engine,
    SimServer,
    version_of,
)
from tests.simulation.world import World

STALL_SEEN_SECONDS = 1.5
EFFECTS = (
    *(
        "initialize",
        "seed",
        "attach",
        "apply_received",
        "promote",
        "set_required_acks",
        "set_semisync_replica",
    ),
    *("demote", "force", "hand_over", "detach", "resize", "shut_down", "end_waiting", "shut_out"),
    "prompt",
    "leave",
)


class SimDriver(Driver):
    """What one manager can do to the simulated servers: itself all parts that its engine has."""

    engine = "sim"

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power
        self._waited: dict[str, tuple[tuple[int, ...], float]] = {}
        choice = (Durability.AVAILABILITY, Durability.STRICT)
        self.traits = Traits(
            allowed_instances=(1, 2, 3, 4, 5),
            minimum_memory_bytes=1,
            url_names_all=world.elects,
            durabilities=(Durability.MAJORITY,) if world.elects else choice,
            refuses_alone_after_seconds=REFUSES_ALONE_SECONDS
            if world.engine is Engine.ASYNCHRONOUS
            else None,
            rollback_directory="rollback" if world.elects else "",
        )
        acknowledging = self if world.engine is Engine.ACKNOWLEDGING else None
        self.replication = self
        self.cache = self
        self.required_acks = None if world.elects else self
        self.leaving = self if world.engine is Engine.ASYNCHRONOUS else None
        self.semisync = self.settling = self.shutdown = acknowledging
        self.election = self if world.elects else None

    # --- Pure ----------------------------------------------------------------------------------

    def new_secrets(self) -> dict[str, str]:
        return {}

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        lossless = self.world.engine is Engine.ACKNOWLEDGING
        signal = "SIGKILL" if lossless else "SIGTERM"
        return LaunchSpec("", 1, stop_signal=signal, holds_stop=not lossless)

    def connection(
        self,
        service: ServiceContext,
        address: tuple[str, int] | None,
        members: Sequence[Target],
    ) -> Connection | None:
        return None

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        return True

    def shell(self, service: ServiceContext) -> Shell:
        return Shell((), "")

    def upgrade_problem(self, present: str, wanted: str) -> str:
        return "" if int(wanted) >= int(present) else "it is older"

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        return memory_bytes

    def cache_bytes(self, service: ServiceContext, target: Target) -> int:
        return 0

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

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        return ",".join(str(number) for number in sorted(_read(status) - _read(primary)))

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        lacks = _read(primary) - _read(status)
        return f"at least {len(lacks)} writes" if lacks else ""

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        return rank_by({n: s for n, s in standbys.items() if not s.empty}, covers)

    # --- Questions -----------------------------------------------------------------------------

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        server = self._reach(target)
        volume = self.world.data(server)
        linked = self.world.linked(server)
        return ServerStatus(
            role=server.role,
            position={"log": _written(volume.log), "seeded": str(volume.seeded)},
            source=server.source,
            link_up=linked or self._seems_linked(server),
            link_age_seconds=self._link_age_seconds(server),
            lag_seconds=0.0 if linked else None,
            synchronized=linked and volume.seeded and self._has_all(server),
            required_acks=None if self.world.elects else server.required_acks,
            # Also while its receiver looks for the source in vain.
            acknowledges=server.link_acknowledges and server.source is not None,
            acknowledges_from_disk=server.syncs,
            stuck_clients=len(server.waiting) if len(server.waiting) >= CONNECTIONS else 0,
            waiting_seconds=self._waiting_seconds(server),
            turns_clients_away=server.offline,
            term=None if self.world.elects else volume.told_term,
            empty=not volume.seeded,
            facts={"kept out": "yes"} if server.expelled or self._is_refused(server) else {},
        )

    def _waiting_seconds(self, server: SimServer) -> float:
        """Since a probe saw the same writes wait."""
        now, waiting = self.world.clock.monotonic(), tuple(server.waiting)
        before = self._waited.get(server.address)
        if before is None or before[0] != waiting:
            self._waited[server.address] = before = (waiting, now)
        return now - before[1] if waiting else 0.0

    def _is_refused(self, server: SimServer) -> bool:
        source = self.world.at(server.source)
        return source is not None and server.serial in source.refused

    def _link_age_seconds(self, server: SimServer) -> float | None:
        if server.stalled_at is not None:
            return self.world.clock.monotonic() - server.stalled_at
        return 0.0 if server.source is not None and self.world.linked(server) else None

    def _seems_linked(self, server: SimServer) -> bool:
        """Nothing arrives any more, which it has not noticed yet."""
        age = self._link_age_seconds(server)
        return server.source is not None and age is not None and age < STALL_SEEN_SECONDS

    def _has_all(self, server: SimServer) -> bool:
        source = self.world.at(server.source)
        return source is not None and self.world.data(source).log == self.world.data(server).log

    def open_tripwire(self, service: ServiceContext, target: Target) -> None:
        return None

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        server, led = self._reach(target), self._reach(primary)
        self.world.receive(server)
        self.world.data(server).apply()
        if not set(self.world.data(led).log) <= set(self.world.data(server).log):
            raise ServerError("it does not hold everything")

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        server, led = self._reach(target), self._reach(primary)
        self.world.receive(server)
        if not set(self.world.data(led).log) <= set(self.world.data(server).log):
            raise ServerError("it has not received everything")

    # --- Effects ---------------------------------------------------------------------------------

    def initialize(self, service: ServiceContext, target: Target) -> None:
        server = self._act(target)
        self.world.data(server).seeded = True
        if self.world.elects:
            self.world.lead(server)
        else:
            server.role = Role.PRIMARY

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        server, source = self._act(target), self._reach(primary)
        if not self.world.elects and version_of(server.image) != version_of(source.image):
            raise ServerError("copies are made between servers of one version")
        volume = self.world.data(server)
        volume.copy(self.world.data(self._reach(primary)))
        volume.apply()
        volume.seeded = True

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],
    ) -> None:
        server = self._act(target)
        self.world.data(server).apply()
        server.role, server.source, server.required_acks = Role.STANDBY, primary.address, 0
        server.expelled, server.serial = False, target.serial
        self._admit(primary, target)
        server.waiting.clear()
        server.acks.clear()
        self.world.relink(server)

    def apply_received(self, service: ServiceContext, target: Target) -> str:
        server = self._act(target)
        if not self.world.elects:
            server.source = None
            self.world.data(server).apply()
        return ""

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],
        required_acks: int,
        term: int | None = None,
    ) -> str:
        server = self._act(target)
        if self.world.elects:
            self.world.elect(server)
            if server.role is not Role.PRIMARY:
                raise ServerError("it was not elected")
            return ""
        self._lead(server, required_acks, term)
        return ""

    def _lead(self, server: SimServer, required_acks: int, term: int | None) -> None:
        if server.role is Role.PRIMARY:
            return  # it may have been told another number since
        self.world.data(server).drop_unapplied()
        server.source, server.role, server.offline = None, Role.PRIMARY, False
        self.world.data(server).told_term = term or 0
        server.required_acks, server.acknowledges, server.syncs = required_acks, False, False
        server.acks.clear()
        self.world.relink(server)

    def settle(self, service: ServiceContext, target: Target) -> None:
        self._act(target)

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        server = self._act(primary)
        server.required_acks = required_acks
        self.world.count_acknowledgements(server)
        if not required_acks:
            server.acks.clear()

    def leave(self, service: ServiceContext, target: Target, primary: Target) -> None:
        server = self._act(target)
        if server.source == primary.address:
            server.source = None

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:
        server = self._act(primary)
        server.offline = True
        server = self._act(primary)
        server.waiting.clear()
        server.required_acks = 0
        server.acks.clear()
        server = self._act(primary)
        server.required_acks = required_acks
        server = self._act(primary)
        server.offline = False
        return ""

    def prompt(self, service: ServiceContext, primary: Target) -> None:
        server = self._act(primary)
        self.world.data(server).append(self.world.next_write)
        self.world.next_write += 1
        self.world.release(server)

    def _admit(self, primary: Target, target: Target) -> None:
        led = self.world.at(primary.address)
        if led is not None:
            led.refused.discard(target.serial)

    def shut_out(self, service: ServiceContext, primary: Target, serial: int) -> None:
        self._act(primary).refused.add(serial)

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """Several statements: a manager may die between any two of them."""
        server = self._act(target)
        if server.acknowledges is server.link_acknowledges is server.syncs is wanted:
            return
        if wanted:
            server.syncs = True
            self.world.data(server).sync()
            server = self._act(target)
        server.acknowledges = wanted
        server = self._act(target)
        self.world.relink(server)
        if wanted and not self.world.linked(server):
            raise ServerError("its link is down")
        if not wanted:
            server = self._act(target)
            server.syncs = False

    def demote(self, service: ServiceContext, target: Target) -> None:
        server = self._act(target)
        server.role, server.required_acks = Role.STANDBY, 0
        server.waiting.clear()
        server.acks.clear()

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:
        chosen = self._act(target)
        whole = [self._reach(survivor) for survivor in survivors]
        for server in self.world.servers.values():
            server.expelled = server not in whole
        self.world.lead(chosen)

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        self._act(target)

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        if self._act(target).role is Role.PRIMARY:
            self.demote(service, primary)
            return "it took over already"
        if self.world.elects:
            return self._step_down_for(target, primary, terms)
        old = self._act(primary)
        terms.before_stop()
        old = self._act(primary)
        old.role, awaited = Role.STANDBY, old.required_acks
        try:
            self._catch_up(target, primary)
            self.world.release(self._reach(primary))
            self._reach(primary).waiting.clear()
            terms.before_promotion()
            self._lead(self._act(target), terms.required_acks, terms.term)
        except StaleVersionError:
            raise  # another manager has taken over: what to do now is not for this one to say
        except HamanagerError:
            terms.before_undo()
            old = self._act(primary)
            old.role, old.required_acks = Role.PRIMARY, awaited
            raise
        return ""

    def _catch_up(self, target: Target, primary: Target) -> None:
        new, old = self._act(target), self._reach(primary)
        self.world.receive(new)
        self.world.data(new).apply()
        if self.world.data(new).log != self.world.data(old).log:
            raise ServerError("it did not catch up")

    def _step_down_for(self, target: Target, primary: Target, terms: HandOver) -> str:
        terms.before_promotion()
        self._catch_up(target, primary)
        self._reach(primary).role = Role.STANDBY
        self.world.lead(self._reach(target))
        self.world.rejoin()
        return ""

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        self.power.effect()

    def shut_down(self, service: ServiceContext, target: Target) -> None:
        self.demote(service, target)
        self.world.shut_down(self._act(target))

    def forget(self, target: Target) -> None:
        return None

    # --- The way to a server --------------------------------------------------------------------

    def _act(self, target: Target) -> SimServer:
        """Before each statement: whether it may still be sent."""
        self.power.statement()
        assure()
        self.power.effect()
        return self._reach(target)

    def _reach(self, target: Target) -> SimServer:
        self.power.live()
        server = self.world.at(target.address)
        if server is None or not server.running:
            raise RefusedError("nothing listens")
        if server.hung or server.cut_off:
            raise SilentError("no answer")
        return server


def _written(log: Sequence[int]) -> str:
    return "".join(map("{},".format, log))


def _read(status: ServerStatus) -> set[int]:
    return {int(number) for number in status.position["log"].split(",") if number}


def covers(ahead: ServerStatus, behind: ServerStatus) -> bool:
    """Whether the one's log begins with the other's."""
    return ahead.position["log"].startswith(behind.position["log"])
