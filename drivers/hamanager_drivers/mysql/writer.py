"""An application's view of a MySQL server: numbered rows in a table of their own."""

from __future__ import annotations

from typing import Any

import pymysql

from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql.config import database
from hamanager_drivers.mysql.connections import as_application, hang_up, told_apart

ROWS, BALLAST = "hamanager_workload", "hamanager_ballast"
KIB = 1024
BLOCK_BYTES = 64 * KIB
BATCH_BYTES = 4 * KIB * KIB
FILL_SECONDS = 30.0

# RANDOM_BYTES gives at most 1 KiB a call; numbers and ballast have tables of their own, so that
# reading all numbers stays cheap.
_BLOCK = f"CONCAT({', '.join(['RANDOM_BYTES(1024)'] * (BLOCK_BYTES // KIB))})"
_FILL = f"""
INSERT INTO {BALLAST} (data)
WITH RECURSIVE blocks (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM blocks WHERE n < %s)
SELECT {_BLOCK} FROM blocks
"""  # noqa: S608 (nothing in it comes from outside)


class MySQLWriter:
    """Writes with the application's account."""

    def __init__(self, service: ServiceContext, target: Target, timeout_seconds: float) -> None:
        self._service = service
        self._target = target
        self._connection = self._connect(timeout_seconds)

    def prepare(self) -> None:
        """Make its two tables."""
        self._run(
            self._connection,
            f"CREATE TABLE IF NOT EXISTS {ROWS} (number BIGINT PRIMARY KEY)",
        )
        self._run(
            self._connection,
            f"CREATE TABLE IF NOT EXISTS {BALLAST}"
            " (id BIGINT AUTO_INCREMENT PRIMARY KEY, data MEDIUMBLOB NOT NULL)",
        )

    def write(self, number: int) -> None:
        """One row in a transaction of its own."""
        self._run(self._connection, f"INSERT INTO {ROWS} VALUES (%s)", number)  # noqa: S608

    def numbers(self) -> set[int]:
        """All rows."""
        rows = self._run(self._connection, f"SELECT number FROM {ROWS}")  # noqa: S608
        return {int(number) for (number,) in rows}

    def fill(self, total_bytes: int) -> None:
        """Random blocks made by the server itself, a few MB in each transaction."""
        connection = self._connect(FILL_SECONDS)
        try:
            for begin in range(0, total_bytes, BATCH_BYTES):
                size = min(BATCH_BYTES, total_bytes - begin)
                self._run(connection, _FILL, max(1, size // BLOCK_BYTES))
        finally:
            hang_up(connection)

    def close(self) -> None:
        """Close the connection."""
        hang_up(self._connection)

    def _connect(self, timeout_seconds: float) -> pymysql.Connection[Any]:
        with told_apart(self._target, self._service):
            connection = as_application(self._service, self._target, timeout_seconds)
            connection.select_db(database(self._service))
            return connection

    def _run(
        self, connection: pymysql.Connection[Any], statement: str, *arguments: object
    ) -> tuple[tuple[Any, ...], ...]:
        with told_apart(self._target, self._service), connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return tuple(cursor.fetchall())


class MySQLWorkload:
    """Clients with the application's account."""

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> MySQLWriter:
        """A client of this one server."""
        return MySQLWriter(service, target, timeout_seconds)
