"""Who may ask the manager for what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AccessRole(StrEnum):
    """What a caller may do; each includes those before it."""

    READ = "read"
    """See everything but passwords."""
    OPERATE = "operate"
    """Whatever loses no data; see how applications connect."""
    ADMIN = "admin"
    """Everything: also what destroys data, and let others in."""

    def includes(self, least: AccessRole) -> bool:
        """Whether who has this role may do what asks for that one."""
        order = list(AccessRole)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    """As the history names it, such as `token laptop`; '' at the local socket."""
    role: AccessRole


LOCAL = Caller("", AccessRole.ADMIN)
"""Whoever can open the socket in the state directory can read the store beside it, too."""
