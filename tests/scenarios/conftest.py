"""A running daemon for each engine's scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hamanager.stage import Stage
from tests.scenarios.harness import RESULTS, Result

ENGINES = ("mysql", "redis", "mongodb")
SIZES = {"mysql": 2, "redis": 2, "mongodb": 3}


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """A daemon with real containers, shared by the tests of a module."""
    with Stage() as stage:
        yield stage


@pytest.fixture
def stage(running: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The daemon, without services before and after; its log is shown when the test failed."""
    yield running
    for service in running.ask("info") or []:
        running.command("destroy", service["name"], "--yes")
    print(f"--- daemon log of {request.node.name}\n{running.daemon_log()[-20_000:]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of `make scenarios`."""
    if not RESULTS:
        return
    terminalreporter.section("scenarios")
    head = ("scenario", "engine", "passed", "acked", "lost", "longest gap", "whole after")
    rows = [head, *(_row(result) for result in RESULTS)]
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
    )
