"""How keys and values look to etcd's JSON gateway. Pure.

Everything binary is base64, every number of 64 bits is text, and what is zero is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_MARKED = re.compile(r"#([0-9a-f]{16})\n")


@dataclass(frozen=True)
class Kept:
    """A key as etcd has it."""

    key: str
    raw: str
    """The value with the mark of its write."""
    version: int
    """The store's version at its last change."""
    created: int

    @property
    def value(self) -> str:
        """Without the mark. A value that a person has put there has none."""
        found = _MARKED.match(self.raw)
        return self.raw[found.end() :] if found else self.raw

    @property
    def mark(self) -> str:
        """Which write it was."""
        found = _MARKED.match(self.raw)
        return found[1] if found else ""


def marked(value: str, mark: str) -> str:
    """A value with the mark of its write: one's own write is known by it, and a value is never
    taken for another one that had its version before an older copy of the store was restored."""
    return f"#{mark}\n{value}"


def b64(text: str) -> str:
    """As the gateway wants it."""
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def text_of(encoded: str) -> str:
    """The reverse."""
    return base64.b64decode(encoded).decode("utf-8", "surrogateescape")


def end_of(prefix: str) -> str:
    """The first key after all that begin so. Ends with a character below 127."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def number(answer: Json, *names: str) -> int:
    """A number somewhere in an answer; what is left out is 0."""
    found: Any = answer
    for name in names:
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return int(found) if isinstance(found, str | int) else 0


def revision(answer: Json) -> int:
    """The store's version when the answer was made."""
    return number(answer, "header", "revision")


def kept(answer: Json) -> list[Kept]:
    """The keys in the answer to a range."""
    return [
        Kept(
            text_of(kv.get("key", "")),
            text_of(kv.get("value", "")),
            number(kv, "mod_revision"),
            number(kv, "create_revision"),
        )
        for kv in answer.get("kvs", ())
    ]


def one_key(key: str, at_revision: int = 0) -> Json:
    """A range of one key, now or at that version of the store."""
    return {"key": b64(key), **({"revision": at_revision} if at_revision else {})}


def keys_from(first: str, end: str, **options: Any) -> Json:
    """A range from that key on to the one before `end`."""
    return {"key": b64(first), "range_end": b64(end), **options}


def is_at(key: str, version: int) -> Json:
    """The condition that the key was changed last at that version; 0: that it is not there."""
    return {"key": b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": version}


def is_valued(key: str, raw: str) -> Json:
    """The condition that the key has that value."""
    return {"key": b64(key), "target": "VALUE", "result": "EQUAL", "value": b64(raw)}


def is_there(key: str) -> Json:
    """The condition that the key exists."""
    return {"key": b64(key), "target": "CREATE", "result": "GREATER", "create_revision": 0}


def is_empty(first: str, end: str) -> Json:
    """The condition that no key is in that range."""
    return {
        "key": b64(first),
        "range_end": b64(end),
        "target": "CREATE",
        "result": "EQUAL",
        "create_revision": 0,
    }


def to_put(key: str, raw: str) -> Json:
    """An operation of a transaction."""
    return {"request_put": {"key": b64(key), "value": b64(raw)}}


def to_delete(key: str) -> Json:
    """Likewise."""
    return {"request_delete_range": {"key": b64(key)}}


def to_read(key: str) -> Json:
    """Likewise."""
    return {"request_range": one_key(key)}


def transaction(compare: Sequence[Json], success: Sequence[Json], failure: Sequence[Json]) -> Json:
    """What is done when all conditions hold, and when they do not."""
    return {"compare": compare, "success": success, "failure": failure}


def read_in(answer: Json) -> Kept | None:
    """The one key that a transaction has read."""
    for response in answer.get("responses", ()):
        found = kept(response.get("response_range", {}))
        if found:
            return found[0]
    return None
