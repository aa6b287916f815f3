"""Following a primary, and ceasing to.

What a standby has received is as good as acknowledged, and MySQL throws the relay log away with
`RESET REPLICA` and with a `CHANGE REPLICATION SOURCE TO` while both threads are stopped. So
everything received is applied before either.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import AUTHORITIES
from hamanager_drivers.mysql import gtid, semisync
from hamanager_drivers.mysql.admission import login
from hamanager_drivers.mysql.config import HEARTBEAT_SECONDS, MANAGER, REPLICATOR
from hamanager_drivers.mysql.connections import Row, Session
from hamanager_drivers.mysql.probe import note_term, server_row
from hamanager_drivers.mysql.status import has_source

APPLY_SECONDS = 10.0
"""Of one call; the applier goes on between this one and the next."""
WAIT_SLICE_SECONDS = 0.5
STOP_SECONDS = 3.0
STOP_POLL_SECONDS = 0.001
POLL_SECONDS = 0.01
ACCESS_DENIED = 1045
RECEIVING, CONNECTING = "ON", "CONNECTING"
"""The states of a receiver: on its way to its source is one that never was there, or was."""

_CHANGE = f"""
CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s,
  SOURCE_PASSWORD = %s, SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1,
  SOURCE_RETRY_COUNT = 4294967295, SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_SECONDS},
  GET_SOURCE_PUBLIC_KEY = 1
"""

_ENCRYPTED = f""",
  SOURCE_SSL = 1, SOURCE_SSL_CA = '{AUTHORITIES}', SOURCE_SSL_VERIFY_SERVER_CERT = 1
"""

_COORDINATOR = """
SELECT t.PROCESSLIST_ID AS id FROM performance_schema.threads AS t
JOIN performance_schema.replication_applier_status_by_coordinator AS c USING (THREAD_ID)
WHERE c.CHANNEL_NAME = ''
"""

_RECEIVER = """
SELECT PROCESSLIST_ID AS id FROM performance_schema.threads
WHERE NAME IN ('thread/sql/replica_io', 'thread/sql/slave_io') AND PROCESSLIST_ID IS NOT NULL
"""

_CLIENTS = """
SELECT PROCESSLIST_ID AS id FROM performance_schema.threads
WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_USER NOT IN (%s, 'system user', 'event_scheduler')
  AND LEFT(PROCESSLIST_USER, CHAR_LENGTH(%s)) <> %s
  AND PROCESSLIST_ID <> CONNECTION_ID()
"""


def follow(session: Session, service: ServiceContext, target: Target, primary: Target) -> None:
    """Replicate from that primary; nothing is changed where it is told so already."""
    server = server_row(session)
    if not server["read_only"]:
        step_down(session)
    elif not server["super_read_only"]:
        session.run("SET GLOBAL super_read_only = ON")
    if server["required_acks"]:
        semisync.set_required_acks(session, 0)  # the primary's side, from when it was one
    if not _follows(server, target, primary):
        apply_received(session, target, server)
        stop_applying(session, target)
        _wait_for_receiver_end(session)
        session.run("STOP REPLICA")
        if not has_source(server):
            # It has received nothing. What a kill in the first start after a copy leaves behind
            # would be refused as broken (error 1872) for ever.
            session.run("RESET REPLICA ALL")
        password = service.secrets["replication_password"]
        change = _CHANGE if service.encryption is None else _CHANGE + _ENCRYPTED
        session.rows(change, primary.host, primary.replication_port, login(target), password)
    session.run("START REPLICA")


def _follows(server: Row, target: Target, primary: Target) -> bool:
    return (
        (server["source_host"], server["source_port"]) == (primary.host, primary.replication_port)
        and server["source_user"] == login(target)
        and bool(server["source_settings"])
        and float(server["heartbeat_seconds"]) == HEARTBEAT_SECONDS
        and server["receiver_error"] != ACCESS_DENIED
    )


def apply_received(session: Session, target: Target, server: Row | None = None) -> int:
    """Stop receiving and apply everything received; how many transactions had to be waited for.

    Raises:
        ServerError: the applier cannot go on, or needs longer; what it has not applied yet is
            kept, and the next call goes on from there.
    """
    server = server or server_row(session)
    if not has_source(server):
        return 0
    stop_receiving(session, server)
    waiting = first = _left(server_row(session))
    deadline = time.monotonic() + APPLY_SECONDS
    if waiting:
        session.run("START REPLICA SQL_THREAD")
    while waiting:
        session.rows("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", str(waiting), WAIT_SLICE_SECONDS)
        server = server_row(session)
        waiting = _left(server)
        if waiting and server["applier"] != "ON":
            error = server["worker_error"] or server["coordinator_error"] or 0
            raise ServerError(
                f"{target.name} cannot apply {waiting.count} of the transactions it received:"
                f" its applier stopped with error {error}"
            )
        if waiting and time.monotonic() > deadline:
            raise ServerError(
                f"{target.name} has {waiting.count} of {first.count} received transactions left"
                f" to apply after {APPLY_SECONDS:.0f} s and goes on applying"
            )
    return first.count


def stop_receiving(session: Session, server: Row) -> None:
    """From its return on nothing more is received. `server` was read a moment ago.

    A receiver that is looking for a silent source is in the middle of a connect, which STOP REPLICA
    cannot interrupt: it waits for the whole time-out. Killed, it asks nobody for transactions any
    more, however the connect turns out (`rpl_replica.cc`: `handle_slave_io` asks `io_slave_killed`
    before it requests a dump and before it queues an event), and ends some time later by itself.
    That it was not in the middle of queueing one when it was killed is what the second look is for:
    on its way from there it is connected.
    """
    if server["receiver"] == CONNECTING:
        receivers = session.rows(_RECEIVER)
        for receiver in receivers:
            session.kill(int(receiver["id"]))
        if receivers and server_row(session)["receiver"] != RECEIVING:
            return
    session.run("STOP REPLICA IO_THREAD")


def stop_applying(session: Session, target: Target) -> None:
    """Stop the applier, after everything received was applied and nothing more is received.

    A source that died while it was sending leaves a transaction half received, and STOP REPLICA
    waits up to 60 s for the rest of it. Killed first, the applier's coordinator gives it up and
    rolls back what a worker had begun; but if it is asked to stop before it has noticed that it
    was killed, it waits all the same (all seen on 9.7): so its end is awaited in between.
    """
    for coordinator in session.rows(_COORDINATOR):
        session.kill(int(coordinator["id"]))
        _wait_for_applier_end(session, target)
    session.run("STOP REPLICA SQL_THREAD")


def _wait_for_receiver_end(session: Session) -> None:
    """One that was killed in a connect, which ends sooner than STOP REPLICA would let it."""
    deadline = time.monotonic() + STOP_SECONDS
    while server_row(session)["receiver"] == CONNECTING and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _wait_for_applier_end(session: Session, target: Target) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while server_row(session)["applier"] == "ON":
        if time.monotonic() > deadline:
            raise ServerError(f"{target.name} did not stop applying in {STOP_SECONDS:g} s")
        time.sleep(STOP_POLL_SECONDS)


def _left(server: Row) -> gtid.GtidSet:
    return gtid.parse(server["received"] or "") - gtid.parse(server["executed"])


def take_writes(
    session: Session,
    target: Target,
    required_acks: int,
    term: int | None = None,
    begin: Callable[[], None] | None = None,
) -> str:
    """Accept writes, each of which waits for that many standbys, and replicate from nobody any more
    (`forget_source` deletes what is left of that); gives everything it had executed before. The
    term is written before that, while only the manager can write and nothing waits. `begin` is
    called for a server that has just started.

    Raises:
        ServerError: it has received what it has not applied; it is still a standby.
    """
    server = server_row(session)
    if server["read_only"]:
        if has_source(server):
            stop_receiving(session, server)
            server = server_row(session)
            if left := _left(server):
                raise ServerError(
                    f"{target.name} was not promoted: {left.count} transactions it has received"
                    " must be applied first"
                )
            stop_applying(session, target)
        elif begin is not None:
            begin()
        semisync.cease(session)
        if term is not None:
            semisync.set_required_acks(session, 0)
            session.run("SET GLOBAL super_read_only = OFF")
            note_term(session, term)
        semisync.set_required_acks(session, required_acks)
        session.run(
            # A manager may have died while it made a primary step down.
            "SET GLOBAL offline_mode = OFF",
            "SET GLOBAL read_only = OFF, GLOBAL event_scheduler = ON",
        )
    return str(server["executed"])


def forget_source(session: Session) -> None:
    """What is left of a new primary's time as a standby: the settings, and the relay log, all of
    which it has executed. To delete it takes longer than the rest of a promotion.

    Raises:
        ServerError: writes wait for another standby, which is not to wait for a receiver that has
            not ended yet.
    """
    server = server_row(session)
    if has_source(server) and not server["read_only"]:
        if server["receiver"] == CONNECTING and server["required_acks"]:
            raise ServerError("its receiver has not ended yet")
        _wait_for_receiver_end(session)
        session.run("STOP REPLICA", "RESET REPLICA ALL")


def refuse_writes(session: Session) -> None:
    """Cut all clients off and refuse writes. The clients go first: one that holds table locks
    would keep the server from becoming read-only; another that comes in between is cut off
    after it."""
    session.run("SET GLOBAL event_scheduler = OFF")
    cut_clients(session)
    session.run("SET GLOBAL super_read_only = ON")
    cut_clients(session)


def step_down(session: Session) -> None:
    """Cease to be a primary that should not be one (any more): refuse writes, and let no write
    that waits for a standby be acknowledged by that.

    `super_read_only` waits for the commits that wait for standbys, so they have to be let go; but
    then their clients would be told that they succeeded. Offline mode first cuts off every client
    and keeps new ones out.
    """
    session.run("SET GLOBAL event_scheduler = OFF", "SET GLOBAL offline_mode = ON")
    cut_clients(session)
    semisync.set_required_acks(session, 0)
    session.run("SET GLOBAL super_read_only = ON", "SET GLOBAL offline_mode = OFF")


def end_waiting(session: Session, required_acks: int) -> int:
    """End every client, acknowledging nothing that waits, and wait for that many standbys from
    the next client on; how many were ended."""
    session.run("SET GLOBAL offline_mode = ON")
    ended = len(session.rows(_CLIENTS, MANAGER, REPLICATOR, REPLICATOR))
    cut_clients(session)
    semisync.set_required_acks(session, 0)
    deadline = time.monotonic() + STOP_SECONDS
    while session.rows(_CLIENTS, MANAGER, REPLICATOR, REPLICATOR):
        if time.monotonic() > deadline:
            raise ServerError("clients that were ended are still there: it turns others away")
        time.sleep(POLL_SECONDS)
    semisync.set_required_acks(session, required_acks)
    session.run("SET GLOBAL offline_mode = OFF")
    return ended


def cut_clients(session: Session) -> None:
    """End every client's connection; replication and the manager's own stay."""
    for client in session.rows(_CLIENTS, MANAGER, REPLICATOR, REPLICATOR):
        session.kill(int(client["id"]))


def cut_everybody(session: Session) -> None:
    """End every connection except this one, and wait for their ends: a standby's is noticed at
    the next heartbeat, and it connects again a second later."""
    deadline = time.monotonic() + 2 * HEARTBEAT_SECONDS
    while clients := session.rows(_CLIENTS, "", "-", "-"):
        for client in clients:
            session.kill(int(client["id"]))
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
