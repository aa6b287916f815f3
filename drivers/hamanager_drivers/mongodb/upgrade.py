"""Which version of MongoDB goes on with which one's data (MongoDB manual, release notes: "Upgrade a
Replica Set"). Pure."""

from __future__ import annotations

from hamanager_drivers.versions import numbers


def upgrade_problem(present: str, wanted: str) -> str:
    """One major release at a time, and none back: each knows the data of the one before it."""
    before, after = _release(present), _release(wanted)
    if after < before:
        return f"MongoDB {wanted} does not open data that {present} has used"
    if after - before > 1:
        return f"MongoDB goes from {present} to {wanted} one major release at a time only"
    return ""


def _release(version: str) -> int:
    """Counts major releases: 4.2, 4.4, 5.0, 6.0 ..."""
    major, minor, *_ = (*numbers(version), 0, 0)
    return major if major > 4 else major - 2 + minor // 2
