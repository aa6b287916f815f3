"""What a Redis server's data tell of the last promotion.

A function library keeps it: it is replicated and persisted like data, no application sees it among
its keys, and FLUSHALL leaves it alone. Redis before 7.0 has none, and there nothing is kept.
"""

from __future__ import annotations

import contextlib
import re

import redis

LIBRARY = "hamanager_term"
_CODE = f"""#!lua name={LIBRARY}
redis.register_function('{LIBRARY}', function() return TERM end)
"""
_TERM = re.compile(r"return (\d+) end")


def note_term(client: redis.Redis, term: int | None) -> None:
    """Let the data of a primary tell of it, if they can: a promotion does not depend on it, and in
    strict mode a primary without a standby refuses this write too."""
    if term is not None:
        with contextlib.suppress(redis.RedisError):
            client.function_load(_CODE.replace("TERM", str(term)), replace=True)


def told_term(client: redis.Redis) -> int | None:
    """The term, or None when the data tell of none, or cannot be asked now."""
    try:
        listed = client.function_list(library=LIBRARY, withcode=True)
    except redis.ResponseError:
        return None
    found = _TERM.search(str(listed))
    return int(found[1]) if found else None
