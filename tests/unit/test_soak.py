"""The soak: its sequence of faults, and how it reads a pause out of the writes."""

from __future__ import annotations

from benchmarks import rounds
from benchmarks.rounds import Round, longest_pause
from benchmarks.soak import FAULTS, PEER_FAULTS
from hamanager.chaos.workload import Acknowledged


def plan(seed: int, engine: str, number: int, faults: tuple[str, ...] = FAULTS) -> list[Round]:
    return rounds.plan(seed, engine, number, faults)


def test_the_sequence_is_a_pure_function_of_the_seed() -> None:
    first = plan(7, "redis", 100)
    assert plan(7, "redis", 100) == first
    assert plan(8, "redis", 100) != first
    assert plan(7, "mysql", 100) != first


def test_the_sequence_stays_the_same_from_one_version_to_the_next() -> None:
    begin = [(this.fault, this.pick) for this in plan(7, "redis", 3)]
    assert begin == [("hang primary", 11), ("cut off primary", 6), ("kill standby", 22)]


def test_fewer_rounds_are_the_beginning_of_more() -> None:
    assert plan(7, "mongodb", 10) == plan(7, "mongodb", 100)[:10]


def test_every_fault_comes_up() -> None:
    assert {this.fault for this in plan(7, "mysql", 200)} == set(FAULTS)
    assert {this.fault for this in plan(7, "redis", 100, PEER_FAULTS)} == set(PEER_FAULTS)


def test_a_pause_is_counted_when_it_ends_after_the_fault() -> None:
    writes = [Acknowledged(n, at, "db.0") for n, at in enumerate([0.0, 5.0, 5.1, 7.1, 7.2])]
    assert longest_pause(writes, since=4.0) == 5.0
    assert longest_pause(writes, since=5.0) == 7.1 - 5.1
    assert longest_pause(writes, since=8.0) == 0.0
