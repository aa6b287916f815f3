"""The store contract on etcd: a key's version is the version of the whole store at its change.

    PREFIX/keys/KEY                    every key, with the mark of its last write
    PREFIX/history/SERVICE/TIME...     an entry; in the order of their times
    PREFIX/histories/SERVICE           there while the service has entries

Every read is linearizable, every write a transaction. Docs: `docs/store.md`.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from pydantic import ValidationError

from hamanager.contracts.store import Keep, Versioned
from hamanager.errors import StaleVersionError, StoreError
from hamanager.model.history import HistoryEntry
from hamanager.stores.etcd import wire
from hamanager.stores.etcd.address import EtcdAddress
from hamanager.stores.etcd.compaction import Compaction
from hamanager.stores.etcd.gateway import Answer, CompactedError, Gateway, UncertainError
from hamanager.stores.etcd.lineage import Lineage
from hamanager.stores.etcd.watch import Watch

PAGE = 500
"""Keys read at once."""
FIRST_WINDOW_SECONDS = 60.0
WIDER = 16
"""The newest entries are looked for in the last minute, then in what is before it back to 16
minutes, and so on: etcd reads all of a range whose end it is asked for."""
LONGEST_WALK = 20
"""So many changes are gone back over to find out what has become of a write."""


class EtcdStore:
    """Safe to use by many threads; holds a pool of connections, and a thread once somebody
    waits."""

    def __init__(self, address: EtcdAddress, seen: Path | None = None) -> None:
        """`seen` is where a manager keeps how far it has seen this store: so an older copy that was
        put in its place is found out.

        Raises:
            StoreError: it does not answer, or is such a copy.
        """
        self._address = address
        self._gateway = Gateway(address)
        self._keys = f"{address.prefix}/keys/"
        self._histories = f"{address.prefix}/histories/"
        self._question = {**wire.one_key(self._keys), "count_only": True}
        self._known: dict[str, wire.Kept] = {}
        """What was read or written last of each key."""
        self._writer = secrets.token_hex(4)
        self._entries = itertools.count(1)
        self._lineage = Lineage(address, seen)
        self._compaction = Compaction(self._gateway) if address.compacts else None
        self._watch = Watch(self._gateway, self._keys, self._question, self.version)
        try:
            self._lineage.begin(self._gateway)
        except BaseException:
            self.close()
            raise

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        found = wire.kept(self._call("kv/range", wire.one_key(self._keys + key)).json)
        if not found:
            self._known.pop(key, None)
            return None
        self._known[key] = found[0]
        return Versioned(found[0].value, found[0].version)

    def put(self, key: str, value: str, expected: int) -> int:
        """Set a key whose version still is `expected`."""
        mark = secrets.token_hex(8)
        raw = wire.marked(value, mark)
        answer = self._change(key, expected, [wire.to_put(self._keys + key, raw)])
        if answer.json.get("succeeded"):
            version = wire.revision(answer.json)
        else:
            version = self._what_became_of(key, expected, mark, answer)
        self._known[key] = wire.Kept(self._keys + key, raw, version, 0)
        return version

    def delete(self, key: str, expected: int) -> None:
        """Remove a key whose version still is `expected`."""
        answer = self._change(key, expected, [wire.to_delete(self._keys + key)] if expected else [])
        gone = wire.read_in(answer.json) is None
        # An earlier attempt whose answer did not come may have deleted it.
        deleted = answer.json.get("succeeded") or (answer.repeated and expected and gone)
        if not deleted:
            raise _stale(key)
        self._known.pop(key, None)

    def keys(self, prefix: str) -> Sequence[str]:
        """All keys that begin so, sorted."""
        first = self._keys + prefix
        found = self._pages(first, wire.end_of(first), keys_only=True)
        return [kept.key.removeprefix(self._keys) for kept in found]

    def changed(self, prefix: str, after: int) -> Mapping[str, Versioned]:
        """All keys that begin so and have been changed later than that version."""
        first = self._keys + prefix
        newer = {"min_mod_revision": after + 1} if after else {}
        found = {
            kept.key.removeprefix(self._keys): kept
            for kept in self._pages(first, wire.end_of(first), **newer)
        }
        self._known |= found
        return {key: Versioned(kept.value, kept.version) for key, kept in found.items()}

    def version(self) -> int:
        """The newest version of the whole store."""
        return wire.revision(self._call("kv/range", self._question).json)

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        """Wait until a key that begins so has been changed or deleted later than `after`."""
        return self._watch.wait(prefix, after, timeout_seconds)

    # --- The history ---------------------------------------------------------------------------

    def append(self, entry: HistoryEntry) -> None:
        """Add to the history. Done twice, when an answer does not come, it is there once."""
        number = next(self._entries)
        key = f"{self._entries_of(entry.service)}{_time(entry.at)}-{number:010d}-{self._writer}"
        add = wire.to_put(key, entry.model_dump_json())
        named = self._histories + quote(entry.service, safe="")
        self._call(
            "kv/txn",
            wire.transaction([wire.is_there(named)], [add], [add, wire.to_put(named, "")]),
        )

    def history(
        self, service: str, limit: int | None = None, since: float = 0.0
    ) -> Sequence[HistoryEntry]:
        """The newest `limit` entries of that service, oldest first; in the order of their times, as
        several managers write them."""
        prefix = self._entries_of(service)
        first, end = prefix + _time(since), wire.end_of(prefix)
        found = (
            list(self._pages(first, end)) if limit is None else self._newest(prefix, since, limit)
        )
        try:
            entries = [HistoryEntry.model_validate_json(kept.raw) for kept in found]
        except ValidationError as error:
            raise StoreError(
                f"the store {self._address} holds a history entry of '{service}' that is damaged"
            ) from error
        return [entry for entry in entries if entry.at >= since]

    def services_with_history(self) -> Sequence[str]:
        """The names that have entries, sorted."""
        found = self._pages(self._histories, wire.end_of(self._histories), keys_only=True)
        return sorted(unquote(kept.key.removeprefix(self._histories)) for kept in found)

    def prune(self, service: str, keep: Keep, batch: int) -> int:
        """Delete entries of that service that need not be kept, of its oldest ones."""
        prefix = self._entries_of(service)
        end = wire.end_of(prefix)
        counted = self._call("kv/range", wire.keys_from(prefix, end, count_only=True)).json
        if self._compaction is not None:
            self._compaction.compact_if_due(wire.revision(counted))
        count = wire.number(counted, "count")
        beyond, may_age = max(0, count - keep.newest), max(0, count - keep.always)
        looked_at = min(batch, max(beyond, may_age))
        deleted = 0
        if looked_at:
            oldest = self._range(prefix, end, looked_at, keys_only=True)
            aged = prefix + _time(keep.since)
            gone = [
                kept.key
                for number, kept in enumerate(oldest)
                if number < beyond or (number < may_age and kept.key < aged)
            ]
            if gone:
                body = wire.keys_from(prefix, gone[-1] + "\0")
                deleted = wire.number(self._call("kv/deleterange", body).json, "deleted")
        if deleted == count:
            named = wire.to_delete(self._histories + quote(service, safe=""))
            nothing_left = [wire.is_empty(prefix, end)]
            self._call("kv/txn", wire.transaction(nothing_left, [named], []))
        return deleted

    def close(self) -> None:
        """End the watch and all connections."""
        self._watch.close()
        self._lineage.close()
        self._gateway.close()

    def _entries_of(self, service: str) -> str:
        return f"{self._address.prefix}/history/{quote(service, safe='')}/"

    def _newest(self, prefix: str, since: float, limit: int) -> list[wire.Kept]:
        """Oldest first."""
        found: list[wire.Kept] = []
        end, now, back = wire.end_of(prefix), time.time(), FIRST_WINDOW_SECONDS
        while len(found) < limit:
            begin = max(since, now - back)
            first = prefix + _time(begin)
            found += self._range(
                first, end, limit - len(found), sort_order="DESCEND", sort_target="KEY"
            )
            if begin <= max(since, 0.0):
                break
            end, back = first, back * WIDER
        return found[::-1]

    # --- Reading and writing -------------------------------------------------------------------

    def _call(self, path: str, body: wire.Json) -> Answer:
        """What etcd says, when it has not gone back."""
        before = self._lineage.check()
        answer = self._gateway.call(path, body)
        self._lineage.saw(wire.revision(answer.json), before)
        return answer

    def _range(self, first: str, end: str, limit: int, **options: object) -> list[wire.Kept]:
        body = wire.keys_from(first, end, limit=limit, **options)
        return wire.kept(self._call("kv/range", body).json)

    def _pages(self, first: str, end: str, **options: object) -> Iterator[wire.Kept]:
        """All of a range, as it is when the first page is read."""
        at: dict[str, object] = {}
        while True:
            body = wire.keys_from(first, end, limit=PAGE, **options, **at)
            answer = self._call("kv/range", body).json
            found = wire.kept(answer)
            yield from found
            if len(found) < PAGE:
                return
            first = found[-1].key + "\0"
            at = at or {"revision": wire.revision(answer)}

    def _change(self, key: str, expected: int, what: Sequence[wire.Json]) -> Answer:
        """Do it to a key that was changed last at `expected`; the answer holds the key when it is
        another."""
        whole = self._keys + key
        compare = [wire.is_at(whole, expected)]
        known = self._known.get(key)
        if known is not None and expected and known.version == expected:
            # An older copy of the store that was put in its place comes to the same versions
            # again, never to the same mark.
            compare.append(wire.is_valued(whole, known.raw))
        try:
            return self._call("kv/txn", wire.transaction(compare, what, [wire.to_read(whole)]))
        except UncertainError as error:
            raise UncertainError(f"{error}; whether '{key}' was changed is not known") from error

    def _what_became_of(self, key: str, expected: int, mark: str, answer: Answer) -> int:
        """The version that the write of that mark got: it was refused, which is also said of one
        that was carried out by an earlier attempt whose answer did not come.

        Raises:
            StaleVersionError: it was not carried out.
            UncertainError: nobody can tell.
        """
        now = wire.read_in(answer.json)
        unknown = UncertainError(
            f"whether '{key}' was written is not known: the store {self._address} did not answer"
            " in time, and it was changed again since"
        )
        for _ in range(LONGEST_WALK):
            if now is not None and now.mark == mark:
                return now.version
            if not answer.repeated:
                break
            if now is None:
                raise unknown  # it was deleted, perhaps after it was written
            if now.version <= expected:
                break
            try:
                before = wire.kept(
                    self._call("kv/range", wire.one_key(self._keys + key, now.version - 1)).json
                )
            except CompactedError:
                raise unknown from None
            if not before and expected:
                raise unknown
            if (before[0].version if before else 0) <= expected:
                break  # the next change after that version is somebody else's
            now = before[0]
        else:
            raise unknown
        raise _stale(key)


def _stale(key: str) -> StaleVersionError:
    return StaleVersionError(f"'{key}' was changed by somebody else: nothing was written")


def _time(at: float) -> str:
    """Sorts as the numbers do."""
    return f"{int(max(0.0, at) * 1_000_000):017d}"
