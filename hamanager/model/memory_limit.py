"""Memory limits: what is larger, and what would fit. Pure."""

from __future__ import annotations

from hamanager.formats import size


def grows_to(present_bytes: int | None, wanted_bytes: int | None) -> bool:
    """Whether the wanted limit is larger; None is no limit."""
    if present_bytes is None:
        return False
    return wanted_bytes is None or wanted_bytes > present_bytes


def misfit(
    limit_bytes: int,
    used_bytes: int | None,
    cache_bytes: int | None,
    cache_limit_bytes: int | None,
    *,
    data_in_memory: bool,
) -> str:
    """Why a running server would not fit under that limit; '' when it would, or nobody knows.

    `cache_limit_bytes` is how much data it would keep in memory under it. Data that lie in memory
    alone cannot be given back; a cache can, and what else the process uses cannot.
    """
    if data_in_memory:
        room = limit_bytes if cache_limit_bytes is None else cache_limit_bytes
        if cache_bytes is not None and cache_bytes > room:
            return (
                f"it holds {size(cache_bytes)} of data, and {size(limit_bytes)} of memory leave"
                f" room for {size(room)}"
            )
        if used_bytes is not None and used_bytes > limit_bytes:
            return f"it uses {size(used_bytes)}"
        return ""
    if used_bytes is None or cache_bytes is None:
        return ""
    left = min(cache_bytes, limit_bytes if cache_limit_bytes is None else cache_limit_bytes)
    needed = max(0, used_bytes - cache_bytes) + left
    if needed <= limit_bytes:
        return ""
    return (
        f"it uses {size(used_bytes)}, of which {size(cache_bytes)} are a cache that can shrink to"
        f" {size(left)}"
    )
