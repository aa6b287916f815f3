"""Whom a primary admits as a standby, where it may be out of the manager's sight.

A standby on another machine that the manager cannot reach may still reach its primary, and go on
acknowledging writes. There is no list of who may acknowledge: so each such standby has a login of
its own, which the primary can lock. Logins are each primary's own affair: nothing of this is in the
binary log, so no standby's acknowledgement is waited for, and the next primary admits whom it is
told to.
"""

from __future__ import annotations

import time

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql.config import REPLICATOR
from hamanager_drivers.mysql.connections import Session

END_SECONDS = 3.0
POLL_SECONDS = 0.01

_LINKS = """
SELECT PROCESSLIST_ID AS id FROM performance_schema.threads
WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_USER = %s
"""


def login(target: Target) -> str:
    """The account by which that standby comes in."""
    return login_of(target.serial) if target.placed_on else REPLICATOR


def login_of(serial: int) -> str:
    """The same, of one that is perhaps no more on record."""
    return f"{REPLICATOR}_{serial}"


def admit(session: Session, service: ServiceContext, target: Target) -> None:
    """Let it in (again)."""
    if not target.placed_on:
        return
    name, password = login(target), service.secrets["replication_password"]
    session.run("SET SESSION sql_log_bin = 0")
    try:
        session.rows("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", name, password)
        session.rows("GRANT REPLICATION SLAVE, SERVICE_CONNECTION_ADMIN ON *.* TO %s@'%%'", name)
        session.rows("ALTER USER %s@'%%' ACCOUNT UNLOCK", name)
    finally:
        session.run("SET SESSION sql_log_bin = 1")


def shut_out(session: Session, serial: int) -> None:
    """Lock it out, and end its link.

    Raises:
        ServerError: its link did not end in time.
    """
    name = login_of(serial)
    session.run("SET SESSION sql_log_bin = 0")
    try:
        session.rows("CREATE USER IF NOT EXISTS %s@'%%' ACCOUNT LOCK", name)
        session.rows("ALTER USER %s@'%%' ACCOUNT LOCK", name)
    finally:
        session.run("SET SESSION sql_log_bin = 1")
    deadline = time.monotonic() + END_SECONDS
    while links := session.rows(_LINKS, name):
        for link in links:
            session.kill(int(link["id"]))
        if time.monotonic() > deadline:
            raise ServerError("the link of a standby that was shut out did not end in time")
        time.sleep(POLL_SECONDS)
