"""`hamanager managers`: who watches over the services."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from hamanager import formats
from hamanager.api.views import ManagerView
from hamanager.cli.app import Output, OutputOption, open_client

_UNWRAPPED = 100_000
_NAMED = 5
"""So many services are named, of more their number is told."""


def managers(output: OutputOption = Output.TEXT) -> None:
    """List the managers of this installation, and which services each leads.

    \b
    Example: hamanager managers
    """
    from hamanager.cli import terminal

    with open_client() as client:
        found = client.managers()
    if output is Output.JSON:
        typer.echo(terminal.as_json_list(m.model_dump_json() for m in found), nl=False)
    else:
        terminal.emit(managers_text(found))


def managers_text(found: Sequence[ManagerView]) -> str:
    """One a line; the one that was asked is marked. Pure."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("MANAGER", "STATE", "SINCE", "VERSION", "LEADS", "API"):
        table.add_column(title, no_wrap=True)
    for manager in found:
        table.add_row(
            f"{manager.name} *" if manager.me else manager.name,
            _state(manager),
            formats.moment(manager.started_at),
            manager.version,
            _leads(manager.leads),
            " ".join(manager.addresses) or "-",
        )
    console = Console(width=_UNWRAPPED, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _state(manager: ManagerView) -> str:
    if manager.alive:
        return "alive"
    seconds = manager.silent_seconds
    return f"silent for {formats.duration(seconds)}" if seconds is not None else "silent"


def _leads(services: Sequence[str]) -> str:
    if len(services) > _NAMED:
        return formats.count(len(services), "service")
    return " ".join(services) or "-"
