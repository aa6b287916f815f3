"""The commands about the store itself: for an operator, while no manager runs."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Annotated

import typer

from hamanager.errors import ConflictError, NotFoundError

StoreOption = Annotated[
    str,
    typer.Option(
        envvar="HAMANAGER_STORE",
        show_envvar=True,
        help="etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX, for several managers; by default a file"
        " in the state directory.",
    ),
]

app = typer.Typer(help="Copy the store, or go on with one that was put back.", no_args_is_help=True)


@app.command("copy")
def copy_(
    source: Annotated[str, typer.Option("--from", help="Where everything is.")],
    target: Annotated[str, typer.Option("--to", help="Where it goes; empty.")],
) -> None:
    """Copy everything from one store into another, and check it.

    \b
    Example: hamanager store copy --from sqlite:///PATH/hamanager.db --to etcd://HOST:2379/hamanager
    No manager may run on either. Afterwards the first one is used no more.
    """
    from hamanager import paths
    from hamanager.stores.copying import copy
    from hamanager.stores.opening import SQLITE, open_store, sqlite_path

    if source == target:
        raise ConflictError("a store cannot be copied to itself; nothing was copied")
    home, left = paths.make_private(paths.home()), "nothing was copied"
    with ExitStack() as stack:
        for url in (source, target):
            if url.startswith(SQLITE):
                path = sqlite_path(url)
                if not path.is_file() if url == source else not path.parent.is_dir():
                    raise NotFoundError(f"there is no {path}; {left}")
                stack.enter_context(paths.only_one(path.parent, left))
        old = stack.enter_context(closing(open_store(source, home)))
        new = stack.enter_context(closing(open_store(target, home)))
        copied = copy(old, new, target)
    typer.echo(
        f"copied {copied.keys} keys and {copied.entries} history entries; from now on start"
        f" managers with --store {target}"
    )


@app.command("accept")
def accept(store: StoreOption = "") -> None:
    """Go on with a store as it is: one that was put back from an older copy, or moved.

    \b
    Example: hamanager store accept --store etcd://HOST:2379/hamanager
    With no manager running, and the primaries up (docs/store.md).
    """
    from hamanager import paths
    from hamanager.stores.opening import accept as accept_store

    home = paths.make_private(paths.home())
    with paths.only_one(home, "nothing was changed"):
        accept_store(store, home)
    typer.echo("managers take it as it is now")
