"""The planned change of primary: without loss, bounded in time, undone when it fails."""

from __future__ import annotations

import time

from hamanager.contracts.replication import HandOver
from hamanager.errors import HamanagerError, ServerError
from hamanager.model.order import LONGEST_PATIENCE_SECONDS
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql import gtid
from hamanager_drivers.mysql.config import MANAGER, REPLICATOR
from hamanager_drivers.mysql.connections import Connections, Session
from hamanager_drivers.mysql.probe import server_row
from hamanager_drivers.mysql.replication import STOP_SECONDS, refuse_writes, take_writes
from hamanager_drivers.mysql.status import server_status

HAND_OVER_SECONDS = 5.0
LARGEST_LAG_SECONDS = 2.0
WAIT_SLICE_SECONDS = 0.25
LONG_POLL_SECONDS = 0.1
LOGIN_SECONDS = 0.2
HAND_OVER_CALL_SECONDS = LONGEST_PATIENCE_SECONDS + LOGIN_SECONDS + HAND_OVER_SECONDS + STOP_SECONDS
"""The longest that it takes while the servers answer at once."""
_LOGINS = """
SELECT 1 FROM performance_schema.threads
WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_USER = 'unauthenticated user' LIMIT 1
"""
_LONG_TRANSACTIONS = """
SELECT TIMESTAMPDIFF(SECOND, x.trx_started, NOW()) AS seconds
FROM information_schema.innodb_trx AS x
JOIN performance_schema.threads AS t ON t.PROCESSLIST_ID = x.trx_mysql_thread_id
WHERE t.PROCESSLIST_USER NOT IN (%s, %s) AND x.trx_started < NOW() - INTERVAL 1 SECOND
"""


def hand_over(
    connections: Connections,
    service: ServiceContext,
    target: Target,
    primary: Target,
    terms: HandOver,
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
    with connections.session(service, primary) as old:
        if not taken_over:
            _await_long_transactions(old, primary, terms)
        awaited = int(server_row(old)["required_acks"])
        terms.before_stop()
        _await_logins(old)
        began = time.monotonic()
        refuse_writes(old)
        written = server_row(old)["executed"]
    if taken_over:
        return f"{target.name} took over already"
    try:
        with connections.session(service, target) as new:
            _catch_up(new, target, written, began + HAND_OVER_SECONDS)
            terms.before_promotion()
            take_writes(new, target, terms.required_acks, terms.term)
    except HamanagerError:
        with connections.session(service, target) as new:
            refuse_writes(new)
            if not gtid.parse(server_row(new)["executed"]) <= gtid.parse(written):
                # It did take over, and clients have written to it: there is no way back.
                take_writes(new, target, terms.required_acks)
                return f"{target.name} took over, its answer came late"
        terms.before_undo()
        with connections.session(service, primary) as old:
            take_writes(old, primary, awaited)
        raise
    return f"no writes for {time.monotonic() - began:.3f} s, none lost"


def _await_long_transactions(old: Session, primary: Target, terms: HandOver) -> None:
    """Give them time to end by themselves, while writes still go on; those that are left are
    ended with their clients, or the whole is refused."""
    deadline = time.monotonic() + min(terms.patience_seconds, LONGEST_PATIENCE_SECONDS)
    while running := old.rows(_LONG_TRANSACTIONS, MANAGER, REPLICATOR):
        if time.monotonic() >= deadline:
            if terms.kill:
                return
            raise ServerError(
                f"{len(running)} transactions on {primary.name} run for up to"
                f" {max(int(t['seconds']) for t in running)} s and did not end within"
                f" {terms.patience_seconds:g} s: nothing was changed"
            )
        time.sleep(LONG_POLL_SECONDS)


def _await_logins(old: Session) -> None:
    """Clients that are in the middle of their login are not turned away: no new ones come."""
    deadline = time.monotonic() + LOGIN_SECONDS
    while old.rows(_LOGINS) and time.monotonic() < deadline:
        time.sleep(0.002)


def _check(new: Session, target: Target, primary: Target) -> None:
    status = server_status(server_row(new), [])
    if status.source != primary.replication_address or not status.link_up:
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
