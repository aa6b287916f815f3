"""Commands about services: make, scale, restart, remove and show them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.api.grammar import check_service_name, parse_memory, parse_scale, service_of
from hamanager.cli.app import (
    DownAfterOption,
    DrillsOption,
    DurabilityOption,
    FailoverPeriodOption,
    LargeOption,
    NameArgument,
    Output,
    OutputOption,
    ReadsLagOption,
    ReadsOption,
    TimeoutOption,
    WaitOption,
    complete_instances,
    complete_scale,
    complete_services,
    finish,
    open_client,
    settings_of,
)
from hamanager.errors import UsageError

if TYPE_CHECKING:
    from hamanager.api.client import Client
    from hamanager.api.goals import Goal


def create(
    name: NameArgument,
    engine: Annotated[
        str,
        typer.Option(
            help="mysql, redis, mongodb, stateless, or another one whose driver is installed."
        ),
    ],
    instances: Annotated[int, typer.Option(help="How many servers.")] = 1,
    memory: Annotated[str | None, typer.Option(help="Limit of each server, e.g. 512M.")] = None,
    image: Annotated[str | None, typer.Option(help="Container image to run.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Where a stateless service's program listens.")
    ] = None,
    health: Annotated[
        str | None, typer.Option(help="A path it answers 200 to when it is well.")
    ] = None,
    allow_large: LargeOption = False,
    durability: DurabilityOption = None,
    down_after: DownAfterOption = None,
    failover_period: FailoverPeriodOption = None,
    allow_drills: DrillsOption = None,
    reads: ReadsOption = None,
    reads_max_lag: ReadsLagOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make a new service.

    \b
    Example: hamanager create db --engine mysql --instances 2
    Without data: hamanager create www --engine stateless --image I --port 8080
    """
    from hamanager.api.goals import complete
    from hamanager.cli import terminal

    check_service_name(name)
    memory_bytes = parse_memory(memory) if memory is not None else None
    settings = settings_of(
        durability, down_after, failover_period, allow_drills, reads, reads_max_lag
    )
    with open_client() as client:
        view = client.create(
            name,
            engine,
            instances,
            memory_bytes,
            image,
            settings,
            allow_large=allow_large,
            port=port,
            health_path=health,
        )
        goals: dict[str, Goal] = {name: complete} if wait else {}
        done = finish(client, [view], goals, timeout, output)
        if output is Output.JSON:
            typer.echo(terminal.as_json(done[0]), nl=False)


def scale(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:ACTION]=VALUE...",
            help="What to change.",
            autocompletion=complete_scale,
        ),
    ],
    allow_large: LargeOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Change the number of instances, or their memory.

    \b
    Example: hamanager scale db:instances=2 cache:memory=128M
    """
    from hamanager.api.goals import complete, limited
    from hamanager.cli import terminal

    requests = parse_scale(targets)
    with open_client() as client:
        views = client.scale(requests, allow_large=allow_large)
        resized = {r.service for r in requests if r.instances is not None}
        goals: dict[str, Goal] = {v.name: complete if v.name in resized else limited for v in views}
        done = finish(client, views, goals if wait else {}, timeout, output)
        if output is Output.JSON:
            texts = [v.model_dump_json(by_alias=True) for v in done]
            typer.echo(terminal.as_json_list(texts), nl=False)


def restart(
    instance: Annotated[
        str, typer.Argument(help="The instance, such as db.0.", autocompletion=complete_instances)
    ],
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Restart one instance; its role stays where it is.

    \b
    Example: hamanager restart db.0
    """
    from hamanager.api.goals import restarted
    from hamanager.cli import terminal

    name = service_of(instance)
    with open_client() as client:
        view = client.restart(name, instance)
        goals: dict[str, Goal] = {name: restarted(instance)} if wait else {}
        done = finish(client, [view], goals, timeout, output)
        if output is Output.JSON:
            typer.echo(terminal.as_json(done[0]), nl=False)


def destroy(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
) -> None:
    """Remove a service and all its data.

    \b
    Example: hamanager destroy db --yes
    """
    check_service_name(name)
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"destroying '{name}' removes all its data: confirm that with --yes")
    with open_client() as client:
        client.view(name)
        if not yes and not typer.confirm(f"Destroy '{name}' and all its data?"):
            typer.echo("nothing was changed")
            raise typer.Exit(1)
        client.destroy(name)
        if wait:
            from hamanager.cli.terminal import wait_for_end

            wait_for_end(client, name, timeout)
        typer.echo(f"{name}: destroyed" if wait else f"{name}: being destroyed")


def info(
    name: Annotated[
        str | None,
        typer.Argument(help="The service; all when left out.", autocompletion=complete_services),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again each second.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show a service, or list all.

    \b
    Example: hamanager info db --watch
    """
    if name is not None:
        check_service_name(name)
    from hamanager.cli import terminal

    with open_client() as client:
        if watch:
            documents = output is Output.TEXT and name is not None
            terminal.watch(lambda: _info(client, name, output), documents=documents)
        else:
            terminal.emit(_info(client, name, output))


def status(name: NameArgument, output: OutputOption = Output.TEXT) -> None:
    """Ask each instance of a service how it is, now.

    \b
    Example: hamanager status db
    """
    check_service_name(name)
    with open_client() as client:
        view = client.status(name)
    from hamanager.cli import terminal
    from hamanager.cli.text import status_text

    terminal.emit(terminal.as_json(view) if output is Output.JSON else status_text(view))


def history(
    name: NameArgument,
    limit: Annotated[int | None, typer.Option(help="The newest entries only.", min=1)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell what happened to a service, and why.

    \b
    Example: hamanager history db --limit 20
    """
    check_service_name(name)
    with open_client() as client:
        entries = client.history(name, limit)
    from hamanager.cli import terminal
    from hamanager.cli.text import history_text

    if output is Output.JSON:
        typer.echo(terminal.as_json_list(e.model_dump_json() for e in entries), nl=False)
    else:
        terminal.emit(history_text(entries))


def list_(output: OutputOption = Output.TEXT) -> None:
    """List all services: type, instances, state, memory.

    \b
    Example: hamanager list
    """
    from hamanager.cli import terminal
    from hamanager.cli.text import services_text

    with open_client() as client:
        views = client.views()
    if output is Output.JSON:
        texts = (view.model_dump_json(by_alias=True) for view in views)
        typer.echo(terminal.as_json_list(texts), nl=False)
    else:
        terminal.emit(services_text(views))


def _info(client: Client, name: str | None, output: Output) -> str:
    from hamanager.cli import terminal
    from hamanager.cli.info_text import info_text
    from hamanager.cli.text import services_text

    if name is not None:
        view = client.view(name)
        return terminal.as_json(view) if output is Output.JSON else info_text(view)
    views = client.views()
    if output is Output.TEXT:
        return services_text(views)
    return terminal.as_json_list(v.model_dump_json(by_alias=True) for v in views)
