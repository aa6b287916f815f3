"""What an event of a history does to the world and its managers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hamanager.model.durability import Durability
from hamanager.model.order import OrderKind
from tests.simulation.servers import SimServer

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SERVER_KINDS = frozenset(
    {
        "kill",
        "terminate",
        "terminate unseen",
        "end what is held",
        "lose power",
        "break",
        "repair",
        "hang",
        "wake",
        "start by somebody else",
        "cut off",
        "reach again",
        "cut link",
        "stall link",
        "mend link",
        "receive",
        "write on standby",
        "lose data",
        "lose a copy",
    }
)
"""They happen to a server that exists, or not at all."""


class UnknownEventError(Exception):
    """Nobody handles it: a history that seems to break something, and does not."""


def carry_out(simulation: Simulation, kind: str, argument: object) -> None:
    """Let that happen.

    Raises:
        UnknownEventError: there is no such kind, or it has no such argument.
    """
    world = simulation.world
    server = world.named(argument) if isinstance(argument, str) else None
    match kind, argument:
        case "pass", int(which):
            simulation.run_pass(which)
        case "pass and die", int(effect):
            simulation.run_pass(0, dies_at=effect)
            simulation.new_manager()
        case "pass with a lost answer", int(effect):
            simulation.run_pass(0, loses_answer_of=effect)
        case "pass and be suspended in a call", int(statement):
            simulation.run_pass(0, suspended_in=statement)
        case "pass and be suspended", int(question):
            simulation.run_pass(0, suspended_at=question)
        case "pass amid", (int(effect), str(other), happening):
            simulation.interject(effect, other, happening)
            simulation.run_pass(0)
            simulation.interjected.clear()
        case "new manager", _:
            simulation.new_manager()
        case "manager dies", int(which):
            simulation.managers[which].power.dead = True
        case "manager returns", int(which):
            simulation.start_manager(which)
        case "manager sleeps", int(which):
            simulation.managers[which].suspended = True
        case "manager wakes", int(which):
            simulation.managers[which].suspended = False
        case "manager loses the store", int(which):
            world.store.cut_off.add(simulation.managers[which].name)
        case "manager finds the store", int(which):
            world.store.cut_off.discard(simulation.managers[which].name)
        case "leads again", bool(again):
            simulation.leads_again = again
        case "live", int(seconds):
            simulation.live(seconds)
        case "time", float(seconds):
            simulation.elapse(seconds)
        case "clock jump", float(seconds):
            world.clock.jumped_seconds += seconds
        case "write", int(first):
            world.write(first)
        case "replicate", _:
            world.replicate()
        case "elect", int(first):
            world.elect(first=first)
        case "runtime down", bool(down):
            world.runtime_down = down
        case "runtime out", frozenset() as calls:
            world.runtime_out = calls
        case "names lost", bool(lost):
            world.names_lost = lost
        case "store down", bool(down):
            world.store.down = down
        case "store full", bool(full):
            world.store.full = full
        case "copy the store", _:
            simulation.copy = simulation.store.copy()
        case "restore the store", _:
            simulation.store.restore(simulation.copy)
            simulation.term = 0
            simulation.new_manager()
        case "hear elsewhere", int(behind):
            known = world.elsewhere.version
            world.elsewhere.hear(behind)
            assert world.elsewhere.version >= known, "clients elsewhere are led back"
        case "scale", int(instances):
            simulation.spec(instances=instances)
        case "memory", int(memory_bytes):
            simulation.spec(memory_bytes=memory_bytes)
        case "upgrade", int(version):
            simulation.upgrade(version)
        case "bad image", int(version):
            simulation.world.bad_images.add(f"image:{version}")
        case "mend image", int(version):
            simulation.world.bad_images.discard(f"image:{version}")
        case "durability", Durability() as durability:
            if not world.elects:
                simulation.spec(durability=durability)
        case "switchover", str(name):
            simulation.order(OrderKind.SWITCHOVER, name)
        case "restart", str(name):
            wanted = simulation.current_spec().restarts.get(name, 0) + 1
            simulation.spec(restarts={**simulation.current_spec().restarts, name: wanted})
        case _, str(host) if kind in HOST_KINDS:
            _happen_to_host(simulation, kind, host)
        case "order", (OrderKind() as ordered, str(to)):
            simulation.order(ordered, to)
        case "pause", bool(paused):
            simulation.spec(paused=paused)
        case _, str() if kind in SERVER_KINDS:
            if server is not None:
                _happen_to(simulation, kind, server)
        case _:
            raise UnknownEventError(f"{kind} {argument!r}")


HOST_KINDS = frozenset(
    {
        "host crashes",
        "host is cut off",
        "host is out of sight",
        "host hangs",
        "host's engine dies",
        "host is back",
        "drain host",
    }
)
"""They happen to all that is on a host."""


def _happen_to_host(simulation: Simulation, kind: str, host: str) -> None:
    world = simulation.world
    if kind == "drain host":
        world.leaving.add(host)
        return
    if kind != "host is back":
        world.silent.setdefault(host, world.clock.monotonic())
    else:
        world.silent.pop(host, None)
    for server in world.on(host):
        match kind:
            case "host crashes":
                world.lose_power(server)
                server.cut_off = True
            case "host is cut off":
                server.cut_off = server.link_cut = True
            case "host is out of sight":
                server.cut_off = True
            case "host hangs" if server.running:
                server.hung = True
            case "host is back":
                server.cut_off = server.hung = server.link_cut = False
                world.relink(server)


def _happen_to(simulation: Simulation, kind: str, server: SimServer) -> None:
    match kind:
        case "kill":
            simulation.world.stop_process(server)
        case "terminate":
            simulation.world.terminate(server)
            for manager in simulation.managers if server.ends_at is not None else ():
                manager.loop.observer.note_asked_to_end(server.ref.instance)
        case "terminate unseen":
            simulation.world.terminate(server)
        case "end what is held" if server.ends_at is not None:
            simulation.world.stop(server)
        case "lose power":
            simulation.world.lose_power(server)
        case "break":
            simulation.world.stop_process(server)
            server.broken = True
        case "repair":
            server.broken = False
        case "hang" if server.running:
            server.hung = True
        case "wake":
            server.hung = False
        case "start by somebody else":
            simulation.world.start_process(server)
        case "cut off":
            server.cut_off = True
        case "reach again":
            server.cut_off = False
        case "cut link":
            server.link_cut = True
        case "stall link" if server.stalled_at is None:
            server.stalled_at = simulation.world.clock.monotonic()
        case "mend link":
            server.link_cut, server.stalled_at = False, None
            simulation.world.relink(server)
        case "receive":
            simulation.world.receive(server)
        case "write on standby" if not simulation.world.elects:
            simulation.world.write_on_standby(server, promised=simulation.would_be_noticed(server))
        case "lose data":
            simulation.world.lose_data(server)
        case "lose a copy" if simulation.is_elsewhere(server):
            simulation.world.lose_data(server)
