"""Where an instance goes, and what becomes of one whose host does not answer."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.contracts.runtime import InstanceRef
from hamanager.decide.placement import places
from hamanager.errors import RuntimeFailedError, StepFailedError
from hamanager.model.host import LeftBehind
from hamanager.model.image import PinnedImage
from hamanager.model.order import OrderKind
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.upgrade import runs_from, wanted_image
from hamanager_playbooks.orders import settled


def reserve(ctx: PlaybookContext, placed_on: str) -> tuple[str, int, int | None]:
    """Host, port and, where the engine has one, the port past which no client comes."""
    taken = ctx.records.taken_ports()
    host, port = ctx.runtime.reserve_address(taken, placed_on)
    if not ctx.driver.traits.admin_interface:
        return host, port, None
    return host, port, ctx.runtime.reserve_address(taken | {port}, placed_on)[1]


def place(ctx: PlaybookContext) -> str:
    """The host for the decision's instance, which has the image; '' where there are no hosts.

    Raises:
        StepFailedError: no host can take it.
    """
    hosts = ctx.runtime.hosts()
    record = ctx.records.read()
    # What runs on this machine's own address is out of the others' reach.
    local = any(not i.placed_on for i in record.instances)
    if not hosts or local:
        return ""
    ranked = places(hosts, record, ctx.records.occupants(), ctx.spec.memory_bytes, [ctx.name])
    problems = [f"{host.name} does not answer" for host in hosts if not host.answers]
    problems += [f"{host.name} is to be left" for host in hosts if host.draining and host.answers]
    image = _image(ctx)
    for name in ranked:
        try:
            ctx.runtime.provide_image(image, name)
        except RuntimeFailedError as error:
            if not error.permanent:
                raise
            problems.append(f"{name}: {error}")
        else:
            return name
    raise StepFailedError(f"no host can take {ctx.name}: {'; '.join(problems) or 'none is free'}")


def replace(ctx: PlaybookContext) -> Sequence[Step]:
    """Make it anew on another host. Where it was it may still run: that is noted in the same
    change, and ended when its host answers."""
    old = ctx.instance()

    def renew() -> str:
        where = place(ctx)
        address = reserve(ctx, where)
        left = LeftBehind(
            instance=old.name,
            generation=old.generation,
            placed_on=old.placed_on,
            serial=old.serial,
            at=ctx.clock.now(),
            reason=ctx.decision.reason,
            keep=old.joined or old.was_primary,
        )

        def change(record: ServiceRecord) -> ServiceRecord:
            text = f"{old.name} is made anew on {where}"
            changed = record.replace(old.name, address, where, left)
            return settled(ctx, changed, [OrderKind.REPLACE], ok=True, text=text)

        ctx.driver.forget(ctx.target())
        ctx.records.change(change)
        return f"on {where}, at {address[0]}:{address[1]}"

    return [*_shut_out(ctx), Step(f"record {ctx.name} as empty on another host", renew)]


def clear_left(ctx: PlaybookContext) -> Sequence[Step]:
    """End what was left on a host that answers again; data are set aside."""
    hosts = ctx.snapshot.hosts
    left = next(
        one
        for one in ctx.records.read().left_behind
        if one.instance == ctx.name and (one.placed_on not in hosts or hosts[one.placed_on].answers)
    )
    gone = left.placed_on not in hosts
    ref = InstanceRef(ctx.spec.name, left.instance, left.generation, left.placed_on)

    def take_down() -> str:
        if gone:
            return "an operator said that its machine is gone"
        ctx.runtime.kill(ref)
        ctx.runtime.remove(ref, discard_data=not left.keep)
        volume = ctx.runtime.volume_name(ref)
        return f"its data is kept as volume {volume}" if left.keep else "it held no data"

    def forget() -> None:
        retained = RetainedVolume(
            instance=left.instance,
            volume=ctx.runtime.volume_name(ref),
            generation=left.generation,
            placed_on=left.placed_on,
            at=ctx.clock.now(),
            reason=left.reason,
        )
        ctx.records.change(
            lambda r: r.clear_left(left, retained if left.keep and not gone else None)
        )

    return [
        Step(f"take down what {left.placed_on} still has of {left.instance}", take_down),
        Step("record that it is gone", forget),
    ]


def note_refusal(ctx: PlaybookContext) -> Sequence[Step]:
    """It was seen to be told so: from now on it may be passed over when nobody can end it."""

    def record() -> None:
        ctx.records.change(lambda r: r.note_refusal())

    return [Step(f"record that {ctx.name} refuses writes while it is alone", record)]


def _image(ctx: PlaybookContext) -> PinnedImage:
    """What it is going to be started from (`model/upgrade.py`, `to_start`)."""
    record = ctx.records.read()
    primary = record.instance(record.primary)
    if primary is None or primary.name == ctx.name:
        return wanted_image(ctx.spec)
    return runs_from(ctx.spec, primary)


def _shut_out(ctx: PlaybookContext) -> list[Step]:
    """Where standbys acknowledge: what was left may be merely out of the manager's sight."""
    semisync = ctx.driver.semisync
    if semisync is None:
        return []

    def shut_out() -> None:
        primary = ctx.target(ctx.records.read().primary)
        ctx.semisync.shut_out(ctx.service, primary, ctx.instance().serial)

    return [Step(f"let the primary admit {ctx.name} no more", shut_out)]
