"""One server of a service, as its record has it."""

from __future__ import annotations

from hamanager.model.frozen import Frozen
from hamanager.model.image import PinnedImage


class InstanceRecord(Frozen):
    """One server of a service, as the loop knows it."""

    name: str
    """`db.0`: the service and a number; the lowest free number is reused."""
    serial: int
    """Never reused within a service; engines that need a unique server number use it."""
    host: str
    port: int
    """Address for clients on the host and for the other servers; survives restarts."""
    admin_port: int | None = None
    """Where the manager and the other servers come in, whatever clients hold; None where the
    engine has no such way in."""
    generation: int
    """Number of its data volume; another one when it is rebuilt from nothing. Never reused
    within a service, so that a new instance never finds a former one's kept data."""
    image: PinnedImage | None = None
    """What it was last started from; None: it was started before anybody noted that."""
    former_image: PinnedImage | None = None
    """What it ran from before, for as long as it has not been seen at work from `image`."""
    upgrading: bool = False
    """The planned restart that is under way is to make it anew from the image that is wanted."""
    memory_bytes: int | None = None
    """The limit it was last given."""
    memory_shrinks_since: float | None = None
    """When it was told to give memory back for a smaller limit (seconds since the epoch)."""
    memory_problem: str = ""
    """Why it could not be given another one; '' when it could."""
    memory_tried_at: float | None = None
    """When that was tried last (seconds since the epoch)."""
    draining_since: float | None = None
    """Of a service without data: since when it gets no new requests (seconds since the epoch)."""
    joined: bool = False
    """It has been a full copy (or the primary) since this generation was made."""
    synchronized: bool = False
    """It is known to hold a full copy and to follow: only such a standby is promoted.
    Cleared whenever it is started, set again when it has been seen attached."""
    synchronized_term: int = 0
    """The term in which that was seen last."""
    has_led: bool = False
    """It was primary with this generation: it may hold writes that nobody else has."""
    unacknowledged_only: bool = False
    """It was primary and replaced by a standby that held every acknowledged write: what it alone
    has was never acknowledged to anybody."""
    restarts_done: int = 0
    """How many of the spec's restarts have been carried out or begun."""
    restarting_since: float | None = None
    """Seconds since the epoch when a planned restart began; None when none is under way."""
    restart_started: bool = False
    """The planned restart has come as far as the start."""
    starts: int = 0
    """Starts since it was last seen healthy: bounds how often a broken server is retried."""
    started_at: float | None = None
    """When it was last started (seconds since the epoch)."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def replication_address(self) -> str:
        """Where its standbys connect to."""
        return f"{self.host}:{self.admin_port or self.port}"

    @property
    def ports(self) -> tuple[int, ...]:
        """All that are taken by it."""
        return (self.port,) if self.admin_port is None else (self.port, self.admin_port)


def index_of(instance_name: str) -> int:
    """The number in an instance's name: 1 for `db.1`."""
    return int(instance_name.rpartition(".")[2])
