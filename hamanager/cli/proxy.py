"""The command `proxy`: the services' addresses on a machine without a manager."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.cli.app import named_way
from hamanager.errors import HamanagerError, UsageError

if TYPE_CHECKING:
    from hamanager.routes.sources import StoreSource


def proxy(
    listen: Annotated[
        str,
        typer.Option(
            envvar="HAMANAGER_PROXY_LISTEN",
            metavar="ADDRESS",
            help="This machine's, where its clients connect.",
        ),
    ] = "127.0.0.1",
    store: Annotated[
        str,
        typer.Option(
            envvar="HAMANAGER_STORE",
            metavar="URL",
            help="Follow this store (etcd://...) and no manager; it holds the services' passwords.",
        ),
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option(help="Where it keeps what it knows ($HAMANAGER_HOME/proxy).", file_okay=False),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the addresses away from this machine again.")
    ] = False,
) -> None:
    """Run the services' addresses on this machine, too; they lead where the managers say.

    \b
    Example: hamanager --manager https://a:7432,https://b:7432 proxy --listen 10.0.0.7
    Without --manager it follows the daemon of this machine.
    """
    from hamanager import paths
    from hamanager.api.reach import reach
    from hamanager.daemon.proxy import remove_proxy, run_proxy
    from hamanager.routes.sources import ManagerSource

    home = paths.make_private(paths.home())
    directory = paths.make_private(state.absolute() if state else home / "proxy")
    if remove:
        remove_proxy(directory)
        typer.echo("the services' addresses are on this machine no more")
        return
    address = _own_address(listen)
    if store:
        run_proxy(directory, address, [_store_source(store, directory)])
        return
    way = named_way()
    # Each is asked on its own, all at the same time: who hears first tells first.
    ways = [replace(way, managers=(url,)) for url in way.managers] or [way]
    run_proxy(directory, address, [ManagerSource(partial(reach, one)) for one in ways])


def _store_source(url: str, directory: Path) -> StoreSource:
    from hamanager.routes.sources import StoreSource
    from hamanager.stores.opening import ETCD, open_store

    if not url.startswith(ETCD):
        raise UsageError(
            f"'{url}' is the store of one manager, which writes down where clients are led when it"
            " is asked: follow it with --manager, or without on its machine; nothing was started"
        )
    return StoreSource(open_store(url, directory), "the store")


def _own_address(listen: str) -> str:
    """An address that can be listened at here.

    Raises:
        UsageError: it cannot.
    """
    from hamanager.runtimes.docker.address import bind_address

    try:
        address = bind_address(listen)
    except HamanagerError:
        raise UsageError(f"{listen} is no address, and nobody here knows that name") from None
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise UsageError(f"{listen} cannot be listened at: {error.strerror}") from error
            raise UsageError(
                f"{listen} is no address of this machine: name one that is, or 0.0.0.0 for all;"
                " nothing was started"
            ) from None
    return address
