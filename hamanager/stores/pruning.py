"""The history is kept for long, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hamanager.contracts.store import Keep, Store

KEPT_ENTRIES = 100_000
"""Of each service: a playbook that fails all day long leaves more."""
KEPT_SECONDS = 400 * 86400.0
"""A year, and what is compared with it."""
ALWAYS_KEPT = 1_000
"""Of each service that there is: a quiet one keeps its last failover, however old."""
BATCH = 200
"""Entries deleted at once: some milliseconds, for which a failover may have to wait."""
BATCHES = 100
"""Of each service in one go, which is more than can be written in the meantime."""
BREATH_SECONDS = 0.02
"""Between two batches, so that others get at the store."""
PRUNING_SECONDS = 60.0


def prune(store: Store, now: float, names: Collection[str], pause: Callable[[float], bool]) -> int:
    """Delete what need not be kept, of services that are no more too; how many entries it was.
    `pause` waits for so many seconds, and tells whether to end."""
    deleted = 0
    for name in store.services_with_history():
        keep = Keep(KEPT_ENTRIES, now - KEPT_SECONDS, ALWAYS_KEPT if name in names else 0)
        for _ in range(BATCHES):
            gone = store.prune(name, keep, BATCH)
            deleted += gone
            if pause(BREATH_SECONDS):
                return deleted
            if gone == 0:
                break
    return deleted
