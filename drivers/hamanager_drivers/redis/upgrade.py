"""Which version of Redis, or of what is like it, goes on with which one's data. Pure."""

from __future__ import annotations

from hamanager_drivers.versions import numbers


def upgrade_problem(product: str, present: str, wanted: str) -> str:
    """A later major version writes files that an earlier one does not read (`rdb.c`: the RDB
    version is checked when a file is loaded)."""
    if numbers(wanted)[:1] < numbers(present)[:1]:
        return f"{product} {wanted} does not read data that {present} has written"
    return ""
