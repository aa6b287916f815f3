"""The beginning of a service, and of each instance."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.act.context import PlaybookContext, Step
from hamanager.errors import AddressTakenError
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.upgrade import to_start, unproven_after
from hamanager_playbooks.images import end_one_of_another_image
from hamanager_playbooks.placing import place, reserve


def reserve_address(ctx: PlaybookContext) -> Sequence[Step]:
    """An address for clients, once for the service's life."""

    def reserve() -> str:
        present = ctx.records.read().endpoint
        host, port = ctx.runtime.reserve_address(ctx.records.taken_ports())
        if present is None:
            reserved = EndpointRecord(host=host, port=port)
        else:
            reserved = present.reading_at(port)
        ctx.records.change(lambda r: r.with_endpoint(reserved))
        return f"{host}:{port}"

    return [Step("reserve an address for clients", reserve)]


def add_instance(ctx: PlaybookContext) -> Sequence[Step]:
    """A new instance: on record first, so that a crash leaves nothing unknown behind."""

    def put_on_record() -> str:
        where = place(ctx)
        host, port, admin_port = reserve(ctx, where)

        def add(record: ServiceRecord) -> ServiceRecord:
            return record.add_instance(
                ctx.name,
                host,
                port,
                admin_port,
                memory_bytes=ctx.spec.memory_bytes,
                # What was asked of a former instance of that name is not asked of this one.
                restarts_done=ctx.spec.restarts.get(ctx.name, 0),
                placed_on=where,
            )

        ctx.records.change(add)
        return f"on {where}, at {host}:{port}" if where else f"at {host}:{port}"

    return [Step(f"put {ctx.name} on record", put_on_record), *start_instance(ctx)]


def start_instance(ctx: PlaybookContext) -> Sequence[Step]:
    """Start the process of an instance, making its container where there is none. It starts
    unable to take writes, whatever it was before."""

    def note_start() -> None:
        record = ctx.records.read()

        def noted(instance: InstanceRecord) -> InstanceRecord:
            image = to_start(ctx.spec, record, instance)
            # Before it is started: from then on its data may be that image's.
            return instance.start_began(
                image,
                unproven_after=unproven_after(ctx.spec, record, instance, image),
                memory_bytes=ctx.spec.memory_bytes,
                at=ctx.clock.now(),
                is_primary=instance.name == record.primary,
            )

        ctx.change_instance(noted)

    def start() -> str | None:
        ctx.driver.forget(ctx.target())
        note = run()
        end_one_of_another_image(ctx)
        return note

    def run() -> str | None:
        try:
            ctx.runtime.start(ctx.ref(), ctx.container())
        except AddressTakenError:
            if ctx.instance().joined:
                raise
            host, port, admin_port = reserve(ctx, ctx.instance().placed_on)
            ctx.change_instance(lambda i: i.moved(host, port, admin_port))
            ctx.runtime.start(ctx.ref(), ctx.container())
            return f"its port was taken, it is now at {host}:{port}"
        return None

    return [Step(f"note the start of {ctx.name}", note_start), Step(f"start {ctx.name}", start)]


def initialize(ctx: PlaybookContext) -> Sequence[Step]:
    """First-time set-up: the first instance becomes the primary of term 1."""

    def set_up() -> None:
        ctx.replication.initialize(ctx.service, ctx.target())

    def record() -> None:
        ctx.records.change(lambda r: r.initialize(ctx.name))

    return [
        Step(f"set up {ctx.name} as the first server", set_up),
        Step(f"record {ctx.name} as primary", record),
    ]
