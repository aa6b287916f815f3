"""How the time-outs depend on each other: in one place, and checked when the program starts.

Each stands where it is used; a change there that breaks one of these relations is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hamanager.act import backoff as retries
from hamanager.act import runner
from hamanager.api import client
from hamanager.contracts.driver import HELD_SECONDS, Driver, LaunchSpec
from hamanager.daemon.supervisor import TICK_SECONDS
from hamanager.daemon.validation import SHORTEST_DOWN_AFTER_SECONDS
from hamanager.decide import leading, situation
from hamanager.decide.rules.primary import HURRY_SECONDS
from hamanager.endpoints.haproxy import backend as haproxy_board
from hamanager.endpoints.haproxy import control as haproxy_control
from hamanager.model.order import LONGEST_PATIENCE_SECONDS, ORDER_SECONDS
from hamanager.model.spec import Spec
from hamanager.observe import observer as observe
from hamanager.runtimes.docker import engine as docker_engine
from hamanager.runtimes.docker import runtime as docker
from hamanager.stores import sqlite
from hamanager.stores.etcd import gateway as etcd


@dataclass(frozen=True)
class Timeouts:
    """All in seconds."""

    beat: float = leading.BEAT_SECONDS
    session_valid: float = leading.VALID_SECONDS
    session_dead: float = leading.DEAD_SECONDS
    session_look: float = leading.LOOK_SECONDS
    answering: float = leading.ANSWERING_SECONDS
    late: float = leading.LATE_SECONDS
    takeover: float = leading.TAKEOVER_SECONDS
    longest_call: float = runner.LONGEST_CALL_SECONDS
    probes: Mapping[str, float] = field(default_factory=dict)
    """By engine."""
    calls: Mapping[str, float] = field(default_factory=dict)
    """By engine: the longest call of its driver."""
    runtime_answer: float = docker_engine.OBSERVATION_SECONDS
    runtime_call: float = docker_engine.CHANGE_SECONDS + docker.GONE_SECONDS
    endpoint_answer: float = haproxy_control.ANSWER_SECONDS
    clients_wait: float = haproxy_board.WAIT_SECONDS
    """For how long a new connection waits at an address that leads to nobody."""
    store_busy: float = max(sqlite.BUSY_SECONDS, etcd.CALL_SECONDS)
    tick: float = TICK_SECONDS
    observation: float = observe.OBSERVATION_SECONDS
    hung_answer: float = observe.HUNG_ANSWER_SECONDS
    longest_gap: float = observe.LONGEST_GAP_SECONDS
    shortest_down_after: float = SHORTEST_DOWN_AFTER_SECONDS
    down_after: float = float(Spec.model_fields["down_after_seconds"].default)
    urgent_pause: float = retries.LONGEST_URGENT_PAUSE_SECONDS
    patience: float = LONGEST_PATIENCE_SECONDS
    order: float = ORDER_SECONDS
    hurry: float = HURRY_SECONDS
    held: float = HELD_SECONDS
    stop: float = LaunchSpec.stop_seconds
    stop_again: float = situation.STOP_AGAIN_SECONDS
    restart_bound: float = situation.RESTART_BOUND_SECONDS
    answer: float = client.ANSWER_SECONDS
    """For how long a command waits for the daemon's answer."""


def present(drivers: Mapping[str, Driver]) -> Timeouts:
    """As the program has them."""
    return Timeouts(
        probes={engine: driver.traits.probe_seconds for engine, driver in drivers.items()},
        calls={engine: driver.traits.call_seconds for engine, driver in drivers.items()},
    )


def problems(t: Timeouts) -> list[str]:
    """Every relation that does not hold, in a sentence. Pure."""
    return [
        f"{what} ({shorter:g} s) has to be shorter than {than} ({longer:g} s), {why}"
        for shorter, what, longer, than, why in _relations(t)
        if not shorter < longer
    ]


def _relations(t: Timeouts) -> Iterator[tuple[float, str, float, str, str]]:
    yield from _session(t)
    a_call, why = "a call", "as nothing else is done about the service meanwhile"
    for engine, seconds in sorted(t.calls.items()):
        yield seconds, f"the longest call of the {engine} driver", t.longest_call, a_call, why
    yield t.runtime_call, "the longest call of the runtime", t.longest_call, a_call, why
    for engine, seconds in sorted(t.probes.items()):
        what, why = f"a probe of {engine}", "which would not hear of its answer"
        yield seconds, what, t.observation, "an observation", why
        why = "as a single answer that was lost would be a death"
        yield seconds, what, t.shortest_down_after, "the shortest `down_after`", why
    why = "which would not hear of its answer"
    yield (
        t.runtime_answer,
        "the runtime's answer in an observation",
        t.observation,
        "an observation",
        why,
    )
    yield (
        t.hung_answer,
        "the wait for one that hung",
        t.observation,
        "an observation",
        "as it delays the others",
    )
    why = "as a silence that was watched would be forgotten"
    yield (
        t.observation + t.tick,
        "an observation and a tick",
        t.longest_gap,
        "the longest gap between observations",
        why,
    )
    yield t.shortest_down_after, "the shortest `down_after`", t.longest_gap, "that gap", why
    why = "as clients that wait at the address would be turned away in a failover on silence"
    silence = t.down_after + t.observation + t.tick
    yield silence, "`down_after`, an observation and a tick", t.clients_wait, "a client's wait", why
    why = "as whoever leads is waited for"
    yield t.urgent_pause, "the longest urgent pause", t.tick, "a tick", why
    yield (
        t.endpoint_answer,
        "the proxy's answer",
        t.observation,
        "an observation",
        "as a failover waits for it",
    )
    why = "as it would be refused while it is carried out"
    yield t.patience, "the longest patience", t.order, "the time for an order", why
    why = "as it would have ended in the middle of its planned change"
    yield t.hurry, "the time in which a planned change begins", t.held, "what a stop is held", why
    why = "as it would be asked again while it does"
    yield t.stop, "the time to stop", t.stop_again, "the time until it is asked again", why
    why = "as a restart that goes well would be a failure"
    yield t.stop_again, "the time until it is asked again", t.restart_bound, "a restart", why
    why = "as the answer would come too late"
    yield (
        t.observation + t.store_busy,
        "an observation and a busy store",
        t.answer,
        "a command's wait",
        why,
    )


def _session(t: Timeouts) -> Iterator[tuple[float, str, float, str, str]]:
    valid = "the time for which a manager counts its session as valid"
    dead = "the silence after which others take it for dead"
    why = "as it would only observe when one sign of life is late"
    yield 2 * t.beat, "two signs of life", t.session_valid, valid, why
    why = "as another manager could take over while it acts"
    yield t.session_valid, valid, t.session_dead, dead, why
    why = "as nobody had the time to tell that it lives when the store is back"
    yield t.beat, "a sign of life", t.answering, "the time that the store has to answer before", why
    why = "as a manager that ends would be missed for longer"
    longest = t.session_look + t.session_dead + t.session_look
    yield longest, "until a manager is found dead", t.takeover, "the time for a takeover", why
    why = "as the one that should lead would always be too late"
    yield t.session_look, "a look at the others", t.late, "what it is given before others lead", why
