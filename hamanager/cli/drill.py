"""The command `drill`: what it prints and writes, and its exit code."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import typer
from rich.console import Console

from hamanager.api.client import Client
from hamanager.chaos.drill.page import page
from hamanager.chaos.drill.run import run_drill
from hamanager.chaos.drill.text import table, verdict
from hamanager.chaos.drill.values import DrillReport
from hamanager.cli.app import Output
from hamanager.cli.terminal import INTERRUPTED
from hamanager.errors import HamanagerError
from hamanager.model.drill import DrillFault

NICENESS = 10
"""Of a drill by schedule: the manager, and what is drilled, come first."""
UNWRAPPED = 400
"""Columns: where no terminal sets them, a round stays on one line."""


def run_command(
    client: Client,
    name: str,
    fault: DrillFault,
    rounds: int,
    pause_seconds: float,
    report_path: Path | None,
    output: Output,
    due_at: float | None = None,
) -> int:
    """Run the drill; the exit code. `due_at`: of one by schedule."""
    if report_path is not None and not report_path.absolute().parent.is_dir():
        raise HamanagerError(
            f"there is no directory {report_path.absolute().parent} for the report; nothing was"
            " done"
        )
    # Like Ctrl-C: whatever is broken at that moment has to be undone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if due_at is not None:
        os.nice(NICENESS)
    try:
        report, done = run_drill(client, name, fault, rounds, pause_seconds, _say, due_at)
    except KeyboardInterrupt:
        _say("stopped; what was broken is undone, and the manager repairs the rest")
        return INTERRUPTED
    _show(report, output)
    if report_path is not None:
        try:
            report_path.write_text(page(report, done), encoding="utf-8")
        except OSError as error:
            raise HamanagerError(
                f"the report could not be written to {report_path} ({error.strerror}): name a file"
                " that can be"
            ) from error
    return 0 if report.passed else 1


def _say(line: str) -> None:
    typer.echo(f"hamanager: {line}", err=True)


def _show(report: DrillReport, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(report.model_dump_json(indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=UNWRAPPED, color_system=None)
    if report.rounds:
        with console.capture() as capture:
            console.print(table(report))
        typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
    typer.echo(verdict(report))
