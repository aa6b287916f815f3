"""Two managers on one store, one service in a world that breaks, and the invariants.

After every event, and before every effect of a manager, must hold:

1. at most one server would acknowledge a client's write (one that merely hangs counts too);
2. nothing that was acknowledged, or written where nobody should, has vanished from every disk;
3. every member of the published sync set holds every acknowledged write;
4. an electing engine's primary holds what a majority acknowledged;
5. the term never goes back, and the address leads to nobody who runs and neither leads on record
   nor is about to;
6. a manager has cause for what it does (`causes.py`).

At the end the faults cease: the service must become healthy at its full size by itself, and where
standbys acknowledge its primary must hold every acknowledged write.
"""

from __future__ import annotations

import contextlib

from hamanager.chaos.watch import rivals
from hamanager.decide.leading import LOOK_SECONDS
from hamanager.decide.situation import follows
from hamanager.decide.table import rules_of
from hamanager.errors import HamanagerError
from hamanager.model.decision import Action, Decision
from hamanager.model.durability import Durability
from hamanager.model.image import PinnedImage
from hamanager.model.order import Order, OrderKind, pending
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Role
from hamanager.model.spec import Spec
from hamanager.model.upgrade import upgraded, wanted_image
from hamanager.stores.repository import load_record, load_spec, record_key, save_spec
from tests.simulation.causes import Causes
from tests.simulation.events import carry_out
from tests.simulation.manager import Manager
from tests.simulation.power import ManagerDiedError, Power
from tests.simulation.servers import Engine, SimServer
from tests.simulation.world import World
from tests.support.altered import altered
from tests.support.memory_store import MemoryStore

TAKEN_OVER_SECONDS = 6.0
"""By then the services of a manager that is gone are led by another one."""
SUSPENDED_SECONDS = 2 * TAKEN_OVER_SECONDS
LATE_BEAT_SECONDS = 2.0
PASSES_MEANWHILE = 8
HEALTHY_SECONDS = 200


class Simulation:
    """The world, its managers, and what must always be true of them."""

    def __init__(
        self,
        engine: Engine = Engine.ASYNCHRONOUS,
        durability: Durability = Durability.AVAILABILITY,
        instances: int = 2,
        busy: int = 0,
        world: World | None = None,
        hosts: int = 0,
    ) -> None:
        """`busy`: a pattern of eight bits, by which clients write before a manager's effects."""
        self.world = world or World(engine)
        self.world.hosts = tuple(f"h{n}" for n in range(1, hosts + 1))
        self.store = MemoryStore()
        self.causes = Causes(self.world)
        self.busy = busy
        self.managers = [self._manager(owner) for owner in ("a", "b")]
        self.copy = self.store.copy()
        self.term = 0
        self.forced = False
        self.destroying = False
        self.effects = 0
        """Of both managers, since the beginning."""
        self.interjected: list[tuple[int, str, object]] = []
        """What happens before the effect of that number."""
        self.meanwhile: list[tuple[str, object]] = []
        """What happens as soon as a manager is suspended."""
        self.passes_meanwhile = PASSES_MEANWHILE
        self.leads_again = False
        """Whether a manager that was suspended leads again before it goes on."""
        self._passing = 0
        """How many managers are in the middle of a pass."""
        self._record: tuple[int, ServiceRecord] = (0, ServiceRecord())
        spec = Spec(
            name="db",
            engine="sim",
            instances=instances,
            image="image",
            created_at=0,
            durability=durability,
        )
        save_spec(self.store, spec, 0)

    def _manager(self, owner: str) -> Manager:
        return Manager(self.world, self.store, owner, Power(self._before_effect), self.causes)

    # --- What happens ----------------------------------------------------------------------

    def event(self, kind: str, argument: object = 0) -> None:
        """One thing happens, and the invariants are checked."""
        carry_out(self, kind, argument)
        self.world.end_overdue()
        self.world.rejoin()
        self.check(f"{kind} {argument}")

    def would_be_noticed(self, server: SimServer) -> bool:
        """What somebody writes to a standby is kept, unless that is in the very moment in which it
        is taken down, or before its first copy was seen to be complete. On a former primary that
        has not been taken back it cannot be told from what was never acknowledged there."""
        instance = self.record.instance(server.ref.instance)
        if self._passing or instance is None:
            return False
        return instance.joined and not instance.unacknowledged_only

    def is_elsewhere(self, server: SimServer) -> bool:
        """Somebody who is known to hold every promised write does: one disk may be lost."""
        if self._passing or self.world.engine is not Engine.ACKNOWLEDGING:
            return False
        known = {self.record.primary, *self.record.sync_set} - {None, server.ref.instance}
        holders = [self.world.named(name) for name in known if name]
        promised = self.world.acknowledged | self.world.errant
        return any(h is not None and promised <= set(self.world.data(h).log) for h in holders)

    def events(self, *happened: tuple[str, object]) -> None:
        for kind, argument in happened:
            self.event(kind, argument)

    def live(self, seconds: int, *, writing: bool = True) -> None:
        """Time goes by as it does in daily life."""
        for _ in range(seconds):
            self.elapse(1)
            for which in range(len(self.managers)):
                self.event("pass", which)
            if self.world.elects:
                self.event("elect")
            if writing:
                self.event("write", 0)
            self.event("replicate")

    # --- What managers do --------------------------------------------------------------------

    def run_pass(
        self,
        which: int,
        *,
        dies_at: int | None = None,
        loses_answer_of: int | None = None,
        suspended_at: int | None = None,
        suspended_in: int | None = None,
    ) -> None:
        """One pass of one manager; what a daemon survives is survived here, too."""
        power = self.managers[which].power
        if power.dead or self.managers[which].suspended:
            return
        power.while_suspended = lambda: self._meanwhile(which)
        power.plan(
            dies_at=dies_at,
            loses_answer_of=loses_answer_of,
            suspended_at=suspended_at,
            suspended_in=suspended_in,
        )
        self._passing += 1
        with contextlib.suppress(ManagerDiedError, HamanagerError):
            self.managers[which].run_pass()
        self._passing -= 1
        if last := self.managers[which].loop.last:
            self._is_declared(last.decision)

    def _is_declared(self, decision: Decision) -> None:
        """A rule does nothing but what its row says."""
        for rule in rules_of(self.managers[0].loop.driver.capabilities):
            if rule.name == decision.rule:
                assert decision.action in rule.may, f"{rule.name} decided {decision.action.value}"

    def _meanwhile(self, which: int) -> None:
        """One manager is suspended, and another one does its work. Then its own pass goes on
        at once; or the other one is gone, too, and the first one leads again before that."""
        suspended, other = self.managers[which], self.managers[1 - which]
        suspended.suspended = True
        self.events(*self.meanwhile)
        self.elapse(TAKEN_OVER_SECONDS)
        for _ in range(self.passes_meanwhile):
            self.event("pass", 1 - which)
            self.event("write", 0)
            self.event("replicate")
            self.elapse(1)
        other.suspended, suspended.suspended = self.leads_again, not self.leads_again
        self.elapse(TAKEN_OVER_SECONDS)
        suspended.suspended = False
        if not self.leads_again:
            return
        with contextlib.suppress(HamanagerError), suspended.power.in_background():
            suspended.leading.lead("db")
        other.suspended = False

    def elapse(self, seconds: float) -> None:
        """Time goes by, and managers that are alive say so; of a long time every sign of life but
        the last ones is rather a late one."""
        until = self.world.clock.seconds + seconds
        while (left := until - self.world.clock.seconds) > 0:
            step = LOOK_SECONDS if left < TAKEN_OVER_SECONDS or seconds < 30 else LATE_BEAT_SECONDS
            self.world.clock.seconds = min(until, self.world.clock.seconds + step)
            for manager in self.managers:
                manager.breathe()

    def interject(self, effect: int, kind: str, argument: object = 0) -> None:
        """Let that happen before the effect with that number, counted from now."""
        self.interjected.append((self.effects + effect, kind, argument))

    def _before_effect(self) -> None:
        number = self.effects
        self.effects += 1
        self.world.end_overdue()
        self.check(f"effect {number}")
        for due in [happening for happening in self.interjected if happening[0] == number]:
            self.interjected.remove(due)
            self.event(*due[1:])
        if self.busy >> number % 8 & 1:
            self.event("write", number)

    def new_manager(self) -> None:
        """Manager a is started (again), knowing nothing."""
        self.managers[0] = self._manager("a")

    def start_manager(self, which: int) -> None:
        """Likewise, if it is dead."""
        if self.managers[which].power.dead:
            self.managers[which] = self._manager(self.managers[which].name)

    def peek(self) -> Decision | None:
        """What manager a would do in its next pass; its hand is held before the first effect."""
        manager = self.managers[0]
        with manager.power.in_background():
            manager.leading.lead("db")
        self.run_pass(0, dies_at=0)
        manager.power.dead = False
        return manager.loop.last.decision if manager.loop.last else None

    @property
    def leader(self) -> Manager:
        """The manager that leads; the first one when none does."""
        return next((m for m in self.managers if m.leads), self.managers[0])

    @property
    def decision(self) -> Decision:
        """What whoever leads decided in its last pass."""
        last = self.leader.loop.last
        assert last is not None
        return last.decision

    def unfinished_for(self) -> float | None:
        """For how long some instance was not where it belongs in the leader's last pass."""
        last = self.leader.loop.last
        assert last is not None
        return last.unfinished_seconds

    # --- What people ask for -----------------------------------------------------------------

    def current_spec(self) -> Spec:
        loaded = load_spec(self.store, "db")
        assert loaded is not None
        return loaded[0]

    def spec(self, **changes: object) -> None:
        loaded = load_spec(self.store, "db")
        assert loaded is not None
        save_spec(self.store, altered(loaded[0], **changes), loaded[1])

    def order(self, kind: OrderKind, to: str | None = None) -> None:
        last = self.current_spec().order
        number = last.number + 1 if last else 1
        kept = self.record.retained if kind is OrderKind.DISCARD else ()
        for volume in (self.world.volumes.get(retained.volume) for retained in kept):
            self.world.archive |= set(volume.log if volume is not None else ())
        order = Order(
            number=number,
            kind=kind,
            asked_at=self.world.clock.now(),
            to=to,
            volumes=tuple(retained.volume for retained in kept),
        )
        self.spec(order=order)

    def force_failover(self, to: str) -> None:
        """An operator decides, knowing what it may cost: from then on loss is no defect."""
        self.forced = True
        self.order(OrderKind.FAILOVER, to)

    def destroy(self) -> None:
        """An operator wants all of it gone."""
        self.destroying = True
        self.spec(destroy=True)

    def upgrade(self, version: int) -> None:
        """Another image is wanted; the command refuses it when data are of a later version."""
        used = max((volume.version for volume in self.world.volumes.values()), default=0)
        if version >= used:
            image = f"image:{version}"
            pinned = PinnedImage(id=image, name=image, version=str(version))
            self.spec(**dict(upgraded(self.current_spec(), pinned)))

    # --- What is seen --------------------------------------------------------------------------

    @property
    def record(self) -> ServiceRecord:
        kept = self.store.get(record_key("db"))
        version = kept.version if kept else 0
        if version != self._record[0]:
            self._record = version, load_record(self.store, "db")[0]
        return self._record[1]

    def server(self, name: str) -> SimServer:
        found = self.world.named(name)
        assert found is not None, f"there is no {name}"
        return found

    def log(self, name: str) -> set[int]:
        """The writes on that server's disk."""
        return set(self.world.data(self.server(name)).log)

    def told(self) -> str:
        """The whole history."""
        return "\n".join(entry.text for entry in self.store.history("db"))

    def writes(self) -> bool:
        """Whether a client's write is acknowledged now."""
        number = self.world.next_write
        self.event("write", 0)
        return number in self.world.acknowledged

    # --- What must be true ---------------------------------------------------------------------

    def check(self, after: str) -> None:
        self.causes.note()
        self.world.note_links()
        leading = [
            server.ref.instance
            for server in self.world.primaries()
            if self.world.would_acknowledge(server)
        ]
        two = rivals(dict.fromkeys(leading, 0))
        assert not two, f"after {after}: {two} would all acknowledge writes"
        if self.destroying:
            return
        record = self.record
        old_copy = self._store_is_older_than_the_servers()
        for name in () if old_copy or self.world.misled else self.world.led_to("db"):
            routed = self.world.named(name)
            if routed is not None and routed.running:
                may_lead = {record.primary, record.promoting, record.switching_to}
                assert name in may_lead, f"after {after}: clients are sent to {name}"
        if not old_copy:
            may_lead = {record.primary, record.promoting, record.switching_to}
            self.world.elsewhere.check(after, {*leading} - may_lead)
        assert record.term >= self.term, f"after {after}: term {self.term} became {record.term}"
        self.term = record.term
        promised = self.world.acknowledged | self.world.errant
        missing = promised - self.world.safe_somewhere()
        assert not missing, f"after {after}: writes {missing} are on no disk any more"
        if self.forced or old_copy:
            return
        for name in record.sync_set:
            member = self.world.named(name)
            if member is not None and self.world.data(member).seeded:
                lacks = self.world.acknowledged - self.log(name)
                assert not lacks, f"after {after}: {name} is in the sync set and lacks {lacks}"
        if self.world.elects and leading:
            lost = self.world.acknowledged - self.log(leading[0])
            assert not lost, f"after {after}: a majority had {lost}, and the primary has not"

    def _store_is_older_than_the_servers(self) -> bool:
        told = [self.world.data(server).told_term for server in self.world.servers.values()]
        return max(told, default=0) > self.record.term

    def settle(self) -> None:
        """No more faults: within a bounded number of passes everything is well (or gone, when that
        was asked for)."""
        self.world.runtime_down = self.world.store.down = self.world.store.full = False
        self.world.endpoint_down = self.world.names_lost = False
        self.world.runtime_out = frozenset()
        self.world.store.cut_off.clear()
        for which, manager in enumerate(self.managers):
            manager.suspended = False
            self.start_manager(which)
        self.world.silent.clear()
        self.world.bad_images.clear()
        if load_spec(self.store, "db") is not None:
            self.spec(paused=False)
        for server in self.world.servers.values():
            server.cut_off = server.hung = server.link_cut = server.broken = False
            server.stalled_at = None
        for _ in range(HEALTHY_SECONDS):
            self.live(1, writing=False)
            self._let_a_person_decide()
            if self.healthy():
                break
        else:
            last = self.leader.loop.last
            raise AssertionError(f"not healthy after {HEALTHY_SECONDS} s: {last}")
        if self.world.engine is Engine.ACKNOWLEDGING and not self.forced | self.destroying:
            lost = self.world.acknowledged - self.log(self.record.primary or "")
            assert not lost, f"acknowledged and lost: {lost}"

    def assert_nothing_is_lost(self) -> None:
        """Everything becomes well again, and the primary holds whatever was acknowledged."""
        self.settle()
        assert self.world.acknowledged <= self.log(self.record.primary or "")
        assert self.writes()

    def _let_a_person_decide(self) -> None:
        """What the manager leaves to people: to let go of data set aside when that is too much,
        whether a write that somebody made on a standby is what the restarted primary lost, whether
        to go on without what went with a disk, and back to which image."""
        last = self.leader.loop.last
        reason = last.decision.reason if last else ""
        if "sets of data are kept already" in reason:
            self.order(OrderKind.DISCARD)
            for _ in range(PASSES_MEANWHILE):  # something else may come first
                self.event("pass", self.managers.index(self.leader))
                order, result = self.current_spec().order, self.record.order_result
                if pending(order, result, OrderKind.DISCARD) is None:
                    break
        elif "the upgrade has stopped" in reason:
            self.upgrade(max(volume.version for volume in self.world.volumes.values()))
        elif "cannot be compared" in reason and self.world.errant:
            self.force_failover(self.record.primary or "")
        elif "was restarted without its data" in reason and (
            self.world.errant or "may have taken writes" in reason
        ):
            full = [i.name for i in self.record.instances if self._holds_everything(i.name)]
            if full:
                self.force_failover(full[0])

    def _holds_everything(self, name: str) -> bool:
        server = self.world.named(name)
        return server is not None and self.world.acknowledged <= set(self.world.data(server).log)

    def healthy(self) -> bool:
        if self.destroying:
            return load_spec(self.store, "db") is None and not self.world.volumes
        last, record = self.leader.loop.last, self.record
        primary = self.world.named(record.primary or "")
        standbys = [i.name for i in record.instances if i.name != record.primary]
        acknowledging = standbys if self.world.engine is Engine.ACKNOWLEDGING else []
        return (
            last is not None
            and last.decision.action is Action.NOTHING
            and len(record.instances) == self.current_spec().instances
            and primary is not None
            and primary.role is Role.PRIMARY
            and not primary.waiting
            and (self.world.elects or self.world.led_to("db") == (record.primary,))
            and all((seen := last.snapshot.of(name)) and follows(seen) for name in standbys)
            and list(record.sync_set) == acknowledging
            and not record.left_behind
            and all(instance.restarting_since is None for instance in record.instances)
            and {s.image for s in self.world.servers.values()}
            == {wanted_image(self.current_spec()).id}
        )
