"""The planned change of primary: without loss, bounded in time, undone when it fails."""

from __future__ import annotations

import time

from hamanager.errors import ServerError
from hamanager.values.service import ServiceContext, Target
from hamanager_drivers.mysql import gtid
from hamanager_drivers.mysql.connections import Connections, Session
from hamanager_drivers.mysql.probe import server_row
from hamanager_drivers.mysql.replication import refuse_writes, take_writes
from hamanager_drivers.mysql.status import server_status

HAND_OVER_SECONDS = 5.0
LARGEST_LAG_SECONDS = 2.0
WAIT_SLICE_SECONDS = 0.25


def hand_over(
    connections: Connections, service: ServiceContext, target: Target, primary: Target
) -> str:
    """Let `target` take the place of `primary`, which becomes a standby that follows nobody.

    Raises:
        ServerError: it was not possible in time; the primary takes writes as before, unless
            the message says otherwise.
    """
    with connections.session(service, target) as new:
        taken_over = not server_row(new)["read_only"]
        if not taken_over:
            _check(new, target, primary)
    began = time.monotonic()
    with connections.session(service, primary) as old:
        refuse_writes(old)
        written = server_row(old)["executed"]
    if taken_over:
        return f"{target.name} took over already"
    try:
        with connections.session(service, target) as new:
            _catch_up(new, target, written, began + HAND_OVER_SECONDS)
            take_writes(new, target)
    except ServerError:
        with connections.session(service, target) as new:
            refuse_writes(new)
            if not gtid.parse(server_row(new)["executed"]) <= gtid.parse(written):
                # It did take over, and clients have written to it: there is no way back.
                take_writes(new, target)
                return f"{target.name} took over, its answer came late"
        with connections.session(service, primary) as old:
            take_writes(old, primary)
        raise
    return f"no writes for {time.monotonic() - began:.3f} s, none lost"


def _check(new: Session, target: Target, primary: Target) -> None:
    status = server_status(server_row(new), [])
    if status.source != primary.address or not status.link_up:
        raise ServerError(f"{target.name} does not follow {primary.name}: nothing was changed")
    if status.lag_seconds is None or status.lag_seconds > LARGEST_LAG_SECONDS:
        raise ServerError(
            f"{target.name} is more than {LARGEST_LAG_SECONDS:g} s behind {primary.name}:"
            " nothing was changed"
        )


def _catch_up(new: Session, target: Target, written: str, deadline: float) -> None:
    """Wait until everything that the old primary wrote is executed here."""
    while time.monotonic() < deadline:
        new.rows("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", written, WAIT_SLICE_SECONDS)
        if gtid.parse(written) <= gtid.parse(server_row(new)["executed"]):
            return
    raise ServerError(
        f"{target.name} did not catch up in {HAND_OVER_SECONDS:g} s: nothing was changed"
    )
