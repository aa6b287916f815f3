"""Commands about who leads, and about the manager itself: settings, orders, pauses."""

from __future__ import annotations

from typing import Annotated

import typer

from hamanager.api.grammar import check_service_name
from hamanager.cli.app import (
    CanaryOption,
    DownAfterOption,
    DrillsOption,
    DurabilityOption,
    FailoverPeriodOption,
    NameArgument,
    Output,
    OutputOption,
    ReadsLagOption,
    ReadsOption,
    ReplaceAfterOption,
    TimeoutOption,
    WaitOption,
    finish,
    finish_order,
    open_client,
    settings_of,
    show,
)
from hamanager.errors import HamanagerError, UsageError
from hamanager.model.order import OrderKind


def set_(
    name: NameArgument,
    durability: DurabilityOption = None,
    down_after: DownAfterOption = None,
    failover_period: FailoverPeriodOption = None,
    allow_drills: DrillsOption = None,
    reads: ReadsOption = None,
    reads_max_lag: ReadsLagOption = None,
    replace_after: ReplaceAfterOption = None,
    canary: CanaryOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Change a service's settings; those that are not named stay.

    \b
    Example: hamanager set db --durability strict
    """
    check_service_name(name)
    settings = settings_of(
        durability,
        down_after,
        failover_period,
        allow_drills,
        reads,
        reads_max_lag,
        replace_after,
        canary,
    )
    with open_client() as client:
        view = client.change_settings(name, settings)
    show(view, output)


def upgrade(
    name: NameArgument,
    image: Annotated[
        str | None, typer.Option(help="The image; the one for new services when left out.")
    ] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a service from another image: standbys first, the primary last.

    \b
    Example: hamanager upgrade db --image mysql:9
    A later major version cannot be undone: see docs/upgrades.md.
    """
    check_service_name(name)
    from hamanager.api.goals import Goal, upgraded
    from hamanager.cli import terminal

    with open_client() as client:
        text = client.upgrade(name, image)
        terminal_text = f"{name}: {text}\n"
        if output is Output.TEXT:
            terminal.emit(terminal_text)
        goals: dict[str, Goal] = {name: upgraded} if wait else {}
        done = finish(client, [client.view(name)], goals, timeout, output)
        if output is Output.JSON:
            typer.echo(terminal.as_json(done[0]), nl=False)


def switchover(
    name: NameArgument,
    to: Annotated[str | None, typer.Option(help="The new primary; the best when left out.")] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds that long transactions are given to end.", min=0)
    ] = 5.0,
    kill: Annotated[
        bool, typer.Option("--kill/--no-kill", help="End those that are left, or refuse.")
    ] = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a standby take the primary's place, without loss.

    \b
    Example: hamanager switchover db --to db.1
    """
    check_service_name(name)
    with open_client() as client:
        number = client.order(name, OrderKind.SWITCHOVER, to, patience, kill=kill)
        finish_order(client, name, number, timeout, output)


def failover(
    name: NameArgument,
    to: Annotated[str | None, typer.Option(help="Whom to promote; the best when left out.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it although writes may be lost.")
    ] = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Decide who leads when the manager cannot without losing writes.

    \b
    Example: hamanager failover db --to db.1 --force
    """
    check_service_name(name)
    from hamanager.cli.text import failover_assessment

    with open_client() as client:
        view = client.status(name)
        if view.topology == "stateless":
            raise UsageError(f"'{name}' is a service without data: it has no primary")
        assessment = failover_assessment(view, to)
        if not force:
            raise HamanagerError(f"{assessment}; confirm that with --force; nothing was changed")
        typer.echo(assessment, err=True)
        number = client.order(name, OrderKind.FAILOVER, to)
        finish_order(client, name, number, timeout, output)


def discard(
    name: NameArgument,
    volume: Annotated[
        str, typer.Argument(help="A retained volume (`kept_data` in `info`), or all.")
    ],
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Delete a volume that was retained when an instance was rebuilt.

    \b
    Example: hamanager discard db all
    """
    check_service_name(name)
    with open_client() as client:
        number = client.order(name, OrderKind.DISCARD, None if volume == "all" else volume)
        finish_order(client, name, number, timeout, output)


def pause(name: NameArgument, output: OutputOption = Output.TEXT) -> None:
    """Let the manager observe a service and not act on it, for maintenance.

    \b
    Example: hamanager pause db
    """
    check_service_name(name)
    with open_client() as client:
        view = client.pause(name, paused=True)
    show(view, output)


def resume(name: NameArgument, output: OutputOption = Output.TEXT) -> None:
    """Let the manager act on a paused service again.

    \b
    Example: hamanager resume db
    """
    check_service_name(name)
    with open_client() as client:
        view = client.pause(name, paused=False)
    show(view, output)
