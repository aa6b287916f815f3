"""The commands of an operator at a shell. Exit codes: 0 done, 1 it failed, 2 wrong usage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hamanager.cli import access, credentials, hosts, managers, operations, reasons, services
from hamanager.cli import store as stores
from hamanager.cli.app import WAY
from hamanager.cli.drills import drill_app
from hamanager.cli.hooks import hook_app
from hamanager.cli.proxy import proxy
from hamanager.cli.store import StoreOption
from hamanager.errors import HamanagerError


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Print errors as the one sentence that they are."""
        try:
            return super().invoke(ctx)
        except HamanagerError as error:
            typer.echo(f"hamanager: {error}", err=True)
            raise typer.Exit(error.exit_code) from None


def main() -> None:
    """The program."""
    app(prog_name="hamanager")


def _version(wanted: bool) -> None:
    if wanted:
        from hamanager.version import program_version

        typer.echo(f"hamanager {program_version()}")
        raise typer.Exit


def _program(
    manager: Annotated[
        str | None,
        typer.Option(
            envvar="HAMANAGER_MANAGER",
            metavar="URL[,URL...]",
            help="Ask these managers over TLS: https://HOST:PORT.",
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(envvar="HAMANAGER_TOKEN_FILE", metavar="FILE", help="Holds our token."),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option(
            envvar="HAMANAGER_CA", metavar="FILE", help="The installation's authority, PEM."
        ),
    ] = None,
    cert: Annotated[
        str | None,
        typer.Option(
            envvar="HAMANAGER_CERT", metavar="FILE", help="Our certificate, instead of a token."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="HAMANAGER_KEY", metavar="FILE", help="And its key.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    from hamanager.api.reach import Way

    WAY.set(Way.named(manager, token_file, ca, cert, key))


def serve(
    advertise_host: Annotated[
        str | None, typer.Option(help="Address at which clients reach the databases.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            envvar="HAMANAGER_LISTEN",
            metavar="HOST:PORT",
            help="Offer the API over TLS, e.g. at 0.0.0.0:7432.",
        ),
    ] = None,
    listen_name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Another name or address that its certificate is for."),
    ] = None,
    listen_cert: Annotated[
        Path | None, typer.Option(help="A certificate of your own instead, PEM.", dir_okay=False)
    ] = None,
    listen_key: Annotated[Path | None, typer.Option(help="And its key.", dir_okay=False)] = None,
    store: StoreOption = "",
    name: Annotated[
        str | None,
        typer.Option(
            envvar="HAMANAGER_NAME", help="What other managers on the store call this one."
        ),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            envvar="HAMANAGER_ON", metavar="HOST", help="The host on record that this machine is."
        ),
    ] = "",
    web: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Offer metrics and health there over plain HTTP, e.g. at 127.0.0.1:7433.",
        ),
    ] = None,
    hooks: Annotated[
        Path | None, typer.Option(help="A file that names whom to tell of what happens.")
    ] = None,
) -> None:
    """Run the daemon that watches over the services.

    \b
    Example: hamanager serve
    The state directory is $HAMANAGER_HOME.
    """
    from hamanager import paths
    from hamanager.cli.credentials import own_pair
    from hamanager.daemon.remote import Listen, address_of
    from hamanager.daemon.serve import serve as run

    own = own_pair(listen_cert, listen_key)
    offered = None if listen is None else Listen.at(listen, listen_name or (), own)
    plain = None if web is None else address_of(web)
    run(paths.make_private(paths.home()), advertise_host, offered, store, name, on, plain, hooks)


def demo(
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="mysql, redis, mongodb or another one that is installed; all when left out."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="With little data.")] = False,
) -> None:
    """Show a failover on real databases, from nothing to nothing.

    \b
    Example: hamanager demo --engine redis
    """
    from hamanager.chaos.demo import run_demo

    raise typer.Exit(run_demo(engine or [], quick=quick))


app = typer.Typer(
    cls=_Group,
    help="High availability for databases: MySQL, Redis and MongoDB.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(_program)
_COMMANDS: tuple[Callable[..., None], ...] = (
    services.create,
    services.scale,
    services.restart,
    services.destroy,
    services.info,
    services.status,
    services.history,
    reasons.why,
    reasons.what_if,
    serve,
    proxy,
    demo,
    access.url,
    access.env,
    access.run,
    access.logs,
    services.list_,
    managers.managers,
    operations.set_,
    operations.upgrade,
    operations.switchover,
    operations.failover,
    operations.discard,
    operations.pause,
    operations.resume,
    hosts.replace,
    hosts.rebalance,
)
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
for _command in _COMMANDS:
    app.command(
        _command.__name__.rstrip("_").replace("_", "-"),
        context_settings=_PASSED_ON if _command is access.run else None,
    )(_command)
app.add_typer(hosts.host_app, name="host")
app.add_typer(credentials.token_app, name="token")
app.add_typer(credentials.ca_app, name="ca")
app.add_typer(stores.app, name="store")
app.add_typer(drill_app, name="drill")
app.add_typer(hook_app, name="hook")
