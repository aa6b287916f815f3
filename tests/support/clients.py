"""Plain clients in a reconnect loop, as applications write them: an engine's own library, the
address that `hamanager url` prints, and nothing of hamanager."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import pymongo
import pymysql
import redis

CONNECT_SECONDS = 12.0
"""Longer than a connection may wait at the address for a primary."""
ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.01
FAILURES = (OSError, pymysql.MySQLError, redis.RedisError, pymongo.errors.PyMongoError)


class PlainClient(Protocol):
    """One connection of an application."""

    def write(self, number: int) -> None: ...
    def numbers(self) -> set[int]: ...
    def close(self) -> None: ...


class PlainMySQL:
    """pymysql with autocommit."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection: Any = pymysql.connect(
            host=parts.hostname or "",
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.lstrip("/"),
            autocommit=True,
            connect_timeout=int(CONNECT_SECONDS),
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
        )

    def query(self, statement: str) -> Any:
        """The rows of any statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def prepare(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS plain (number BIGINT PRIMARY KEY)")

    def write(self, number: int) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("INSERT INTO plain VALUES (%s)", (number,))

    def numbers(self) -> set[int]:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT number FROM plain")
            return {number for (number,) in cursor.fetchall()}

    def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            self._connection.close()


class PlainRedis:
    """redis-py, which by itself tries nothing again here."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=None,
            protocol=2,
        )
        try:
            self._client.ping()
        except redis.RedisError:
            self._client.close()
            raise

    def prepare(self) -> None:
        pass

    def write(self, number: int) -> None:
        self._client.sadd("plain", number)

    def numbers(self) -> set[int]:
        return {int(member) for member in self._client.smembers("plain")}

    def close(self) -> None:
        self._client.close()


class PlainMongoDB:
    """pymongo, which finds the primary by itself and retries a write once."""

    def __init__(self, url: str) -> None:
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            url, serverSelectionTimeoutMS=int(CONNECT_SECONDS * 1000)
        )
        self._rows = self._client.get_default_database()["plain"]

    def prepare(self) -> None:
        pass

    def write(self, number: int) -> None:
        self._rows.insert_one({"_id": number})

    def numbers(self) -> set[int]:
        return {row["_id"] for row in self._rows.find()}

    def close(self) -> None:
        self._client.close()


PLAIN: dict[str, Any] = {"mysql": PlainMySQL, "redis": PlainRedis, "mongodb": PlainMongoDB}


@dataclass(frozen=True)
class Accepted:
    """A write that was acknowledged."""

    number: int
    at: float
    """Monotonic seconds."""


class PlainWriter(threading.Thread):
    """Writes numbers, one after the other, and connects again whenever something fails."""

    def __init__(self, engine: str, url: str) -> None:
        super().__init__(name=f"plain-{engine}", daemon=True)
        self._engine, self._url = engine, url
        self._stopping = threading.Event()
        self._written_before = 0
        self.accepted: list[Accepted] = []
        self.cut = 0
        """Connections that ended while they were in use."""
        self.turned_away: list[str] = []
        """Attempts to connect that failed."""

    def begin_after(self, number: int) -> None:
        """Use higher numbers only."""
        self._written_before = number

    def run(self) -> None:
        number = self._written_before
        while not self._stopping.is_set():
            try:
                client = PLAIN[self._engine](self._url)
            except FAILURES as error:
                self.turned_away.append(f"{type(error).__name__}: {error}")
                time.sleep(PAUSE_SECONDS)
                continue
            try:
                client.prepare()
                while not self._stopping.is_set():
                    number += 1
                    client.write(number)
                    self.accepted.append(Accepted(number, time.monotonic()))
            except FAILURES:
                self.cut += 1
            finally:
                client.close()
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stopping.set()
        self.join(timeout=2 * CONNECT_SECONDS)
        assert not self.is_alive()

    def gap_seconds(self, since: float) -> float:
        """The longest time between two accepted writes after that (monotonic) moment, the last
        one before it included."""
        times = [write.at for write in self.accepted]
        first = next((i for i, at in enumerate(times) if at >= since), len(times))
        relevant = times[max(0, first - 1) :]
        return max((b - a for a, b in itertools.pairwise(relevant)), default=float("inf"))

    def lost(self) -> int:
        """How many accepted writes the service does not hold now."""
        client = PLAIN[self._engine](self._url)
        try:
            held = client.numbers()
        finally:
            client.close()
        return sum(write.number not in held for write in self.accepted)


def answers(engine: str, url: str) -> bool:
    """Whether a client is let in there."""
    try:
        PLAIN[engine](url).close()
    except FAILURES:
        return False
    return True
