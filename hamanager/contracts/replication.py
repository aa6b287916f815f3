"""What only servers with data have: how their copies stand, and who leads.

The rules of `hamanager.contracts.driver` hold for every method here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus


@dataclass(frozen=True)
class HandOver:
    """How a planned change of primary is carried out."""

    before_stop: Callable[[], None]
    """To be called right before the primary stops taking writes, so that clients wait who would
    come from then on; when it raises, nothing was changed."""
    before_promotion: Callable[[], None]
    """To be called once `target` has everything and before it takes writes; when it raises, the
    hand-over is undone."""
    before_undo: Callable[[], None]
    """To be called before the primary is made writable again; when it raises, another manager
    has taken over, and the primary must not."""
    required_acks: int
    """For how many standbys the new primary's writes wait."""
    term: int | None
    """What the new primary's data tell of from then on."""
    patience_seconds: float
    """How long long transactions may take to end by themselves before writes are stopped."""
    kill: bool
    """Whether those that are left are ended; otherwise nothing is changed and it raises."""
    hurried: bool = False
    """The primary is about to end: what would merely make it shorter is tried once."""


class Replication(Protocol):
    """One primary takes writes, and standbys copy them."""

    def relate(
        self,
        target: Target,
        standby: ServerStatus,
        primary_target: Target,
        primary: ServerStatus,
        members: Sequence[Target],
    ) -> Relation:
        """Pure: how that standby stands towards the primary on record, `members` being all
        instances on record."""
        ...

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        """Pure: whether that server has applied all that the primary had at that time."""
        ...

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """Pure: what that server has and the primary has not, in the engine's terms (a set of
        transaction identifiers, an amount of bytes); '' when nothing is known of."""
        ...

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """Pure: what that server lacks of what the primary was last seen to have, in words; ''
        when nothing is known of."""
        ...

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """Pure: those that could be promoted without losing more than necessary, best first.

        A partial order: when two hold writes that the other lacks, neither stands behind the
        other and both are left out, together with all that are worse.
        """
        ...

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """Pure: why a server of the version `wanted` cannot go on with data that one of the version
        `present` has used, as a sentence without an end; '' when it can."""
        ...

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """First-time set-up of a service's first server; afterwards it is the primary."""
        ...

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Start the first full copy in the background and return; `probe` shows its progress.
        Does nothing while one is under way. The server may end its process when it is done."""
        ...

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],
    ) -> None:
        """Do the next thing that makes it a full standby of that primary, short of discarding
        data that is not proven to be elsewhere."""
        ...

    def apply_received(self, service: ServiceContext, target: Target) -> str:
        """Stop receiving and apply everything received; returns a short note for the history.
        Bounded; raises when not everything could be applied."""
        ...

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],
        required_acks: int,
        term: int | None = None,
    ) -> str:
        """Make it accept writes, as the last step of a failover; returns when it does, with a
        short note on what was or may have been lost ('' when the engine cannot tell). From its
        first write on it waits for `required_acks` standbys (see `set_required_acks`). Its data,
        and so those of all who follow it, tell of the term from then on (see
        `ServerStatus.term`)."""
        ...

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Make it refuse client writes at once and cut its clients off; no write that waits for a
        standby is acknowledged by that."""
        ...

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """Planned: the primary stops taking writes, `target` catches up with all of them and
        takes over. Undone when it fails half-way. Returns a short note."""
        ...

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        """Make the service forget that standby before its container is removed."""
        ...


class RequiredAcks(Protocol):
    """A primary can be told for how many standbys its writes wait."""

    def set_required_acks(
        self, service: ServiceContext, primary: Target, required_acks: int
    ) -> None:
        """From now on each write waits for that many standbys before it is acknowledged; 0: for
        none, and those that wait now are acknowledged."""
        ...


class Leaving(Protocol):
    """A primary refuses writes some time after it heard of a standby last
    (`Traits.refuses_alone_after_seconds`): when all of them leave one that nobody can end, it is
    known from when on it takes none."""

    def leave(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Let that standby cease to follow the primary, which need not answer: when this returns
        it says nothing to that one any more. It keeps what it has, and refuses writes as before;
        `attach` lets it follow again."""
        ...


class SemiSync(Protocol):
    """A standby's acknowledgement means that the write is on its disk, and the primary waits for
    it: such a service has a published sync set, and only its members are promoted."""

    def set_semisync_replica(
        self, service: ServiceContext, target: Target, *, wanted: bool
    ) -> None:
        """Let that standby acknowledge what it receives, once it is on its disk; or not any more.
        When it returns the primary counts (or does not count) on it."""
        ...

    def wait_until_caught_up(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """Return when that standby is proven to hold, on disk and applied, every write that the
        primary had acknowledged before this call.

        Raises:
            ServerError: it is not proven within some seconds.
        """
        ...

    def wait_until_received(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """Return when that standby is proven to have received everything that was in the
        primary's log before this call, acknowledged or not.

        Raises:
            WritesWaitError: the primary, which answers, cannot tell it while writes wait.
            ServerError: it is not proven within some seconds.
        """
        ...

    def shut_out(self, service: ServiceContext, primary: Target, serial: int) -> None:
        """Have the primary admit the standby of that serial no more until it is attached again: of
        one on a host that does not answer, which may still reach the primary and acknowledge.
        When it returns none of its acknowledgements will be counted. Waits for no standby.

        Raises:
            ServerError: the primary does not answer, or the standby's link did not end.
        """
        ...

    def prompt(self, service: ServiceContext, primary: Target) -> None:
        """Have the primary's standbys acknowledge everything that they have received: of what one
        received before its link was made anew it is never asked again. Waits for none of them.

        Raises:
            WritesWaitError: nothing more can be written before what waits has ended, or what was
                written for this waits as well.
            ServerError: it was done a moment ago.
        """
        ...

    def end_waiting(self, service: ServiceContext, primary: Target, required_acks: int) -> str:
        """End every client whose write waits for a standby, without acknowledging one; from its
        next client on it waits for `required_acks` standbys as before. Returns a short note. One
        that was begun and not finished turns clients away
        (`ServerStatus.turns_clients_away`)."""
        ...


class Election(Protocol):
    """The servers choose their primary by majority; the manager helps and writes it down."""

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:
        """An operator decided that this instance leads, with whatever it has and without asking a
        majority. From now on the survivors (it among them)
        are the whole set. All others have been fenced: they know nothing of it, and may have a
        majority of the former set among them.

        Raises:
            ServerError: among others, a survivor does not answer: nothing was changed.
        """
        ...


class Chaining(Protocol):
    """Standbys choose by themselves whom they replicate from: another standby, perhaps."""

    def straighten(self, service: ServiceContext, target: Target, primary: Target) -> str:
        """Let that standby replicate from the primary itself; nothing is done when it does. Returns
        a short note ('' for nothing). It may fail: the next change of primary takes longer then,
        and nothing else."""
        ...


class Checkpointing(Protocol):
    """A server that is killed has to do again, or to undo, what it did since its last checkpoint;
    one that is killed soon after each start would come to none by itself."""

    def checkpoint(self, service: ServiceContext, target: Target) -> None:
        """Have it begin one, and wait for its end only for a moment. It may fail: the next return
        of that server takes longer then, and nothing else."""
        ...


class Settling(Protocol):
    """A promotion leaves something to be done that no client has to wait for."""

    def settle(self, service: ServiceContext, target: Target) -> None:
        """Do it; asked of a new primary once clients are sent to it. It may fail, or never come:
        the next promotion copes with what is left."""
        ...
