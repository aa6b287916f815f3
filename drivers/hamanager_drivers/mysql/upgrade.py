"""Which version of MySQL goes on with which one's data (MySQL Reference Manual, "Upgrade Paths" and
"Downgrading MySQL"). Pure."""

from __future__ import annotations

from hamanager_drivers.versions import numbers

BETWEEN = (8, 4)
"""The series that no upgrade leaves out."""


def upgrade_problem(present: str, wanted: str) -> str:
    """A server refuses a data directory that a later one has used, by however little."""
    before, after = numbers(present), numbers(wanted)
    if after < before:
        return f"MySQL {wanted} does not open data that {present} has used"
    if before[:2] < BETWEEN and after[:1] > BETWEEN[:1]:
        return f"MySQL goes from {present} to {wanted} by way of 8.4 only: upgrade to that first"
    if after[0] - before[0] > 1:
        return f"MySQL goes from {present} to {wanted} by way of the series between them only"
    return ""
