"""The manager's own write, in its own schema."""

from __future__ import annotations

import contextlib

import pymysql

from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql.config import MARKER_SCHEMA
from hamanager_drivers.mysql.connections import as_manager, told_apart

_TABLE = f"{MARKER_SCHEMA}.canary"
_MAKE = (
    f"CREATE DATABASE IF NOT EXISTS {MARKER_SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {_TABLE} (id INT PRIMARY KEY, number BIGINT UNSIGNED NOT NULL)",
)
_READ = f"SELECT number FROM {_TABLE} WHERE id = 1"  # noqa: S608 - a constant
_WRITE = f"REPLACE INTO {_TABLE} VALUES (1, %s)"  # noqa: S608
_MISSING = (1049, 1146)
"""No such database, no such table."""


class MySQLCanary:
    """By a session of its own, which waits for standbys like an application's."""

    def beat(
        self, service: ServiceContext, target: Target, number: int, timeout_seconds: float
    ) -> int | None:
        """One row, replaced."""
        with told_apart(target, service):
            connection = as_manager(service, target, timeout_seconds)
            with contextlib.closing(connection), connection.cursor() as cursor:
                try:
                    cursor.execute(_READ)
                except pymysql.MySQLError as error:
                    if not error.args or error.args[0] not in _MISSING:
                        raise
                    for statement in _MAKE:
                        cursor.execute(statement)
                    cursor.execute(_READ)
                row = cursor.fetchone()
                cursor.execute(_WRITE, (number,))
        return int(row[0]) if row else None
