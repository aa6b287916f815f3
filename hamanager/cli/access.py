"""The commands that tell applications how to connect."""

from __future__ import annotations

from typing import Annotated

import typer

from hamanager.api.environment import DOTCLOUD_PREFIX, PREFIX, Format
from hamanager.api.grammar import check_service_name
from hamanager.cli.app import NameArgument, app, open_client


@app.command()
def url(
    name: NameArgument,
    reads: Annotated[bool, typer.Option("--reads", help="The address of the standbys.")] = False,
) -> None:
    """Print the URL with which applications connect; it never changes for MySQL and Redis.

    \b
    Example: hamanager url db
    """
    check_service_name(name)
    with open_client() as client:
        found = client.connection(name)
    if not reads:
        typer.echo(found.url)
        return
    if found.reads_url is None:
        from hamanager.errors import ConflictError

        raise ConflictError(
            f"'{name}' offers no address for reading: `hamanager set {name} --reads` makes one"
        )
    typer.echo(found.reads_url)


@app.command()
def env(
    name: NameArgument,
    style: Annotated[
        Format, typer.Option("--format", help="shell, json or dotenv.")
    ] = Format.SHELL,
    dotcloud: Annotated[
        bool, typer.Option("--dotcloud", help="Names as on dotCloud: DOTCLOUD_DB_MYSQL_HOST.")
    ] = False,
) -> None:
    """Print how to connect as variables, such as HAMANAGER_DB_MYSQL_HOST.

    \b
    Example: hamanager env db --format dotenv > .env
    For a shell: eval "$(hamanager env db)"
    """
    check_service_name(name)
    from hamanager.api.environment import text, variables

    with open_client() as client:
        found = client.connection(name)
    prefix = DOTCLOUD_PREFIX if dotcloud else PREFIX
    typer.echo(text(variables(found, prefix), style), nl=False)
