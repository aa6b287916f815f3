"""What a service does about writes when no standby can acknowledge them."""

from __future__ import annotations

from enum import StrEnum


class Durability(StrEnum):
    """The choice between losing nothing and never waiting, as far as the engine leaves one."""

    AVAILABILITY = "availability"
    """When no standby is left writes go on, and `info` says that the next failure may lose some."""
    STRICT = "strict"
    """When no standby is left writes wait for one."""
    MAJORITY = "majority"
    """The engine itself acknowledges what a majority has; there is nothing to choose."""
