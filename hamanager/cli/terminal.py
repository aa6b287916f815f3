"""Where output goes: colours and live displays on a terminal, plain text everywhere else."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hamanager.api.client import Client, NoDaemonError
from hamanager.api.goals import Goal
from hamanager.api.views import ServiceView
from hamanager.cli.progress import Display, display_for, wait_for, wait_until_gone

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
WATCH_SECONDS = 1.0

_COLOURS = (
    (re.compile(r"\b(up|running|online|primary|secondary|done)\b(?=\n|$|  )", re.I), "green"),
    (re.compile(r"\b(synchronizing|rejoining|recovering|degraded)\b(?=\n|$|  )", re.I), "yellow"),
    (re.compile(r"\b(down|offline|failing-over|failed|unmanaged)\b(?=\n|$|  |:)", re.I), "red"),
)


def emit(text: str) -> None:
    """Print a text that ends with a line feed."""
    if sys.stdout.isatty():
        Console(highlight=False).print(_painted(text), end="", soft_wrap=True)
    else:
        typer.echo(text, nl=False)


def as_json(view: BaseModel) -> str:
    """The stable JSON of one service, or of what else was asked for, with a line feed."""
    return view.model_dump_json(by_alias=True, indent=2) + "\n"


def as_json_list(items: Iterable[str]) -> str:
    """A JSON list of values that are JSON already, one a line."""
    joined = ",\n".join(items)
    return f"[\n{joined}\n]\n" if joined else "[]\n"


def watch(look: Callable[[], str], *, documents: bool) -> None:
    """Show what `look` returns each second, until Ctrl-C; `documents` separates YAML documents."""
    try:
        if sys.stdout.isatty():
            _watch_live(look)
        else:
            _watch_plain(look, "---\n" if documents else "")
    except KeyboardInterrupt:
        return


def _watch_live(look: Callable[[], str]) -> None:
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            text = _painted(_look_again(look))
            # A wrapped line would make the live display lose count of its lines.
            text.no_wrap, text.overflow = True, "ellipsis"
            live.update(text, refresh=True)
            time.sleep(WATCH_SECONDS)


def _watch_plain(look: Callable[[], str], separator: str) -> None:
    first = True
    while True:
        text = look() if first else separator + _look_again(look)
        typer.echo(text, nl=False)
        sys.stdout.flush()
        first = False
        time.sleep(WATCH_SECONDS)


def _look_again(look: Callable[[], str]) -> str:
    """A daemon that is being restarted does not end the watching."""
    try:
        return look()
    except NoDaemonError as error:
        return f"# {error}\n"


def _painted(text: str) -> Text:
    painted = Text(text)
    for pattern, colour in _COLOURS:
        painted.highlight_regex(pattern, colour)
    return painted


def wait(
    client: Client, goals: Mapping[str, Goal], timeout_seconds: float | None, *, quiet: bool
) -> list[ServiceView]:
    """Show the progress until the goals are reached; Ctrl-C ends the waiting, not the work."""
    display = _display(to_stderr=quiet)
    return _interruptible(lambda: wait_for(client, goals, display, timeout_seconds), [*goals])


def wait_for_end(client: Client, name: str, timeout_seconds: float | None) -> None:
    """The same until a service is gone."""
    display = _display(to_stderr=False)
    _interruptible(lambda: wait_until_gone(client, name, display, timeout_seconds), [name])


def _display(*, to_stderr: bool) -> Display:
    def write(line: str) -> None:
        typer.echo(line, err=to_stderr)

    return display_for(Console(stderr=to_stderr, highlight=False), write)


def _interruptible(waiting: Callable[[], T], names: list[str]) -> T:
    try:
        return waiting()
    except KeyboardInterrupt:
        typer.echo(
            "hamanager: stopped waiting; the work goes on: `hamanager info"
            f" {names[0]}` shows how far it is",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
