"""The faults that a drill can inject, by name."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """As `--fault` names them."""

    KILL = "kill"
    HANG = "hang"
    PARTITION = "partition"
    SLOW = "slow"
    DISK_FULL = "disk-full"
    RESTART = "restart"
