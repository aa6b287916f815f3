"""What a MySQL server is asked. The answers' meaning is in `status`.

Columns: MySQL Reference Manual, Performance Schema, replication and clone tables. All times are
taken by the server's own clock.
"""

from __future__ import annotations

import pymysql

from hamanager_drivers.mysql.config import MARKER_SCHEMA
from hamanager_drivers.mysql.connections import Row, Session
from hamanager_drivers.naming import APPLICATION

_TERM = f"SELECT MAX(term) AS term FROM {MARKER_SCHEMA}.terms"  # noqa: S608 - a constant
_NOTE_TERM = f"REPLACE INTO {MARKER_SCHEMA}.terms VALUES (1, %s)"  # noqa: S608
_NO_TABLE = {1049, 1146}

_SERVER = """
SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only AS read_only,
  @@GLOBAL.super_read_only AS super_read_only,
  @@GLOBAL.gtid_executed AS executed,
  @@GLOBAL.gtid_purged AS purged,
  @@GLOBAL.server_uuid AS uuid,
  @@GLOBAL.version AS version,
  c.HOST AS source_host,
  c.PORT AS source_port,
  c.USER AS source_user,
  c.AUTO_POSITION = '1' AND c.GET_PUBLIC_KEY = 'YES' AND c.CONNECTION_RETRY_INTERVAL = 1
    AS source_settings,
  c.HEARTBEAT_INTERVAL AS heartbeat_seconds,
  s.SERVICE_STATE AS receiver,
  s.SOURCE_UUID AS source_uuid,
  s.RECEIVED_TRANSACTION_SET AS received,
  s.LAST_ERROR_NUMBER AS receiver_error,
  s.QUEUEING_TRANSACTION <> '' AS queueing,
  TIMESTAMPDIFF(MICROSECOND,
    GREATEST(s.LAST_HEARTBEAT_TIMESTAMP, s.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP,
      s.QUEUEING_TRANSACTION_START_QUEUE_TIMESTAMP), NOW(6)) AS link_age_us,
  CASE
    WHEN s.QUEUEING_TRANSACTION <> '' THEN TIMESTAMPDIFF(MICROSECOND,
      s.QUEUEING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))
    WHEN s.LAST_HEARTBEAT_TIMESTAMP >= s.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP THEN 0
    ELSE TIMESTAMPDIFF(MICROSECOND, s.LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP,
      s.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP)
  END AS receive_delay_us,
  TIMESTAMPDIFF(MICROSECOND, s.LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))
    AS newest_us,
  a.SERVICE_STATE AS applier,
  (SELECT MAX(TIMESTAMPDIFF(MICROSECOND, APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6)))
    FROM performance_schema.replication_applier_status_by_worker
    WHERE CHANNEL_NAME = '' AND APPLYING_TRANSACTION <> '') AS applying_us,
  (SELECT MAX(LAST_ERROR_NUMBER) FROM performance_schema.replication_applier_status_by_worker
    WHERE CHANNEL_NAME = '') AS worker_error,
  (SELECT MAX(LAST_ERROR_NUMBER) FROM performance_schema.replication_applier_status_by_coordinator
    WHERE CHANNEL_NAME = '') AS coordinator_error,
  IF(@@GLOBAL.rpl_semi_sync_source_enabled,
    @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count, 0) AS required_acks,
  (SELECT VARIABLE_VALUE FROM performance_schema.global_status
    WHERE VARIABLE_NAME = 'Rpl_semi_sync_replica_status') = 'ON' AS acknowledges,
  @@GLOBAL.rpl_semi_sync_replica_enabled AS may_acknowledge,
  @@GLOBAL.sync_relay_log = 1 AS from_disk,
  @@GLOBAL.offline_mode AS offline,
  (SELECT VARIABLE_VALUE FROM performance_schema.global_status
    WHERE VARIABLE_NAME = 'Threads_connected') + 0 >= @@GLOBAL.max_connections AS crowded
FROM (SELECT '' AS CHANNEL_NAME) AS main
LEFT JOIN performance_schema.replication_connection_configuration AS c USING (CHANNEL_NAME)
LEFT JOIN performance_schema.replication_connection_status AS s USING (CHANNEL_NAME)
LEFT JOIN performance_schema.replication_applier_status AS a USING (CHANNEL_NAME)
"""

_CLONE = """
SELECT s.STATE = 'In Progress' AND s.ERROR_NO = 0 AS running, s.ERROR_NO AS error,
  s.ERROR_MESSAGE AS message, p.STAGE AS stage, p.STATE AS state,
  p.ESTIMATE AS estimate, p.DATA AS data, p.DATA_SPEED AS speed
FROM performance_schema.clone_status AS s JOIN performance_schema.clone_progress AS p USING (ID)
"""


_STUCK = """
SELECT COUNT(*) AS stuck FROM performance_schema.threads
WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_USER = %s AND PROCESSLIST_TIME >= %s
  AND PROCESSLIST_STATE IN ('Waiting for semi-sync ACK from replica', 'waiting for handler commit')
"""
_SOURCE = "Rpl_semi_sync_source_"
_WAITS = f"""
SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.global_status
WHERE VARIABLE_NAME IN ('{_SOURCE}wait_sessions', '{_SOURCE}net_waits', '{_SOURCE}yes_tx',
  '{_SOURCE}no_tx')
"""  # noqa: S608 - a constant
STUCK_SECONDS = 3
STUCK_SHARE = 0.5


def stuck_clients(session: Session, server: Row) -> int:
    """How many clients' commits have been waiting for a while on a server that has no connection
    left; 0 when these are not the reason. (Of those that commit together only the first waits
    for the acknowledgement itself.)"""
    if not server["crowded"] or not server["required_acks"]:
        return 0
    stuck = int(session.row(_STUCK, APPLICATION, STUCK_SECONDS)["stuck"])
    limit = int(session.row("SELECT @@GLOBAL.max_connections AS n")["n"])
    return stuck if stuck >= limit * STUCK_SHARE else 0


def waits(session: Session) -> tuple[int, tuple[str, ...]]:
    """How many clients wait for standbys, and what changes with each that is acknowledged."""
    told = {str(row["name"]): str(row["value"]) for row in session.rows(_WAITS)}
    names = ("net_waits", "yes_tx", "no_tx")
    return (
        int(told.get(_SOURCE + "wait_sessions", 0)),
        tuple(told.get(_SOURCE + name, "") for name in names),
    )


def told_term(session: Session) -> int | None:
    """What the data tell of the last promotion; None when they tell nothing."""
    try:
        [row] = session.rows(_TERM)
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in _NO_TABLE:
            return None
        raise
    return None if row["term"] is None else int(row["term"])


def note_term(session: Session, term: int) -> None:
    """Let the data tell of it."""
    if told_term(session) is None:
        session.run(
            f"CREATE DATABASE IF NOT EXISTS {MARKER_SCHEMA}",
            f"CREATE TABLE IF NOT EXISTS {MARKER_SCHEMA}.terms"
            " (id INT PRIMARY KEY, term BIGINT UNSIGNED NOT NULL)",
        )
    session.rows(_NOTE_TERM, term)


def server_row(session: Session) -> Row:
    """The server and its one replication channel."""
    return session.row(_SERVER)


def clone_rows(session: Session) -> list[Row]:
    """The stages, in order, of the last copy that was made *to* this server; empty when there
    was none. A copy that a crash cut off still says that it runs, with error 1317: seen."""
    return session.rows(_CLONE)
