"""The commands of every day: a shell, logs, the list of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.api.grammar import check_service_name, service_of
from hamanager.cli.app import Output, OutputOption, app, complete_instances, open_client
from hamanager.errors import UsageError

if TYPE_CHECKING:
    from hamanager.api.client import Client

FOLLOW_SECONDS = 0.5
LONGEST_LOG_LINES = 10_000

TargetArgument = Annotated[
    str,
    typer.Argument(
        help="The service, such as db, or one instance: db.0.",
        metavar="NAME[.N]",
        autocompletion=complete_instances,
    ),
]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    target: TargetArgument,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Instead of a shell.")
    ] = None,
) -> None:
    """Open the engine's shell on the primary, or run a command there, with credentials.

    \b
    Example: hamanager run db -- mysql -e 'SHOW TABLES'
    What comes on standard input goes to the command: hamanager run db < dump.sql
    """
    name = _service(target)
    with open_client() as client:
        view = client.shell(name, target if target != name else None)
    from hamanager.cli.shell import run as run_in

    raise typer.Exit(run_in(view, command or []))


@app.command()
def logs(
    target: TargetArgument,
    lines: Annotated[
        int,
        typer.Option("--lines", "-n", help="Of each instance.", min=1, max=LONGEST_LOG_LINES),
    ] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show what the servers of a service, or one of them, have written.

    \b
    Example: hamanager logs db.0 --follow
    """
    name = _service(target)
    only = target if target != name else None
    with open_client() as client:
        cursors: dict[str, str] = {}
        _print_logs(client, name, only, lines, cursors)
        if not follow:
            return
        import time

        from hamanager.api.client import NoDaemonError

        try:
            while True:
                time.sleep(FOLLOW_SECONDS)
                try:
                    _print_logs(client, name, only, LONGEST_LOG_LINES, cursors)
                except NoDaemonError:
                    continue  # it is being restarted; the servers go on writing
        except KeyboardInterrupt:
            return


@app.command("list")
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


def _service(target: str) -> str:
    return service_of(target) if "." in target else check_service_name(target)


def _print_logs(
    client: Client, name: str, only: str | None, lines: int, cursors: dict[str, str]
) -> None:
    """Print what is new since the last call, in order of time."""
    names = [instance.name for instance in client.view(name).instances]
    if only is not None and only not in names:
        known = " and ".join(names) or "none yet"
        raise UsageError(f"there is no instance '{only}': '{name}' has {known}")
    wanted = [only] if only is not None else names
    found = []
    for instance in wanted:
        new = client.logs(name, instance, lines, cursors.get(instance, ""))
        if new:
            cursors[instance] = new[-1].at
        found += [(line.at, instance, line.text) for line in new]
    for _, instance, text in sorted(found):
        colour = COLOURS[names.index(instance) % len(COLOURS)]
        prefix = typer.style(f"{instance} | ", fg=colour) if only is None else ""
        typer.echo(prefix + text)


COLOURS = ("cyan", "yellow", "green", "magenta", "blue")
