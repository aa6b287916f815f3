"""For every action a story that makes the loop choose it: up to the moment before it is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hamanager.model.decision import Action
from hamanager.model.durability import Durability
from hamanager.model.order import OrderKind
from tests.simulation.modes import (
    ASYNCHRONOUS,
    AVAILABILITY,
    LOSSLESS,
    MODES,
    PROMOTED,
    STRICT,
    a_standby,
    host_of,
    on_hosts,
    running,
)
from tests.simulation.servers import CONNECTIONS
from tests.simulation.simulation import Simulation

LONGEST_SECONDS = 60


@dataclass(frozen=True)
class Story:
    """How it comes to an action, told for each mode in which it does."""

    action: Action
    title: str
    tell: Callable[[str], Simulation]
    modes: Sequence[str] = tuple(MODES)

    def brink(self, mode: str) -> Simulation:
        """The world in which manager a takes the action in its next pass."""
        simulation = self.tell(mode)
        until(simulation, self.action)
        return simulation


def until(simulation: Simulation, action: Action) -> None:
    for _ in range(LONGEST_SECONDS):
        decision = simulation.peek()
        if decision is not None and decision.action is action:
            return
        simulation.events(("pass", 0), ("elect", 0), ("replicate", 0), ("time", 1.0))
    raise AssertionError(f"it does not come to '{action}': {simulation.decision}")


def after(
    *happened: tuple[str, object], instances: int | None = None
) -> Callable[[str], Simulation]:
    """A healthy service to which that happens."""

    def tell(mode: str) -> Simulation:
        simulation = running(mode, instances)
        simulation.events(*happened)
        return simulation

    return tell


def a_new_service(mode: str) -> Simulation:
    return Simulation(*MODES[mode])


def an_address_is_reserved(mode: str) -> Simulation:
    simulation = a_new_service(mode)
    if mode in PROMOTED:
        simulation.run_pass(0)
    return simulation


def the_first_acknowledges_again(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.live(2)
    simulation.event("repair", "db.1")
    return simulation


def durability_changes(mode: str) -> Simulation:
    simulation = running(mode)
    strict = mode.endswith("strict")
    simulation.event("durability", Durability.AVAILABILITY if strict else Durability.STRICT)
    return simulation


def an_acknowledgement_is_lost(mode: str) -> Simulation:
    """A standby received a write and connected anew: it is never asked about that one again."""
    simulation = running(mode)
    simulation.events(("stall link", "db.1"), ("write", 0))
    standby = simulation.server("db.1")
    standby.stalled_at = None
    simulation.world.receive(standby)
    simulation.world.relink(standby)
    return simulation


def nobody_is_left_when_writes_shall_wait(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.live(2)
    simulation.event("durability", Durability.STRICT)
    return simulation


def a_manager_died_while_one_joined(mode: str) -> Simulation:
    """Writes wait for one more than the record says."""
    simulation = running(mode, 3)
    simulation.event("kill", "db.2")
    simulation.event("pass")
    until(simulation, Action.JOIN_SYNC_SET)
    while simulation.server("db.0").required_acks == 1:
        effects = simulation.effects
        simulation.event("pass and die", simulation.effects - effects + 2)
    return simulation


def an_old_primary_wakes_up(mode: str) -> Simulation:
    simulation = running(mode, 3)
    simulation.events(("runtime down", True), ("hang", "db.0"))
    simulation.live(6)
    assert simulation.record.primary == "db.1"
    simulation.events(("wake", "db.0"), ("runtime down", False))
    return simulation


def clients_hold_every_connection(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.events(("break", "db.1"), *[("write", 0)] * CONNECTIONS)
    return simulation


def the_majority_is_lost(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.events(("break", "db.0"), ("break", "db.1"))
    simulation.live(3)
    simulation.force_failover("db.2")
    return simulation


def the_majority_comes_back(mode: str) -> Simulation:
    simulation = the_majority_is_lost(mode)
    until(simulation, Action.FORCE)
    simulation.event("pass")
    simulation.events(("repair", "db.0"), ("repair", "db.1"))
    return simulation


def a_person_forces_it(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("break", "db.1")
    simulation.live(4)
    simulation.events(("break", "db.0"), ("repair", "db.1"))
    for _ in range(LONGEST_SECONDS):
        if simulation.server("db.1").running:
            break
        simulation.live(1)
    simulation.force_failover("db.1")
    return simulation


def its_target_dies_during_a_switchover(mode: str) -> Simulation:
    simulation = running(mode, 3)
    simulation.event("switchover", "db.1")
    for effect in range(6):
        simulation.event("pass and die", effect)
        if simulation.record.switching_to is not None:
            break
    simulation.event("break", "db.1")
    return simulation


def it_hangs_in_the_middle_of_its_promotion(mode: str) -> Simulation:
    """The manager dies at the same time."""
    for effect in range(LONGEST_SECONDS):
        simulation = running(mode)
        simulation.events(("kill", "db.0"), ("pass and die", effect))
        if simulation.record.promoting_may_write:
            simulation.event("hang", "db.1")
            return simulation
    raise AssertionError("no promotion is published")


def data_were_set_aside(mode: str) -> Simulation:
    simulation = running(mode)
    if mode == "electing":
        simulation.event("break", "db.1")
        until(simulation, Action.REBUILD)
    else:
        simulation.event("write on standby", "db.1")
    simulation.settle()
    assert simulation.record.retained
    simulation.order(OrderKind.DISCARD)
    return simulation


def unacknowledged_data_are_in_the_way(mode: str) -> Simulation:
    simulation = running(mode)
    for _ in range(6):
        old = simulation.record.primary
        standby = next(i.name for i in simulation.record.instances if i.name != old)
        simulation.events(("cut link", standby), ("write", 0), ("kill", old), ("pass", 0))
        simulation.event("mend link", standby)
        if len(simulation.record.retained) < 5:
            simulation.settle()
    return simulation


def to_be_destroyed(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.destroy()
    return simulation


def a_larger_limit_is_wanted(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("memory", 7)
    simulation.live(10)
    simulation.event("memory", 9)
    return simulation


def the_servers_use_more(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.world.used_bytes = 8
    simulation.event("memory", 7)
    return simulation


def its_standbys_are_upgraded(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("upgrade", 2)
    until(simulation, Action.SWITCHOVER)
    simulation.event("pass")
    return simulation


def an_instance_was_stopped_for_it(mode: str) -> Simulation:
    simulation = running(mode)
    simulation.event("upgrade", 2)
    until(simulation, Action.UPGRADE)
    simulation.event("pass")
    return simulation


def a_standbys_host_crashes(mode: str) -> Simulation:
    simulation = on_hosts(mode)
    simulation.spec(replace_after_seconds=5.0)
    simulation.event("host crashes", host_of(simulation, a_standby(simulation)))
    return simulation


def a_host_is_back(mode: str) -> Simulation:
    simulation = on_hosts(mode)
    simulation.spec(replace_after_seconds=5.0)
    host = host_of(simulation, a_standby(simulation))
    simulation.event("host crashes", host)
    simulation.live(25)
    simulation.event("host is back", host)
    return simulation


def it_is_told_to_refuse_writes(mode: str) -> Simulation:
    simulation = on_hosts(mode)
    simulation.event("durability", Durability.AVAILABILITY)
    simulation.live(3)
    simulation.event("durability", Durability.STRICT)
    return simulation


def nobody_can_end_it(mode: str) -> Simulation:
    simulation = on_hosts(mode)
    simulation.event("host is cut off", host_of(simulation, simulation.record.primary))
    return simulation


def it_is_to_be_rebalanced(mode: str) -> Simulation:
    simulation = on_hosts(mode)
    simulation.event("order", (OrderKind.REBALANCE, ""))
    return simulation


STORIES = [
    Story(Action.RESERVE_ADDRESS, "the service is new", a_new_service, PROMOTED),
    Story(Action.ADD_INSTANCE, "the service is new", an_address_is_reserved),
    Story(Action.ADD_INSTANCE, "another is wanted", after(("scale", 5))),
    Story(Action.START_INSTANCE, "a standby died", after(("kill", "db.1"))),
    Story(Action.START_INSTANCE, "the primary is restarted", after(("restart", "db.0"))),
    Story(Action.INITIALIZE, "the service is new", a_new_service),
    Story(Action.SEED, "a new instance is empty", after(("scale", 5))),
    Story(Action.ATTACH, "a new instance has its copy", after(("scale", 5)), PROMOTED),
    Story(Action.ATTACH, "the majority comes back", the_majority_comes_back, ["electing"]),
    Story(Action.MARK_SYNCHRONIZED, "a new instance follows", after(("scale", 5))),
    Story(Action.REBUILD, "somebody wrote to it", after(("write on standby", "db.1")), PROMOTED),
    Story(Action.REBUILD, "it does not come up", after(("break", "db.1"))),
    Story(Action.REBUILD, "no room is left", unacknowledged_data_are_in_the_way, LOSSLESS),
    Story(Action.JOIN_SYNC_SET, "one more", after(("scale", 3)), LOSSLESS),
    Story(
        Action.JOIN_SYNC_SET,
        "the first",
        the_first_acknowledges_again,
        [mode for mode in LOSSLESS if mode in AVAILABILITY],
    ),
    Story(
        Action.LEAVE_SYNC_SET,
        "the last one died",
        after(("break", "db.1")),
        [mode for mode in LOSSLESS if mode in AVAILABILITY],
    ),
    Story(
        Action.LEAVE_SYNC_SET, "one of two died", after(("break", "db.1"), instances=3), LOSSLESS
    ),
    Story(
        Action.END_WAITING,
        "their writes hold every connection",
        clients_hold_every_connection,
        [mode for mode in LOSSLESS if mode in STRICT],
    ),
    Story(Action.PROMPT, "it was lost with the link", an_acknowledgement_is_lost, LOSSLESS),
    Story(
        Action.SET_REQUIRED_ACKS, "another durability is wanted", durability_changes, ASYNCHRONOUS
    ),
    Story(
        Action.SET_REQUIRED_ACKS,
        "writes shall wait",
        nobody_is_left_when_writes_shall_wait,
        [mode for mode in LOSSLESS if mode in AVAILABILITY],
    ),
    Story(Action.SET_REQUIRED_ACKS, "half a join", a_manager_died_while_one_joined, LOSSLESS),
    Story(Action.FAIL_OVER, "the primary died", after(("kill", "db.0"))),
    Story(Action.FAIL_OVER, "the primary hangs", after(("hang", "db.0"), instances=3), PROMOTED),
    Story(Action.FAIL_OVER, "an operator forces it", a_person_forces_it, PROMOTED),
    Story(
        Action.RESUME,
        "the primary crashed",
        after(("kill", "db.0"), ("start by somebody else", "db.0")),
        PROMOTED,
    ),
    Story(
        Action.ADOPT, "they elected another", after(("kill", "db.0"), ("elect", 0)), ["electing"]
    ),
    Story(Action.DEMOTE, "an old primary wakes up", an_old_primary_wakes_up, LOSSLESS),
    Story(Action.FORCE, "the majority is lost", the_majority_is_lost, ["electing"]),
    Story(Action.SWITCHOVER, "an operator asks", after(("switchover", "db.1"), instances=3)),
    Story(
        Action.SWITCHOVER,
        "somebody stops the primary",
        after(("terminate", "db.0"), instances=3),
        [*ASYNCHRONOUS, "electing"],
    ),
    Story(Action.ABANDON_SWITCHOVER, "its target died", its_target_dies_during_a_switchover),
    Story(Action.REFUSE, "it leads already", after(("switchover", "db.0"))),
    Story(Action.DISCARD, "an operator asks", data_were_set_aside),
    Story(Action.RESTART, "of the primary", after(("restart", "db.0"))),
    Story(Action.RESTART, "of a standby", after(("restart", "db.1"))),
    Story(Action.UPGRADE, "of a standby", after(("upgrade", 2))),
    Story(Action.UPGRADE, "of an old primary", its_standbys_are_upgraded, PROMOTED),
    Story(Action.SWITCHOVER, "the standby is upgraded", after(("upgrade", 2)), [*AVAILABILITY][:1]),
    Story(
        Action.START_INSTANCE, "it is upgraded", an_instance_was_stopped_for_it, [*AVAILABILITY][:1]
    ),
    Story(Action.FINISH_RESTART, "of a standby", after(("restart", "db.1"))),
    Story(
        Action.END_INSTANCE,
        "it hangs in the middle of its promotion",
        it_hangs_in_the_middle_of_its_promotion,
        LOSSLESS,
    ),
    Story(Action.REMOVE_INSTANCE, "fewer are wanted", after(("scale", 1))),
    Story(Action.SHRINK, "a smaller limit is wanted", after(("memory", 7))),
    Story(Action.SET_MEMORY, "a smaller limit is wanted", after(("memory", 7))),
    Story(Action.SET_MEMORY, "a larger limit is wanted", a_larger_limit_is_wanted),
    Story(Action.KEEP_MEMORY, "the servers use more", the_servers_use_more),
    Story(Action.DESTROY, "an operator asks", to_be_destroyed),
    Story(Action.REPLACE, "its host is lost", a_standbys_host_crashes),
    Story(Action.CLEAR_LEFT, "its host is back", a_host_is_back),
    Story(
        Action.NOTE_REFUSAL,
        "it is told to refuse writes",
        it_is_told_to_refuse_writes,
        ["asynchronous, strict"],
    ),
    Story(Action.LEAVE_PRIMARY, "nobody can end it", nobody_can_end_it, ["asynchronous, strict"]),
    Story(Action.FAIL_OVER, "nobody can end it", nobody_can_end_it, ["asynchronous, strict"]),
    Story(Action.SETTLE, "there is nothing to move", it_is_to_be_rebalanced),
]
