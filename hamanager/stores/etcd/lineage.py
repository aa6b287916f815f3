"""An older copy that was put in the store's place is found out.

etcd is restored from a snapshot as it was then: the versions go back and come again, and what a
manager had written since is gone, also that a standby left the sync set. So each manager keeps how
far it has seen the store, and does nothing more with one that is not so far, until a person has
said that this copy is the store from now on.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from pathlib import Path

from hamanager.errors import StoreError
from hamanager.stores.etcd import wire
from hamanager.stores.etcd.address import EtcdAddress
from hamanager.stores.etcd.gateway import Gateway

log = logging.getLogger(__name__)

NOTED_EVERY_SECONDS = 1.0


class Lineage:
    """The store has an id, which a copy of it has too until it is accepted as the store."""

    def __init__(self, address: EtcdAddress, seen: Path | None) -> None:
        self._address, self._path = address, seen
        self._id = ""
        self._newest = 0
        self._lock = threading.Lock()
        self._noted_at = -NOTED_EVERY_SECONDS
        self._problem = ""

    def begin(self, gateway: Gateway) -> None:
        """Compare the store with what was seen of it before.

        Raises:
            StoreError: it is an older copy, or does not answer.
        """
        key = lineage_key(self._address)
        create = wire.to_put(key, secrets.token_hex(8))
        body = wire.transaction([wire.is_there(key)], [], [create])
        gateway.call("kv/txn", body)
        answer = gateway.call("kv/range", wire.one_key(key)).json
        found = wire.kept(answer)
        self._id = found[0].raw if found else ""
        before = self._noted()
        self.saw(wire.revision(answer), before)

    def check(self) -> int:
        """How far the store was seen until now; what is answered from now on is not older.

        Raises:
            StoreError: it has gone back.
        """
        if self._problem:
            raise StoreError(self._problem, permanent=True)
        return self._newest

    def saw(self, revision: int, before: int) -> None:
        """Told of the store's version in an answer, and of what `check` said before the question.

        Raises:
            StoreError: it has gone back.
        """
        if revision < before:
            self._problem = (
                f"the store {self._address} has gone back from its version {before} to {revision}:"
                " an older copy was put in its place, and nothing is done with it before a person"
                " has said `hamanager store accept` with all managers stopped"
            )
            log.error("%s", self._problem)
            with self._lock:
                self._newest = max(self._newest, before)
                if self._path is not None:
                    self._note(self._path)
            raise StoreError(self._problem, permanent=True)
        with self._lock:
            self._newest = max(self._newest, revision)
            now = time.monotonic()
            if self._path is None or now - self._noted_at < NOTED_EVERY_SECONDS:
                return
            self._noted_at = now
            self._note(self._path)

    def close(self) -> None:
        """Keep how far the store was seen."""
        with self._lock:
            if self._path is not None and self._id:
                self._note(self._path)

    def _note(self, path: Path) -> None:
        draft = path.with_suffix(".draft")
        try:
            draft.write_text(json.dumps({"lineage": self._id, "version": self._newest}))
            draft.replace(path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)

    def _noted(self) -> int:
        """How far this store was seen before; 0 when it was not."""
        if self._path is None:
            return 0
        try:
            noted = json.loads(self._path.read_text())
            return int(noted["version"]) if noted["lineage"] == self._id else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is damaged and begun anew", self._path)
            return 0


def lineage_key(address: EtcdAddress) -> str:
    """Where the store's id lies."""
    return f"{address.prefix}/lineage"


def accept(address: EtcdAddress) -> None:
    """Give the store a new id: so no manager compares it with what it has seen of another one.

    Raises:
        StoreError: it does not answer.
    """
    gateway = Gateway(address)
    try:
        put = wire.to_put(lineage_key(address), secrets.token_hex(8))
        gateway.call("kv/txn", wire.transaction([], [put], []))
    finally:
        gateway.close()
