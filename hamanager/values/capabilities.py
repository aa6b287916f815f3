"""What engines do differently, as values that the rules may look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """One engine's differences, stated by its driver."""

    allowed_instances: tuple[int, ...]
    """The sizes a service may have."""
    elects_itself: bool
    """The servers choose their primary by majority; the manager helps and writes it down."""
    minimum_memory_bytes: int
    """The smallest limit under which a server starts and works."""
    url_names_all: bool
    """The connection URL names every instance, not the primary alone."""
