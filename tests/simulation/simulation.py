"""Two managers on one store, one service in a world that breaks, and the invariants.

After every event must hold:

1. at most one server would acknowledge a client's write (one that merely hangs counts too);
2. nothing that was acknowledged, or written where nobody should, has vanished from every disk;
3. every member of the published sync set holds every acknowledged write;
4. an electing engine's primary holds what a majority acknowledged;
5. the term never goes back.

At the end the faults cease: the service must become healthy at its full size by itself, and where
standbys acknowledge its primary must hold every acknowledged write.
"""

from __future__ import annotations

import contextlib

from hamanager.contracts.store import Store, Versioned
from hamanager.errors import HamanagerError
from hamanager.keeping import load_record, load_wish, save_wish
from hamanager.loop import ServiceLoop
from hamanager.stores.memory import MemoryStore
from hamanager.values.decision import Action
from hamanager.values.durability import Durability
from hamanager.values.history import HistoryEntry
from hamanager.values.order import Order, OrderKind
from hamanager.values.service import ServiceRecord, Wish
from hamanager.values.snapshot import Relation, Role
from hamanager_playbooks.book import PLAYBOOKS
from tests.simulation.world import (
    Engine,
    InlineExecutor,
    ManagerDiedError,
    Power,
    SimDriver,
    SimRuntime,
    SimServer,
    World,
)

SUSPENDED_SECONDS = 60.0


class PoweredStore:
    """A store that a dead manager cannot use any more, and that may be out of order."""

    def __init__(self, inner: Store, power: Power) -> None:
        self.inner, self.power = inner, power

    def get(self, key: str) -> Versioned | None:
        self.power.question()
        return self.inner.get(key)

    def put(self, key: str, value: str, expected: int) -> int:
        self.power.effect()
        return self.inner.put(key, value, expected)

    def delete(self, key: str, expected: int) -> None:
        self.power.effect()
        self.inner.delete(key, expected)

    def keys(self, prefix: str) -> list[str]:
        return list(self.inner.keys(prefix))

    def append(self, entry: HistoryEntry) -> None:
        if not self.power.dead:
            self.inner.append(entry)

    def history(self, service: str, limit: int | None = None) -> list[HistoryEntry]:
        return list(self.inner.history(service, limit))

    def close(self) -> None:
        return None


class Manager:
    """One manager process: everything in it is forgotten when it dies."""

    def __init__(self, world: World, store: Store, owner: str) -> None:
        self.power = Power()
        self.loop = ServiceLoop(
            "db",
            PoweredStore(store, self.power),
            SimDriver(world, self.power),
            SimRuntime(world, self.power),
            world.clock,
            InlineExecutor(),
            owner,
            PLAYBOOKS,
        )


class Simulation:
    """The world, its managers, and what must always be true of them."""

    def __init__(
        self,
        engine: Engine = Engine.ASYNCHRONOUS,
        durability: Durability = Durability.AVAILABILITY,
        instances: int = 2,
    ) -> None:
        self.world = World(engine)
        self.store = MemoryStore()
        self.managers = [Manager(self.world, self.store, owner) for owner in ("a", "b")]
        self.term = 0
        self.forced = False
        wish = Wish(
            name="db",
            engine="sim",
            instances=instances,
            image="image",
            created_at=0,
            durability=durability,
        )
        save_wish(self.store, wish, 0)

    # --- What happens ----------------------------------------------------------------------

    def event(self, kind: str, argument: object = 0) -> None:
        """One thing happens, and the invariants are checked."""
        self._carry_out(kind, argument)
        self.world.rejoin()
        self.check(f"{kind} {argument}")

    def _carry_out(self, kind: str, argument: object) -> None:
        world = self.world
        server = world.named(argument) if isinstance(argument, str) else None
        match kind, argument:
            case "pass", int(which):
                self.run_pass(which)
            case "pass and die", int(effects):
                self.managers[0].power.effects_left = effects
                self.run_pass(0)
                self.managers[0] = Manager(world, self.store, "a")
            case "pass and be suspended", int(questions):
                self._run_suspended(questions)
            case "new manager", _:
                self.managers[0] = Manager(world, self.store, "a")
            case "time", float(seconds):
                world.clock.seconds += seconds
            case "write", int(first):
                world.write(first)
            case "replicate", _:
                world.replicate()
            case "elect", _:
                world.elect()
            case "runtime down", bool(down):
                world.runtime_down = down
            case "scale", int(instances):
                self.wish(instances=instances)
            case "durability", Durability() as durability:
                if not world.elects:
                    self.wish(durability=durability)
            case "switchover", str(name):
                self.order(OrderKind.SWITCHOVER, name)
            case "restart", str(name):
                wanted = self.current_wish().restarts.get(name, 0) + 1
                self.wish(restarts={**self.current_wish().restarts, name: wanted})
            case "pause", bool(paused):
                self.wish(paused=paused)
            case _ if server is not None:
                self._happen_to(kind, server)

    def _happen_to(self, kind: str, server: SimServer) -> None:
        match kind:
            case "kill":
                self.world.stop_process(server)
            case "hang" if server.running:
                server.hung = True
            case "wake":
                self.world.wake(server)
            case "start by somebody else":
                server.running = True
            case "cut off":
                server.cut_off = True
            case "reach again":
                server.cut_off = False
            case "cut link":
                server.link_cut = True
            case "mend link":
                server.link_cut = False
            case "write on standby" if not self.world.elects:
                self.world.write_on_standby(server)
            case "lose data":
                self.world.lose_data(server)

    def _run_suspended(self, questions: int) -> None:
        """Manager a stops in the middle of a pass for a minute, in which b does its work."""
        power = self.managers[0].power
        power.questions_left = questions

        def meanwhile() -> None:
            for _ in range(6):
                self.world.clock.seconds += SUSPENDED_SECONDS / 6
                self.event("pass", 1)
                self.event("write", 0)

        power.while_suspended = meanwhile
        self.run_pass(0)
        power.questions_left = None

    def run_pass(self, which: int) -> None:
        """One pass of one manager; what a daemon survives is survived here, too."""
        with contextlib.suppress(ManagerDiedError, HamanagerError):
            self.managers[which].loop.run_pass()

    # --- What people ask for -----------------------------------------------------------------

    def current_wish(self) -> Wish:
        loaded = load_wish(self.store, "db")
        assert loaded is not None
        return loaded[0]

    def wish(self, **changes: object) -> None:
        loaded = load_wish(self.store, "db")
        assert loaded is not None
        save_wish(self.store, loaded[0].model_copy(update=changes), loaded[1])

    def order(self, kind: OrderKind, to: str | None = None) -> None:
        last = self.current_wish().order
        number = last.number + 1 if last else 1
        self.wish(order=Order(number=number, kind=kind, asked_at=self.world.clock.now(), to=to))

    def force_failover(self, to: str) -> None:
        """A person decides, knowing what it may cost: from then on loss is no defect."""
        self.forced = True
        self.order(OrderKind.FAILOVER, to)

    @property
    def record(self) -> ServiceRecord:
        return load_record(self.store, "db")[0]

    # --- What must be true ---------------------------------------------------------------------

    def check(self, after: str) -> None:
        leading = [
            server.place.instance
            for server in self.world.primaries()
            if self.world.would_acknowledge(server)
        ]
        assert len(leading) <= 1, f"after {after}: {leading} would all acknowledge writes"
        promised = self.world.acknowledged | self.world.errant
        missing = promised - self.world.safe_somewhere()
        assert not missing, f"after {after}: writes {missing} are on no disk any more"
        record = self.record
        if not self.forced:
            self._check_sync_set(after, record)
        if self.world.elects and leading and not self.forced:
            leader = self.world.named(leading[0])
            assert leader is not None
            lost = self.world.acknowledged - set(self.world.data(leader).log)
            assert not lost, f"after {after}: a majority had {lost}, and the primary has not"
        assert record.term >= self.term, f"after {after}: term {self.term} became {record.term}"
        self.term = record.term

    def _check_sync_set(self, after: str, record: ServiceRecord) -> None:
        for name in record.sync_set:
            member = self.world.named(name)
            if member is None or not self.world.data(member).seeded:
                continue  # its disk was lost or replaced: it cannot be promoted
            lacks = self.world.acknowledged - set(self.world.data(member).log)
            assert not lacks, f"after {after}: {name} is in the sync set and lacks {lacks}"

    def settle(self) -> None:
        """No more faults: within a bounded number of passes everything is well."""
        self.world.runtime_down = False
        self.wish(paused=False)
        for server in self.world.servers.values():
            server.cut_off = server.hung = server.link_cut = False
        for _ in range(200):
            self.world.clock.seconds += 1
            self.event("pass", 0)
            self.event("elect")
            self.event("replicate")
            self._archive_when_full()
            if self.healthy():
                break
        else:
            last = self.managers[0].loop.last
            raise AssertionError(f"not healthy after 200 s: {last}")
        if self.world.engine is Engine.ACKNOWLEDGING and not self.forced:
            primary = self.world.named(self.record.primary or "")
            assert primary is not None
            lost = self.world.acknowledged - set(self.world.data(primary).log)
            assert not lost, f"acknowledged and lost: {lost}"

    def _archive_when_full(self) -> None:
        """When so much data was set aside that nothing more is, a person sees to it."""
        last = self.managers[0].loop.last
        if last is not None and "sets of data are kept already" in last.decision.reason:
            self.world.archiving = True
            self.order(OrderKind.DISCARD)
            self.event("pass", 0)
            self.world.archiving = False

    def healthy(self) -> bool:
        last, record = self.managers[0].loop.last, self.record
        primary = self.world.named(record.primary or "")
        return (
            last is not None
            and last.decision.action is Action.NOTHING
            and len(record.instances) == self.current_wish().instances
            and primary is not None
            and primary.role is Role.PRIMARY
            and not primary.waiting
            and all(
                seen.relation is Relation.ATTACHED
                for name, seen in last.snapshot.observations.items()
                if name != record.primary
            )
        )
