"""What a drill can do to a primary, for how long, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hamanager.chaos.faults import Faults
from hamanager.model.drill import DrillFault

HOLD_SECONDS = 10.0
FULL_DISK_SECONDS = 5.0


Act = Callable[[Faults, str], None]


@dataclass(frozen=True)
class Plan:
    """One round's fault."""

    words: str
    """What is done to the primary, for people."""
    inject: Act
    undo: Act | None = None
    hold_seconds: float = 0.0
    silent: bool = False
    """Nothing proves that the primary is dead: soon after another failover nobody replaces it."""


PLANS: Mapping[DrillFault, Plan] = {
    DrillFault.KILL: Plan("killed (SIGKILL)", Faults.kill),
    DrillFault.HANG: Plan(
        f"stopped for {HOLD_SECONDS:g} s (SIGSTOP)",
        Faults.hang,
        Faults.wake,
        HOLD_SECONDS,
        silent=True,
    ),
    DrillFault.PARTITION: Plan(
        f"cut off from everybody for {HOLD_SECONDS:g} s",
        Faults.cut_off,
        Faults.reconnect,
        HOLD_SECONDS,
        silent=True,
    ),
    DrillFault.SLOW: Plan(
        f"given 5 % of a CPU for {HOLD_SECONDS:g} s", Faults.slow, Faults.quicken, HOLD_SECONDS
    ),
    DrillFault.DISK_FULL: Plan(
        f"left without disk space for {FULL_DISK_SECONDS:g} s",
        Faults.fill_disk,
        Faults.free_disk,
        FULL_DISK_SECONDS,
    ),
    DrillFault.RESTART: Plan(
        "killed and started again at once, as by a supervisor", Faults.restart
    ),
}
