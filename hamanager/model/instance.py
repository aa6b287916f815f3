"""One server of a service, as its record has it."""

from __future__ import annotations

from pydantic import AliasChoices, Field

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
    placed_on: str = ""
    """The host that it runs on; '' is the one engine of an installation without hosts."""
    admin_port: int | None = None
    """Where the manager and the other servers come in, whatever clients hold; None where the
    engine has no such way in."""
    generation: int
    """Number of its data volume; another one when it is rebuilt from nothing. Never reused
    within a service, so that a new instance never finds a former one's retained volume."""
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
    was_primary: bool = Field(
        default=False, validation_alias=AliasChoices("was_primary", "has_led")
    )
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

    # --- What happens to it ------------------------------------------------------------------

    def moved(self, host: str, port: int, admin_port: int | None) -> InstanceRecord:
        """It has another address, as somebody else took its port before it ever served."""
        return self._with(host=host, port=port, admin_port=admin_port)

    def replaced(
        self,
        serial: int,
        generation: int,
        address: tuple[str, int, int | None],
        placed_on: str,
    ) -> InstanceRecord:
        """It starts over with an empty volume on another host, as another server."""
        host, port, admin_port = address
        renewed = self.rebuilt(generation).restart_finished()
        return renewed._with(
            serial=serial,
            host=host,
            port=port,
            admin_port=admin_port,
            placed_on=placed_on,
            draining_since=None,
        )

    def set_up(self) -> InstanceRecord:
        """It is the first server of its service."""
        return self._with(joined=True, synchronized=True, was_primary=True, starts=0)

    def start_began(
        self,
        image: PinnedImage,
        *,
        unproven_after: PinnedImage | None,
        memory_bytes: int | None,
        at: float,
        is_primary: bool,
    ) -> InstanceRecord:
        """It is about to be started; with `unproven_after`, from another image than that one, with
        which its data last worked. A standby is no candidate before it has been seen attached."""
        return self._with(
            image=image,
            former_image=unproven_after,
            upgrading=False,
            starts=self.starts + 1,
            started_at=at,
            synchronized=self.synchronized and is_primary,
            memory_bytes=memory_bytes,
            restart_started=self.restarting_since is not None,
        )

    def seen_synchronized(self, term: int) -> InstanceRecord:
        """It was seen to hold a full copy and to follow the primary of that term."""
        return self._with(
            joined=True,
            synchronized=True,
            synchronized_term=term,
            was_primary=False,
            unacknowledged_only=False,
            starts=0,
            former_image=None,
        )

    def became_primary(self) -> InstanceRecord:
        """It is the primary from now on, or again."""
        return self._with(
            joined=True,
            synchronized=True,
            was_primary=True,
            unacknowledged_only=False,
            starts=0,
            restarting_since=None,
            former_image=None,
            upgrading=False,
        )

    def was_replaced(self, *, lossless: bool) -> InstanceRecord:
        """Another one became primary instead; `lossless`: with every acknowledged write. The last
        writes of this one may be missing there: it is no candidate until it has rejoined."""
        return self._with(synchronized=False, unacknowledged_only=lossless)

    def took_writes(self, *, acknowledged_by_nobody: bool) -> InstanceRecord:
        """It was seen to take writes although it is not the primary."""
        return self._with(
            was_primary=True,
            synchronized=False,
            unacknowledged_only=self.unacknowledged_only and acknowledged_by_nobody,
        )

    def rebuilt(self, generation: int) -> InstanceRecord:
        """It starts over with an empty volume."""
        return self._with(
            generation=generation,
            joined=False,
            synchronized=False,
            was_primary=False,
            unacknowledged_only=False,
            starts=0,
            former_image=None,
            upgrading=False,
        )

    def restart_began(self, at: float, asked: int) -> InstanceRecord:
        """A planned restart is under way, by which so many of those asked for are done."""
        return self._with(restarting_since=at, restart_started=False, restarts_done=asked)

    def upgrade_began(self, at: float, asked: int) -> InstanceRecord:
        """The same, and it is to come back from the image that is wanted. What it did from its
        former image says nothing about that one."""
        return self.restart_began(at, asked)._with(upgrading=True, starts=0)

    def restart_finished(self) -> InstanceRecord:
        """It is back in its place."""
        return self._with(
            restarting_since=None,
            restart_started=False,
            starts=0,
            former_image=None,
            upgrading=False,
        )

    # --- Its memory --------------------------------------------------------------------------

    def memory_set(self, memory_bytes: int | None) -> InstanceRecord:
        """It has that limit."""
        return self._with(
            memory_bytes=memory_bytes,
            memory_problem="",
            memory_tried_at=None,
            memory_shrinks_since=None,
        )

    def memory_shrinks(self, since: float) -> InstanceRecord:
        """It was told to give memory back."""
        return self._with(memory_shrinks_since=since)

    def memory_not_set(self, problem: str, at: float) -> InstanceRecord:
        """It could not be given another limit, and has the one that it had."""
        return self._with(memory_problem=problem, memory_tried_at=at, memory_shrinks_since=None)

    # --- Without data ------------------------------------------------------------------------

    def passed_its_check(self) -> InstanceRecord:
        """It gets requests from now on."""
        return self._with(joined=True, starts=0, draining_since=None, former_image=None)

    def drains(self, since: float) -> InstanceRecord:
        """It gets no new requests."""
        return self._with(draining_since=since)

    def left_for_restart(self, asked: int) -> InstanceRecord:
        """It is ended, by which so many restarts of those asked for are done."""
        return self._with(restarts_done=asked, draining_since=None, joined=False)

    def left_for_upgrade(self, since: float) -> InstanceRecord:
        """It is ended, to come back from the image that is wanted."""
        return self._with(upgrading=True, draining_since=since, joined=False, starts=0)


def index_of(instance_name: str) -> int:
    """The number in an instance's name: 1 for `db.1`."""
    return int(instance_name.rpartition(".")[2])
