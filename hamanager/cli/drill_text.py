"""A quarter of drills as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager import formats
from hamanager.api.drills import DrillsReport, Figures

HEADINGS = (
    "FAULT",
    "DRILLS",
    "PASSED",
    "FAILED",
    "REFUSED",
    "MISSED",
    "UNFINISHED",
    "RTO MIN",
    "MEDIAN",
    "MAX",
    "LOST",
)


def figures_text(report: DrillsReport) -> str:
    """A line for each fault, and one for all."""
    found = [*report.faults, report.all] if len(report.faults) > 1 else list(report.faults)
    lines = [HEADINGS, *(_line(figures) for figures in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    about = f"{report.service}, {report.quarter}: {formats.count(report.all.drills, 'drill')}"
    if not report.drills:
        return f"{about}\n"
    return "\n".join([about, *(_padded(line, widths) for line in lines), ""])


def _line(found: Figures) -> Sequence[str]:
    counts = (found.drills, found.passed, found.failed, found.refused, found.missed)
    times = (found.rto_seconds_min, found.rto_seconds_median, found.rto_seconds_max)
    unknown = f" (unknown of {found.lost_unknown})" if found.lost_unknown else ""
    return [
        "all" if found.fault is None else str(found.fault),
        *(f"{number:,}" for number in (*counts, found.unfinished)),
        *("-" if seconds is None else formats.stopwatch(seconds) for seconds in times),
        f"{found.lost:,} of {found.acknowledged:,}{unknown}",
    ]


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "   ".join(padded).rstrip()
