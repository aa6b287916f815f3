"""What engines do differently, as values that the rules may use."""

from __future__ import annotations

from dataclasses import dataclass

from hamanager.model.durability import Durability


@dataclass(frozen=True)
class Traits:
    """One engine's numbers and names, stated by its driver."""

    allowed_instances: tuple[int, ...]
    """The sizes a service may have."""
    minimum_memory_bytes: int
    """The smallest limit under which a server starts and works."""
    durabilities: tuple[Durability, ...]
    """What can be chosen; the first is the default."""
    image: str = ""
    """What its servers run from where nobody names another image; '' where somebody has to."""
    url_names_all: bool = False
    """The connection URL names every instance, not the primary alone."""
    data_in_memory: bool = False
    """All data lie in memory: what is there cannot be given back for a smaller limit."""
    rollback_directory: str = ""
    """Where a server leaves writes that it had to undo, below its data directory."""
    admin_interface: bool = False
    """Servers have a second port, whose connections do not count among those of clients."""
    refuses_alone_after_seconds: float | None = None
    """A primary that is to refuse writes while no standby is heard of has begun to, so long after
    the last word of one; None where there is no such promise, or standbys cannot be told to leave
    (`contracts.replication.Leaving`)."""
    server_program: str = ""
    """What every image of the engine has on its PATH, and tells its version when it is asked with
    `--version`; '' where images are not the engine's."""
    probe_seconds: float = 1.0
    """How long a probe waits for an answer."""
    call_seconds: float = 20.0
    """The longest that any other call of the driver may take."""


@dataclass(frozen=True)
class Capabilities(Traits):
    """The same with which parts the driver has (`hamanager.contracts.driver`)."""

    stateless: bool = False
    """No database: all instances are alike, and each gets its share of the requests."""
    elects_itself: bool = False
    """The servers choose their primary by majority; the manager helps and writes it down."""
    acknowledges: bool = False
    """A standby's acknowledgement means that the write is on its disk, and the primary can be
    told to wait for so many of them: such a service has a published sync set, and only its
    members are promoted."""
