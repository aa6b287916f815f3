"""Semi-synchronous replication: whose acknowledgements a primary waits for.

MySQL Reference Manual, "Semisynchronous Replication" (the names are those of 8.0.26 and later).
There is no list of who may acknowledge, only a number to wait for: so the replica side is turned
on at exactly the standbys that are meant. It takes effect when the receiver connects.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pymysql

from hamanager.errors import ServerError, SilentError, WritesWaitError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql import gtid
from hamanager_drivers.mysql.config import MANAGER
from hamanager_drivers.mysql.connections import Row, Session, as_manager, hang_up, told_apart
from hamanager_drivers.mysql.probe import server_row

CONNECTED_SECONDS = 3.0
CONFIRM_SECONDS = 5.0
RELINK_SECONDS = 0.5
"""A link that was just opened says for a moment that it connects."""
POLL_SECONDS = 0.005
LONG_LOG_BYTES = 1024**2
"""What a source reads in no time."""
LAZY_SYNC = 10000
"""The server's default: a relay log that nobody counts on is not synced after each event."""
PARSE_ERROR = 1064


def set_required_acks(session: Session, required_acks: int) -> None:
    """Let each write wait for that many standbys; 0 lets go of those that wait now."""
    if not required_acks:
        session.run("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        return
    session.rows("SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = %s", required_acks)
    session.run("SET GLOBAL rpl_semi_sync_source_enabled = ON")


def cease(session: Session) -> None:
    """A server that leads, or that nobody counts on yet: no acknowledgements, and a relay log that
    is not synced with each event, which would keep a standby from ever catching up."""
    session.run("SET GLOBAL rpl_semi_sync_replica_enabled = OFF")
    session.rows("SET GLOBAL sync_relay_log = %s", LAZY_SYNC)


def set_semisync_replica(session: Session, target: Target, *, wanted: bool) -> None:
    """Turn a standby's acknowledgements on or off; before the first one its relay log is synced
    with every event, so that an acknowledgement means "on this disk".

    Raises:
        ServerError: its link did not come up in time.
    """
    server = server_row(session)
    # What is told takes effect when the receiver connects: a manager may have died in between.
    told, does = bool(server["may_acknowledge"]), bool(server["acknowledges"])
    if told is does is wanted and bool(server["from_disk"]) is wanted:
        return
    if wanted:
        session.rows("SET GLOBAL sync_relay_log = 1")
    session.rows("SET GLOBAL rpl_semi_sync_replica_enabled = %s", wanted)
    if server["receiver"] == "OFF" and not wanted:
        session.rows("SET GLOBAL sync_relay_log = %s", LAZY_SYNC)
        return
    session.run("STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
    deadline = time.monotonic() + CONNECTED_SECONDS
    while wanted and not server_row(session)["acknowledges"]:
        if time.monotonic() > deadline:
            raise ServerError(
                f"{target.name} did not connect to its source within {CONNECTED_SECONDS:g} s"
            )
        time.sleep(POLL_SECONDS)
    if not wanted:
        session.rows("SET GLOBAL sync_relay_log = %s", LAZY_SYNC)


def end_of_log(session: Session) -> tuple[str, int]:
    """Name and length of the binary log that is written now: everything that was committed, or
    is about to be, lies before it."""
    try:
        row = session.row("SHOW BINARY LOG STATUS")
    except pymysql.MySQLError as error:
        if not error.args or error.args[0] != PARSE_ERROR:
            raise
        row = session.row("SHOW MASTER STATUS")  # before 8.2
    return str(row["File"]), int(row["Position"])


def shorten_log(session: Session) -> None:
    """Begin a new binary log where the present one is long: for a receiver that connects the
    source reads the log from its beginning, past everything that the receiver has
    (rpl_binlog_sender.cc, `send_events`; about 10 ms per MB), and writes that wait for its
    acknowledgement wait that long.

    Only while no write waits for anybody: a new log begins when none of the old one's writes
    waits any more, and until then no other goes on (binlog.cc, `new_file_impl`).
    """
    if not server_row(session)["required_acks"] and end_of_log(session)[1] > LONG_LOG_BYTES:
        session.run("FLUSH BINARY LOGS")


_PROMPT = "FLUSH OPTIMIZER_COSTS"
_PROMPTS = """
SELECT COUNT(*) AS n, MIN(TIME) AS youngest_seconds FROM performance_schema.processlist
WHERE USER = %s AND INFO LIKE 'FLUSH OPTIMIZER%%'
"""
PROMPT_SECONDS = 1.0
"""So long its answer is waited for, which nobody needs."""
PROMPT_AGAIN_SECONDS, MOST_PROMPTS = 5, 3
"""So old is the youngest that waits when another one is given, and so many may wait."""


def expect_no_prompt(session: Session, primary: Target) -> None:
    """Raises unless one more may be given.

    Raises:
        WritesWaitError: several wait: no acknowledgement comes at all.
        ServerError: one was given a moment ago.
    """
    waiting = session.row(_PROMPTS, MANAGER)
    if int(waiting["n"]) >= MOST_PROMPTS:
        raise WritesWaitError(f"{primary.name} had {MOST_PROMPTS} writes more, which wait as well")
    if waiting["n"] and int(waiting["youngest_seconds"]) < PROMPT_AGAIN_SECONDS:
        raise ServerError(f"{primary.name} had one write more a moment ago, which waits as well")


def prompt(service: ServiceContext, primary: Target) -> None:
    """Have every standby acknowledge all that it has received.

    A source asks for the acknowledgement of what it sends, and skips what the receiver says it
    has when it connects: a write whose acknowledgement was lost with a link waits until a later
    one is acknowledged (seen on 9.7). The statement is logged and changes nothing; while it waits
    it holds no lock that a probe asks for, as one about the manager's own database would.
    """
    with told_apart(primary, service):
        connection = as_manager(service, primary, PROMPT_SECONDS)
    try:
        session = Session(connection)
        with told_apart(primary, service):
            server = server_row(session)
        if server["read_only"] or not server["required_acks"]:
            return
        with contextlib.suppress(SilentError), told_apart(primary, service):
            session.run(_PROMPT)
    finally:
        hang_up(connection)


def wait_until_caught_up(
    standby: Session, target: Target, written: tuple[str, int], executed: gtid.GtidSet
) -> None:
    """Wait until the standby has received the primary's binary log up to there, in order, and
    has applied that set.

    The position is what proves it: a transaction that was past the point of waiting when the
    waiting was turned on is in no set yet, but it is in the log. What is applied is on disk
    whatever happens to the relay log, which was not synced until now.

    Raises:
        ServerError: it has not within some seconds, or its link has ended.
    """

    def left() -> str:
        missing = (executed - gtid.parse(server_row(standby)["executed"])).count
        return f"{missing} transactions are left to apply" if missing else ""

    _confirm(standby, target, written, left)


def wait_until_received(standby: Session, target: Target, written: tuple[str, int]) -> None:
    """Wait until the standby has received the primary's binary log up to there.

    Raises:
        ServerError: it has not within some seconds, or its link has ended.
    """
    _confirm(standby, target, written, lambda: "")


def _confirm(
    standby: Session, target: Target, written: tuple[str, int], left: Callable[[], str]
) -> None:
    linked_at = time.monotonic()
    deadline = linked_at + CONFIRM_SECONDS
    while True:
        missing = left()
        link = standby.row("SHOW REPLICA STATUS")
        received = _received_up_to(link, written)
        if received and not missing:
            return
        now = time.monotonic()
        if received or link["Replica_IO_Running"] == "Yes":
            linked_at = now
        elif now - linked_at > RELINK_SECONDS:
            # Perhaps its primary has died: whoever sees about that must not be kept waiting.
            raise ServerError(f"{target.name} has lost its link to the primary")
        if now > deadline:
            raise ServerError(
                f"{target.name} could not be confirmed to hold every acknowledged write within"
                f" {CONFIRM_SECONDS:g} s: {missing or 'it has not received everything'}"
            )
        time.sleep(POLL_SECONDS)


def _received_up_to(replica: Row, written: tuple[str, int]) -> bool:
    file, position = str(replica["Source_Log_File"]), int(replica["Read_Source_Log_Pos"])
    return (_number(file), position) >= (_number(written[0]), written[1])


def _number(log_file: str) -> int:
    suffix = log_file.rpartition(".")[2]
    return int(suffix) if suffix.isdigit() else 0
