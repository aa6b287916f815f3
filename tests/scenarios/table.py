"""A pytest plugin: the table of the scenarios at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pytest

from tests.scenarios.harness import RESULTS, Result

LINE = "scenario"
LINES: list[Result] = []


@pytest.fixture(autouse=True)
def lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send a test's lines along with its report, as it may run in another process."""
    yield
    request.node.user_properties += [(LINE, asdict(result)) for result in RESULTS]
    RESULTS.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        LINES.extend(
            Result(**value)
            for name, value in report.user_properties
            if name == LINE and isinstance(value, dict)
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of `make scenarios`."""
    if not LINES:
        return
    terminalreporter.section("scenarios")
    head = ("scenario", "engine", "passed", "acked", "lost", "longest gap", "whole after", "note")
    rows = [head, *(_row(result) for result in LINES)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


def _row(result: Result) -> tuple[str, ...]:
    gap, whole = result.longest_gap_seconds, result.whole_seconds
    return (
        result.scenario,
        result.engine,
        "yes" if result.passed else "NO",
        str(result.acknowledged),
        "-" if result.lost is None else str(result.lost),
        "-" if gap is None else f"{gap:.2f} s",
        "-" if whole is None else f"{whole:.1f} s",
        result.note,
    )
