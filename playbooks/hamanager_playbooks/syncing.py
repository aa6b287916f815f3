"""The published sync set: who holds every acknowledged write.

The set in the store is always a subset of the standbys that truly do. So one is added to the
engine first and then to the store, and taken out of the store first and then of the engine. A
manager that dies between the two may block writes until the next observation; it never loses one.

The primary waits for as many acknowledgements as the set has members, whoever sends them. That
is why nobody else may acknowledge while it waits: an acknowledgement of a standby that is no
member would stand for one of a member's.
"""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step, needed
from hamanager.errors import RuntimeFailedError, ServerError, WritesWaitError
from hamanager.model.service import Target

APPLIED_SECONDS = 2.0
"""One with more to apply does that first: writes wait for the confirmation."""


def join(ctx: PlaybookContext) -> Sequence[Step]:
    """Engine first, then store. The primary waits for one more before the new one acknowledges;
    only an empty set is joined the other way round, so that no write waits for the link's
    restart."""
    members = set(ctx.records.read().sync_set) | {ctx.name}

    def silence_others() -> str | None:
        record = ctx.records.read()
        names = [i.name for i in record.instances if i.name not in {*members, record.primary}]
        return _silenced(ctx, names)

    def wait_for_it() -> None:
        _tell_primary(ctx, _no_fewer_acks(ctx, len(members)))

    def set_semisync_replica() -> None:
        ctx.semisync.set_semisync_replica(ctx.service, ctx.target(), wanted=True)

    def wait_until_caught_up() -> None:
        ctx.semisync.wait_until_caught_up(ctx.service, ctx.target(), _primary(ctx))

    def receive() -> str | None:
        """What it has not received yet when writes begin to wait for it, they wait for; and from
        then on it has to sync each event, which makes it slower."""
        try:
            ctx.semisync.wait_until_received(ctx.service, ctx.target(), _primary(ctx))
            if _apply_delay_seconds(ctx) > APPLIED_SECONDS:
                wait_until_caught_up()
        except WritesWaitError as error:
            return _end_waiting(ctx, error, _no_fewer_acks(ctx))
        except ServerError as error:
            return f"not yet, so writes will wait until it has: {error}"
        return None

    def publish() -> str:
        published = ctx.records.change(lambda r: r.join_sync_set(ctx.name)).sync_set
        return f"every acknowledged write is on {' and '.join(published)}, too"

    count = Step(f"let writes wait for {len(members)} standbys", wait_for_it)
    acknowledging = Step(f"let {ctx.name} acknowledge writes", set_semisync_replica)
    first = len(members) == 1
    return [
        # After a change of primary former members still acknowledge.
        Step("let no other standby acknowledge", silence_others),
        Step(f"let {ctx.name} receive everything first", receive),
        *([acknowledging, count] if first else [count, acknowledging]),
        Step(f"confirm that {ctx.name} holds every acknowledged write", wait_until_caught_up),
        Step("publish the sync set", publish),
    ]


def _apply_delay_seconds(ctx: PlaybookContext) -> float:
    seen = ctx.snapshot.of(ctx.name)
    status = seen.status if seen is not None else None
    return (status.lag_seconds or 0.0) if status is not None else 0.0


def leave(ctx: PlaybookContext) -> Sequence[Step]:
    """Store first, then engine."""
    return [
        Step(f"take {ctx.name} out of the sync set", lambda: take_out(ctx, ctx.name)),
        *set_required_acks(ctx, leaving=ctx.name),
    ]


def set_required_acks(ctx: PlaybookContext, leaving: str | None = None) -> Sequence[Step]:
    """The primary waits for as many standbys as the record says, and nobody else acknowledges.

    When the number falls a server counts the acknowledgements anew that it has stored, those of
    a standby that has left included: a client would be told that its write succeeded which a
    member lacks. So every member is first proven to have received whatever may wait now; what is
    written later has no stored acknowledgement of one that was silenced before."""

    members = [name for name in ctx.records.read().sync_set if name != leaving]

    def wait_until_received(name: str) -> Step:
        def received() -> str | None:
            try:
                ctx.semisync.wait_until_received(ctx.service, ctx.target(name), _primary(ctx))
            except WritesWaitError as error:
                return _end_waiting(ctx, error, ctx.required_acks(len(members)))
            return None

        return Step(f"make sure that {name} has received everything", received)

    present = _present_acks(ctx)
    falls = present is None or present > ctx.required_acks(len(members))

    def wait_for_them() -> str:
        if not ctx.required_acks():
            ctx.records.change(lambda r: r.forget_refusal())
        _tell_primary(ctx, ctx.required_acks())
        return f"writes wait for {ctx.required_acks()} standbys"

    return [
        Step("let no other standby acknowledge", lambda: silence_non_members(ctx)),
        *(wait_until_received(name) for name in members if falls),
        Step("tell the primary for how many to wait", wait_for_them),
        Step("let standbys catch up that nobody waits for", lambda: relax(ctx)),
    ]


def end_waiting(ctx: PlaybookContext) -> Sequence[Step]:
    """Let go of clients whose writes wait for nobody who could acknowledge them. The number to wait
    for is set anew by that: nobody may go on acknowledging who is no member of the sync set."""

    def end() -> str:
        return ctx.semisync.end_waiting(ctx.service, ctx.target(), _no_fewer_acks(ctx))

    return [
        Step("let no other standby acknowledge", lambda: silence_non_members(ctx)),
        Step("end the clients whose writes wait, acknowledging none", end),
    ]


def prompt(ctx: PlaybookContext) -> Sequence[Step]:
    """A write of the manager's own; what is acknowledged of it is of all before it."""

    def write() -> str | None:
        try:
            ctx.semisync.prompt(ctx.service, ctx.target())
        except WritesWaitError as error:
            return _end_waiting(ctx, error, _no_fewer_acks(ctx))
        return None

    return [Step("write something for the standbys to acknowledge", write)]


def _end_waiting(ctx: PlaybookContext, error: WritesWaitError, required_acks: int) -> str:
    """Whoever is told nothing is not deceived."""
    ended = ctx.semisync.end_waiting(ctx.service, _primary(ctx), required_acks)
    return f"{error}: {ended}, acknowledging none"


def relax(ctx: PlaybookContext) -> str | None:
    """An empty set: nobody counts on an acknowledgement, and a standby that gives them syncs every
    event, which would keep it from catching up with writes that wait for nobody. Nobody is killed
    for it, and one whose link is down is left alone: its receiver, in the middle of connecting,
    would take seconds to stop, in which nobody looks after the primary. The rule `sync-adjust`
    comes back to it."""
    record = ctx.records.read()
    if record.sync_set:
        return None
    notes = []
    for instance in record.instances:
        seen = ctx.snapshot.of(instance.name)
        status = seen.status if seen is not None else None
        gives = status is not None and status.acknowledges and status.link_up
        if gives and instance.name != record.primary:
            try:
                ctx.semisync.set_semisync_replica(
                    ctx.service, ctx.target(instance.name), wanted=False
                )
            except ServerError as error:
                notes.append(str(error))
    return "; ".join(notes) or None


def silence_non_members(ctx: PlaybookContext) -> str | None:
    """Make sure that only members of the sync set acknowledge, if it has any."""
    record = ctx.records.read()
    if not record.sync_set:
        return None  # nobody counts on an acknowledgement
    members = {*record.sync_set, record.primary}
    for left in record.left_behind:
        ctx.semisync.shut_out(ctx.service, _primary(ctx), left.serial)
    return _silenced(ctx, [i.name for i in record.instances if i.name not in members])


def _silenced(ctx: PlaybookContext, names: Sequence[str]) -> str | None:
    notes = [silence(ctx, name) for name in names]
    return "; ".join(note for note in notes if note) or None


def silence(ctx: PlaybookContext, name: str) -> str | None:
    """Make sure that it acknowledges nothing: by its own word, else by force."""
    seen = ctx.snapshot.of(name)
    if seen is not None and seen.gone:
        return None  # every server starts so that it acknowledges nothing
    if not ctx.instance(name).joined and (seen is None or seen.status is None):
        # It was never told to acknowledge, and is still being started with its first copy: a kill
        # now would hit it in the middle of that.
        return None
    if seen is not None and not seen.alive:
        # Writes may wait meanwhile: it is not asked what it is not going to answer.
        return _end_or_shut_out(ctx, name, "it does not answer")
    # Also one that seems not to: its link may be down for now.
    try:
        ctx.semisync.set_semisync_replica(ctx.service, ctx.target(name), wanted=False)
    except ServerError as error:
        return _end_or_shut_out(ctx, name, str(error))
    return None


def _end_or_shut_out(ctx: PlaybookContext, name: str, why: str) -> str:
    """By its host, or, when that does not answer, by the primary, which admits it no more."""
    instance = ctx.instance(name)
    host = ctx.snapshot.hosts.get(instance.placed_on)
    try:
        ctx.runtime.kill(ctx.ref(name))
    except RuntimeFailedError as error:
        if host is None or host.answers:
            raise
        ctx.semisync.shut_out(ctx.service, _primary(ctx), instance.serial)
        return f"{name} is admitted no more, as it might acknowledge writes: {error}"
    return f"{name} was killed, as it might acknowledge writes: {why}"


def take_out(ctx: PlaybookContext, name: str) -> str | None:
    """Publish the set without that one."""
    if name not in ctx.records.read().sync_set:
        return None
    if ctx.records.change(lambda r: r.leave_sync_set(name, ctx.clock.now())).sync_set:
        return None
    return "no standby is left in it: the next failure may lose writes"


def _tell_primary(ctx: PlaybookContext, required_acks: int) -> None:
    needed(ctx.driver.required_acks).set_required_acks(ctx.service, _primary(ctx), required_acks)


def _primary(ctx: PlaybookContext) -> Target:
    return ctx.target(ctx.records.read().primary)


def _present_acks(ctx: PlaybookContext) -> int | None:
    """For how many standbys the primary was seen to wait; None where that is not known."""
    seen = ctx.snapshot.of(ctx.records.read().primary)
    return seen.status.required_acks if seen is not None and seen.status is not None else None


def _no_fewer_acks(ctx: PlaybookContext, members: int | None = None) -> int:
    """For as many as the record (or so many members) says, and never for fewer than now: that takes
    every member's word (see `set_required_acks`)."""
    return max(_present_acks(ctx) or 0, ctx.required_acks(members))
