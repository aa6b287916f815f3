"""Commands that let people and applications in: addresses, variables, a shell, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.api.environment import DOTCLOUD_PREFIX, PREFIX, ConnectionView, Format
from hamanager.api.grammar import check_service_name, service_of
from hamanager.cli.app import NameArgument, complete_instances, open_client, open_local_client
from hamanager.errors import UsageError

if TYPE_CHECKING:
    from hamanager.api.client import Client

FOLLOW_SECONDS = 0.5
LONGEST_LOG_LINES = 10_000
COLOURS = ("cyan", "yellow", "green", "magenta", "blue")

TargetArgument = Annotated[
    str,
    typer.Argument(
        help="The service, such as db, or one instance: db.0.",
        metavar="NAME[.N]",
        autocompletion=complete_instances,
    ),
]


AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="ADDRESS", help="As clients of that machine's `hamanager proxy` connect."
    ),
]


def url(
    name: NameArgument,
    reads: Annotated[bool, typer.Option("--reads", help="The address of the standbys.")] = False,
    at: AtOption = None,
) -> None:
    """Print the URL with which applications connect; it never changes for MySQL and Redis.

    \b
    Example: hamanager url db
    """
    check_service_name(name)
    with open_client() as client:
        found = _at(client.connection(name), at)
    if not reads:
        typer.echo(found.url)
        return
    if found.reads_url is None:
        from hamanager.errors import ConflictError

        raise ConflictError(
            f"'{name}' offers no address for reading: `hamanager set {name} --reads` makes one"
        )
    typer.echo(found.reads_url)


def env(
    name: NameArgument,
    style: Annotated[
        Format, typer.Option("--format", help="shell, json or dotenv.")
    ] = Format.SHELL,
    dotcloud: Annotated[
        bool, typer.Option("--dotcloud", help="Names as on dotCloud: DOTCLOUD_DB_MYSQL_HOST.")
    ] = False,
    at: AtOption = None,
) -> None:
    """Print how to connect as variables, such as HAMANAGER_DB_MYSQL_HOST.

    \b
    Example: hamanager env db --format dotenv > .env
    For a shell: eval "$(hamanager env db)"
    """
    check_service_name(name)
    from hamanager.api.environment import text, variables

    with open_client() as client:
        found = _at(client.connection(name), at)
    prefix = DOTCLOUD_PREFIX if dotcloud else PREFIX
    typer.echo(text(variables(found, prefix), style), nl=False)


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
    with open_local_client("run", "needs the Docker engine that the instance runs in") as client:
        view = client.shell(name, target if target != name else None)
    from hamanager.cli.shell import run as run_in

    raise typer.Exit(run_in(view, command or []))


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


def _at(found: ConnectionView, host: str | None) -> ConnectionView:
    from hamanager.api.environment import at_address

    return found if host is None else at_address(found, host)


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
