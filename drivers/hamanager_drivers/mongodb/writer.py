"""An application's view of a MongoDB server: numbered rows as documents of a collection."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pymongo
from pymongo.errors import CollectionInvalid, OperationFailure

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb.config import database
from hamanager_drivers.mongodb.connections import (
    await_server,
    close,
    connect,
    knock,
    told_apart,
)
from hamanager_drivers.naming import APPLICATION

ROWS, BALLAST = "hamanager_workload", "hamanager_ballast"
BLOCK_BYTES = 256 * 1024
BLOCKS_PER_BATCH = 16
BATCH_SECONDS = 30.0
NAMESPACE_EXISTS = 48


class MongoDBWriter:
    """Writes as the application's user to this one server; a write is acknowledged when a
    majority of the set has it on disk."""

    def __init__(self, service: ServiceContext, target: Target, timeout_seconds: float) -> None:
        self._target, self._timeout_seconds = target, timeout_seconds
        with told_apart(target):
            knock(service, target, timeout_seconds).close()
            password, name = service.secrets["password"], database(service)
            self._client = connect(service, target, APPLICATION, password, name, timeout_seconds)
        try:
            with told_apart(target):
                await_server(self._client)
            with self._asking():
                self._client.admin.command("ping")
        except ServerError:
            self.close()
            raise
        self._database = self._client[name]
        self._rows = self._database[ROWS]

    def prepare(self) -> None:
        """Create the collection."""
        with self._asking():
            try:
                self._database.create_collection(ROWS, check_exists=False)
            except CollectionInvalid:
                return
            except OperationFailure as error:
                if error.code != NAMESPACE_EXISTS:
                    raise

    def write(self, number: int) -> None:
        """Insert the document unless it is there: a retried number is acknowledged only when
        the first try has reached a majority, too."""
        with self._asking():
            self._rows.update_one({"_id": number}, {"$setOnInsert": {"_id": number}}, upsert=True)

    def numbers(self) -> set[int]:
        """All numbers that this server holds."""
        with self._asking():
            return {int(row["_id"]) for row in self._rows.find({}, {"_id": 1})}

    def fill(self, total_bytes: int) -> None:
        """Random blocks in a collection of their own."""
        batch_bytes = BLOCK_BYTES * BLOCKS_PER_BATCH
        for begin in range(0, total_bytes, batch_bytes):
            sizes = _split(min(batch_bytes, total_bytes - begin))
            with self._asking(BATCH_SECONDS):
                self._database[BALLAST].insert_many([{"block": os.urandom(size)} for size in sizes])

    def close(self) -> None:
        """Close the connection."""
        close(self._client)

    @contextlib.contextmanager
    def _asking(self, timeout_seconds: float | None = None) -> Iterator[None]:
        with told_apart(self._target), pymongo.timeout(timeout_seconds or self._timeout_seconds):
            yield


def _split(total_bytes: int) -> list[int]:
    return [min(BLOCK_BYTES, total_bytes - at) for at in range(0, total_bytes, BLOCK_BYTES)]


class MongoDBWorkload:
    """Clients with the application's account."""

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> MongoDBWriter:
        """A client of this one server."""
        return MongoDBWriter(service, target, timeout_seconds)
