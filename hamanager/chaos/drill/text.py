"""A drill's report for a terminal: a table, and the verdict in a sentence. Pure."""

from __future__ import annotations

from rich.table import Table

from hamanager import formats
from hamanager.chaos.drill.values import DrillReport, Measures, RoundResult

COLUMNS = (
    "ROUND",
    "PRIMARY",
    "DETECTED",
    "PROMOTED",
    "FIRST WRITE",
    "HEALTHY",
    "LONGEST GAP",
    "ACKNOWLEDGED",
    "LOST",
    "TWO PRIMARIES",
    "RECOVERED",
)


def table(report: DrillReport) -> Table:
    """One round a line, then the middle and the worst of each measure."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in COLUMNS:
        made.add_column(column, no_wrap=True)
    for result in report.rounds:
        made.add_row(*cells(result))
    if len(report.rounds) > 1:
        made.add_row("median", "", *durations(report.median), style="dim")
        made.add_row("worst", "", *durations(report.worst), style="dim")
    return made


def cells(result: RoundResult) -> list[str]:
    """A round's line."""
    stayed = result.primary == result.instance
    return [
        str(result.number),
        result.instance if stayed else f"{result.instance} to {result.primary or 'nobody'}",
        *durations(result),
        f"{result.acknowledged:,}",
        "unknown" if result.lost is None else f"{result.lost:,}",
        "never" if not result.duplicate_primaries else f"{result.duplicate_primaries} looks",
        "yes" if result.recovered else "NO",
    ]


def durations(measures: Measures) -> list[str]:
    """In the order of the columns; `-` for what did not happen."""
    values = (
        measures.detect_seconds,
        measures.promote_seconds,
        measures.first_write_seconds,
        measures.healthy_seconds,
        measures.longest_gap_seconds,
    )
    return ["-" if value is None else formats.stopwatch(value) for value in values]


def verdict(report: DrillReport) -> str:
    """One line: whether the service did what it promises, and the numbers that say so."""
    if not report.passed:
        return f"FAILED: {'; '.join(report.failures)}"
    lost = "none lost"
    if report.lost:
        lost = f"{report.lost:,} lost (this service does not promise to lose none)"
    return f"passed: {report.acknowledged:,} writes acknowledged, {lost}; never two primaries"
