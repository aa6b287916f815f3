"""The soak on several hosts: every fault that can be planned can be done."""

from __future__ import annotations

from benchmarks.rounds import plan
from benchmarks.soak_hosts import FAULTS, OnHosts


def test_every_fault_is_done_in_some_way() -> None:
    assert set(OnHosts.__new__(OnHosts).injections()) == set(FAULTS)


def test_every_fault_comes_up() -> None:
    assert {this.fault for this in plan(7, "mysql", 200, FAULTS)} == set(FAULTS)
