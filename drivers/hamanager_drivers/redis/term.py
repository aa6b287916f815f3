"""What a Redis server's data tell of the last promotion.

A function library keeps it: it is replicated and persisted like data, no application sees it among
its keys, and FLUSHALL leaves it alone. Redis before 7.0 has none, and there nothing is kept.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

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


def info_and_term(client: redis.Redis) -> tuple[dict[str, Any], int | None]:
    """INFO, and the term: None when the data tell of none, or cannot be asked now. In one round
    trip, as it is asked again and again."""
    pipe = client.pipeline(transaction=False)
    pipe.info()
    pipe.function_list(library=LIBRARY, withcode=True)
    answer, listed = pipe.execute(raise_on_error=False)
    if isinstance(answer, Exception):
        raise answer
    loads = answer.get("loading") or answer.get("async_loading")
    found = None if loads else _TERM.search(str(listed))
    return answer, int(found[1]) if found else None
