"""`hamanager hook`: looks at the file that names the hooks, and tries one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hamanager.errors import UsageError

FileOption = Annotated[
    Path, typer.Option("--file", help="The file, as `serve --hooks` has it.", dir_okay=False)
]

hook_app = typer.Typer(help="Whom the manager tells of what happens.", no_args_is_help=True)


@hook_app.command("check")
def check(file: FileOption) -> None:
    """Say what a file of hooks means, or what is wrong with it.

    \b
    Example: hamanager hook check --file hooks.yaml
    """
    from hamanager.daemon.hook_file import load_hooks

    for hook in load_hooks(file):
        of = " and ".join(hook.services) or "every service"
        kind = f"a webhook, as {hook.format}" if hook.url else f"the command {hook.command[0]}"
        typer.echo(f"{hook.name}: {kind}, told of {', '.join(hook.events)} of {of}")


@hook_app.command("test")
def test(name: Annotated[str, typer.Argument(help="The hook's name.")], file: FileOption) -> None:
    """Tell one hook now of something that did not happen, and say what came of it.

    \b
    Example: hamanager hook test slack --file hooks.yaml
    """
    from hamanager.daemon.events import Event
    from hamanager.daemon.hook_file import load_hooks
    from hamanager.daemon.hooks import Teller

    hooks = load_hooks(file)
    found = next((hook for hook in hooks if hook.name == name), None)
    if found is None:
        known = ", ".join(hook.name for hook in hooks) or "none"
        raise UsageError(f"there is no hook '{name}' in {file}: there are {known}")
    event = Event(
        event=found.events[0],
        service=next(iter(found.services), "test"),
        at=time.time(),
        text="a test by `hamanager hook test`: nothing has happened",
    )
    Teller(found).carry_out(event)
    typer.echo(f"{name}: told")
