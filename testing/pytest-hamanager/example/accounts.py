"""Two clients that move money between two accounts. One loses it when the database fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

ANSWER_SECONDS = 5
GIVE_UP_SECONDS = 30


def connect(url: str) -> pymysql.Connection[Any]:
    """One connection that waits for no answer for ever."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        connect_timeout=ANSWER_SECONDS,
        read_timeout=ANSWER_SECONDS,
        write_timeout=ANSWER_SECONDS,
    )


def set_up(url: str) -> None:
    """Two accounts with 100 each, and a table of transfers by their number."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE account (name VARCHAR(20) PRIMARY KEY, amount INT NOT NULL)")
        cursor.execute("CREATE TABLE transfer (id CHAR(36) PRIMARY KEY)")
        cursor.execute("INSERT INTO account VALUES ('ada', 100), ('bob', 100)")
        connection.commit()


def amounts(url: str) -> dict[str, int]:
    """What each has."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, amount FROM account")
        return dict(cursor.fetchall())


def transfer(url: str, amount: int, between: Callable[[], None] = lambda: None) -> None:
    """Right: the whole transaction again, on a new connection, and under a number that the database
    takes once. `between`: called in the middle of it."""
    _transfer(url, amount, str(uuid.uuid4()), between)


@retry(
    retry=retry_if_exception_type(pymysql.err.MySQLError),
    stop=stop_after_delay(GIVE_UP_SECONDS),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    reraise=True,
)
def _transfer(url: str, amount: int, number: str, between: Callable[[], None]) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        connection.begin()
        if not cursor.execute("INSERT IGNORE INTO transfer VALUES (%s)", (number,)):
            return  # it went through, and only its answer was lost
        cursor.execute("UPDATE account SET amount = amount - %s WHERE name = 'ada'", (amount,))
        between()
        cursor.execute("UPDATE account SET amount = amount + %s WHERE name = 'bob'", (amount,))
        connection.commit()


def naive_transfer(url: str, amount: int, between: Callable[[], None] = lambda: None) -> None:
    """Wrong: it connects again and goes on with the statement that failed. What it had done before
    in that transaction is gone."""
    connection = connect(url)
    connection.begin()
    connection.cursor().execute(
        "UPDATE account SET amount = amount - %s WHERE name = 'ada'", (amount,)
    )
    between()
    statement = "UPDATE account SET amount = amount + %s WHERE name = 'bob'"
    try:
        connection.cursor().execute(statement, (amount,))
    except pymysql.err.MySQLError:
        connection = connect(url)
        connection.cursor().execute(statement, (amount,))
    connection.commit()
    connection.close()
