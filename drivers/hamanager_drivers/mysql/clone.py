"""The first full copy, by MySQL's clone plugin.

MySQL Reference Manual, "Cloning Remote Data". The recipient drops what it has, copies, and ends
its process where nothing restarts it (error 3707); the next start completes the copy. All seen
on 9.7: a recipient without user data is cloned with `super_read_only` on; the server rewrites
the statement's password before it shows it anywhere; a client that goes away does not end it.
"""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context

import pymysql

from hamanager.errors import ServerError, StaleVersionError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql.config import REPLICATOR
from hamanager_drivers.mysql.connections import (
    CONNECT_SECONDS,
    Session,
    as_manager,
    hang_up,
    in_words,
    told_apart,
)

logger = logging.getLogger(__name__)

RESTART_EXPECTED = 3707
LOST = {2006, 2013}
READ_ONLY = 1290
ALREADY_RUNNING = 3634


class Clones:
    """The copies that this process has begun; each runs in a thread of its own."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, service: ServiceContext, target: Target, donor: Target) -> None:
        """Begin to copy everything from the donor, unless this process does it already."""
        with self._lock:
            if target.address in self._running:
                return
            self._running.add(target.address)
        threading.Thread(
            target=copy_context().run,
            args=(self._run, service, target, donor),
            name=f"clone-{target.name}",
            daemon=True,
        ).start()

    def runs(self, target: Target) -> bool:
        """Whether this process copies to that server now."""
        with self._lock:
            return target.address in self._running

    def _run(self, service: ServiceContext, target: Target, donor: Target) -> None:
        try:
            clone(service, target, donor)
        except (ServerError, StaleVersionError) as error:
            # The loop sees an empty server and begins anew; the server keeps the reason too.
            logger.warning("the copy from %s ended: %s", donor.name, error)
        finally:
            with self._lock:
                self._running.discard(target.address)


def clone(service: ServiceContext, target: Target, donor: Target) -> None:
    """Copy everything; returns when the target has ended its process to complete it."""
    with told_apart(target, service):
        connection = as_manager(service, target, CONNECT_SECONDS)
        # How long a copy takes depends on the data alone: the end of the process, or of the
        # machine (TCP keep-alive), ends the wait.
        connection._read_timeout = None  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            _clone(Session(connection), service, target, donor)
        finally:
            hang_up(connection)


def _clone(session: Session, service: ServiceContext, target: Target, donor: Target) -> None:
    session.rows("SET GLOBAL clone_valid_donor_list = %s", donor.replication_address)
    error = _attempt(session, service, donor)
    if _number(error) == READ_ONLY:
        # It has something to drop. Clients stay out: `read_only` stays on, and their accounts
        # have no right to write nevertheless.
        session.run("SET GLOBAL super_read_only = OFF")
        error = _attempt(session, service, donor)
        if _number(error) not in {RESTART_EXPECTED, *LOST}:
            session.run("SET GLOBAL super_read_only = ON")
    if error is not None and _number(error) not in {RESTART_EXPECTED, ALREADY_RUNNING, *LOST}:
        raise in_words(target, service, error) from error


def _attempt(session: Session, service: ServiceContext, donor: Target) -> pymysql.MySQLError | None:
    encrypted = "" if service.encryption is None else " REQUIRE SSL"
    try:
        session.rows(
            f"CLONE INSTANCE FROM '{REPLICATOR}'@%s:{donor.replication_port} IDENTIFIED BY %s"
            + encrypted,
            donor.host,
            service.secrets["replication_password"],
        )
    except pymysql.MySQLError as error:
        return error
    return None


def _number(error: pymysql.MySQLError | None) -> int:
    return int(error.args[0]) if error is not None and error.args else 0
