"""The real loop, rules and playbooks against an in-memory world that breaks in every way.

After every event the invariants must hold:

1. at most one server would take a client's write (one that merely hangs counts too);
2. no write that was acknowledged has vanished from every disk;
3. the term never goes back.

At the end the faults cease, and the service must become healthy at its full size by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamanager import decide as decide_module
from hamanager.contracts.store import Store, Versioned
from hamanager.keeping import load_record, load_wish, save_wish
from hamanager.loop import ServiceLoop
from hamanager.stores.memory import MemoryStore
from hamanager.values.decision import Action
from hamanager.values.history import HistoryEntry
from hamanager.values.service import Wish
from hamanager.values.snapshot import Relation, Role
from hamanager_playbooks.book import PLAYBOOKS
from tests.simulation.world import (
    InlineExecutor,
    ManagerDiedError,
    Power,
    SimDriver,
    SimRuntime,
    World,
)

NAMES = st.sampled_from(["db.0", "db.1", "db.2"])
EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0, 1])),
    st.tuples(st.just("pass and die"), st.integers(0, 12)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 2.0, 4.0, 120.0])),
    st.tuples(st.just("write"), st.just(0)),
    st.tuples(st.just("replicate"), st.just(0)),
    st.tuples(st.just("elect"), st.just(0)),
    st.tuples(st.just("kill"), NAMES),
    st.tuples(st.just("hang"), NAMES),
    st.tuples(st.just("wake"), NAMES),
    st.tuples(st.just("start by somebody else"), NAMES),
    st.tuples(st.just("cut off"), NAMES),
    st.tuples(st.just("reach again"), NAMES),
    st.tuples(st.just("runtime down"), st.booleans()),
    st.tuples(st.just("scale"), st.sampled_from([1, 2, 3])),
    st.tuples(st.just("restart"), NAMES),
)


class PoweredStore:
    """A store that a dead manager cannot write to any more."""

    def __init__(self, inner: Store, power: Power) -> None:
        self.inner, self.power = inner, power

    def get(self, key: str) -> Versioned | None:
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
    """Two managers on one store, one service, and the invariants."""

    def __init__(self, elects: bool = False) -> None:
        self.world = World(elects)
        self.store = MemoryStore()
        self.managers = [Manager(self.world, self.store, owner) for owner in ("a", "b")]
        self.term = 0
        wish = Wish(name="db", engine="sim", instances=2, image="image", created_at=0)
        save_wish(self.store, wish, 0)

    def event(self, kind: str, argument: object) -> None:
        world = self.world
        server = world.named(argument) if isinstance(argument, str) else None
        match kind, argument:
            case "pass", int(which):
                self.run_pass(which)
            case "pass and die", int(effects):
                self.managers[0].power.effects_left = effects
                self.run_pass(0)
                self.managers[0] = Manager(world, self.store, "a")
            case "time", float(seconds):
                world.clock.seconds += seconds
            case "write", _:
                world.write()
            case "replicate", _:
                world.replicate()
            case "elect", _:
                world.elect()
                world.rejoin()
            case "runtime down", bool(down):
                world.runtime_down = down
            case "scale", int(instances):
                self.wish(instances=instances)
            case "restart", str(name):
                wanted = self.current_wish().restarts.get(name, 0) + 1
                self.wish(restarts={**self.current_wish().restarts, name: wanted})
            case "kill", _ if server:
                world.stop_process(server)
            case "hang", _ if server and server.running:
                server.hung = True
            case "wake", _ if server:
                world.wake(server)
            case "start by somebody else", _ if server:
                server.running = True
            case "cut off", _ if server:
                server.cut_off = True
            case "reach again", _ if server:
                server.cut_off = False
        world.rejoin()
        self.check(f"{kind} {argument}")

    def run_pass(self, which: int) -> None:
        with contextlib.suppress(ManagerDiedError):
            self.managers[which].loop.run_pass()

    def current_wish(self) -> Wish:
        loaded = load_wish(self.store, "db")
        assert loaded is not None
        return loaded[0]

    def wish(self, **changes: object) -> None:
        loaded = load_wish(self.store, "db")
        assert loaded is not None
        save_wish(self.store, loaded[0].model_copy(update=changes), loaded[1])

    def check(self, after: str) -> None:
        # An electing engine's old primary may hang and wake up, but acknowledges nothing then.
        primaries = [
            server.place.instance
            for server in self.world.primaries()
            if not (self.world.elects and server.hung)
        ]
        assert len(primaries) <= 1, f"after {after}: {primaries} would all take writes"
        missing = self.world.acknowledged - self.world.safe_somewhere()
        assert not missing, f"after {after}: writes {missing} are on no disk any more"
        if self.world.elects and primaries:
            leader = self.world.named(primaries[0])
            assert leader is not None
            lost = self.world.acknowledged - set(self.world.data(leader).log)
            assert not lost, f"after {after}: a majority had {lost}, and the primary has not"
        term = load_record(self.store, "db")[0].term
        assert term >= self.term, f"after {after}: term went from {self.term} back to {term}"
        self.term = term

    def settle(self) -> None:
        """No more faults: within a bounded number of passes everything is well."""
        self.world.runtime_down = False
        for server in self.world.servers.values():
            server.cut_off = server.hung = False
        for _ in range(150):
            self.world.clock.seconds += 1
            self.event("pass", 0)
            self.event("elect", 0)
            self.event("replicate", 0)
            if self.healthy():
                return
        last = self.managers[0].loop.last
        raise AssertionError(f"not healthy after 150 s: {last}")

    def healthy(self) -> bool:
        last = self.managers[0].loop.last
        record = load_record(self.store, "db")[0]
        primary = self.world.named(record.primary or "")
        return (
            last is not None
            and last.decision.action is Action.NOTHING
            and len(record.instances) == self.current_wish().instances
            and primary is not None
            and primary.role is Role.PRIMARY
            and all(
                seen.relation is Relation.ATTACHED
                for name, seen in last.snapshot.observations.items()
                if name != record.primary
            )
        )


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, max_size=60))
@pytest.mark.parametrize("elects", [False, True], ids=["promoted", "electing"])
def test_whatever_breaks_nothing_is_lost_and_it_heals(
    elects: bool, events: list[tuple[str, object]]
) -> None:
    simulation = Simulation(elects)
    simulation.settle()
    simulation.event("write", 0)
    for kind, argument in events:
        simulation.event(kind, argument)
    simulation.settle()


def kill_primary_story(simulation: Simulation) -> None:
    simulation.settle()
    simulation.event("write", 0)
    simulation.event("replicate", 0)
    simulation.event("kill", "db.0")
    simulation.event("pass", 0)


def test_a_killed_primary_is_replaced_in_one_pass_and_comes_back() -> None:
    simulation = Simulation()
    kill_primary_story(simulation)
    record = load_record(simulation.store, "db")[0]
    assert record.primary == "db.1"
    assert record.last_failover is not None
    simulation.event("write", 0)
    simulation.settle()
    server = simulation.world.named("db.0")
    assert server is not None
    assert simulation.world.data(server).log == [0, 1]


def test_an_instance_added_again_does_not_find_the_data_kept_of_its_namesake() -> None:
    simulation = Simulation()
    simulation.settle()
    simulation.event("write", 0)
    simulation.event("kill", "db.0")
    simulation.event("pass", 0)
    simulation.event("scale", 1)
    simulation.event("pass", 0)
    simulation.event("scale", 2)
    simulation.settle()
    assert load_record(simulation.store, "db")[0].kept[0].volume == "db.0-g1"
    assert simulation.world.volumes["db.0-g1"].log == [0]


def test_a_manager_killed_at_every_point_of_a_fail_over_finishes_it() -> None:
    for effects in range(12):
        simulation = Simulation()
        simulation.settle()
        simulation.event("write", 0)
        simulation.event("replicate", 0)
        simulation.event("kill", "db.0")
        simulation.event("pass and die", effects)
        for _ in range(3):
            simulation.event("pass", 0)
        assert load_record(simulation.store, "db")[0].primary == "db.1"
        simulation.settle()


def test_a_hung_primary_is_given_up_only_after_down_after_and_fenced_first() -> None:
    simulation = Simulation()
    simulation.settle()
    simulation.event("replicate", 0)
    simulation.event("hang", "db.0")
    simulation.event("pass", 0)
    simulation.event("time", 2.0)
    simulation.event("pass", 0)
    assert load_record(simulation.store, "db")[0].primary == "db.0"
    simulation.event("time", 2.0)
    simulation.event("pass", 0)
    assert load_record(simulation.store, "db")[0].primary == "db.1"
    simulation.event("wake", "db.0")
    simulation.settle()


def test_a_primary_cut_off_from_the_manager_alone_is_left_alone() -> None:
    simulation = Simulation()
    simulation.settle()
    simulation.event("cut off", "db.0")
    for _ in range(10):
        simulation.event("time", 4.0)
        simulation.event("pass", 0)
    assert load_record(simulation.store, "db")[0].primary == "db.0"


@contextlib.contextmanager
def without_rule(name: str) -> Iterator[None]:
    kept = list(decide_module.RULES)
    decide_module.RULES[:] = [row for row in kept if row[0] != name]
    try:
        yield
    finally:
        decide_module.RULES[:] = kept


def test_without_its_safety_rules_the_simulation_turns_red() -> None:
    """The mutation check: the tests above must be able to fail."""
    with without_rule("primary-dead"), pytest.raises(AssertionError):
        test_a_killed_primary_is_replaced_in_one_pass_and_comes_back()
    kept = PLAYBOOKS[Action.FAIL_OVER]

    def without_fence(ctx):  # type: ignore[no-untyped-def]
        return [step for step in kept(ctx) if not step.name.startswith("fence")]

    PLAYBOOKS[Action.FAIL_OVER] = without_fence  # type: ignore[index]
    try:
        with pytest.raises(AssertionError):
            test_a_hung_primary_is_given_up_only_after_down_after_and_fenced_first()
    finally:
        PLAYBOOKS[Action.FAIL_OVER] = kept  # type: ignore[index]
