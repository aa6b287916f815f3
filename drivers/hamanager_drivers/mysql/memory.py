"""What a running server makes of its memory: the buffer pool (MySQL Reference Manual, "Configuring
InnoDB Buffer Pool Size Online") and how many clients may be connected."""

from __future__ import annotations

from hamanager_drivers.mysql.connections import Session

_STATUS = "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status"


def filled_pool_bytes(session: Session) -> int:
    """Data in the buffer pool, dirty or not."""
    row = session.row(f"{_STATUS} WHERE VARIABLE_NAME = 'Innodb_buffer_pool_bytes_data'")
    return int(row["value"])


def resize_pool(session: Session, wanted_bytes: int) -> None:
    """Change its size; the server does so in the background."""
    if int(session.row("SELECT @@GLOBAL.innodb_buffer_pool_size AS size")["size"]) != wanted_bytes:
        session.run(f"SET GLOBAL innodb_buffer_pool_size = {wanted_bytes}")


def limit_connections(session: Session, wanted: int) -> None:
    """From now on as many clients may connect; nobody who is connected is ended."""
    session.rows("SET GLOBAL max_connections = %s", wanted)
