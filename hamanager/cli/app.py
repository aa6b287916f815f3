"""What the commands share: their options, and how results are shown.

Most of the program is imported by the command that needs it, so that each starts quickly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hamanager.errors import HamanagerError, UsageError
from hamanager.model.durability import Durability
from hamanager.model.settings import Settings

if TYPE_CHECKING:
    from hamanager.api.client import Client
    from hamanager.api.goals import Goal
    from hamanager.api.reach import Way
    from hamanager.api.views import ServiceView


COMPLETION_SECONDS = 1.0
WAY: ContextVar[Way | None] = ContextVar("way", default=None)
"""What the program's options say of the managers; completion comes without them."""


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text or json.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", help="Seconds to wait at the most.", min=0)
]
DurabilityOption = Annotated[
    Durability | None,
    typer.Option(
        help="When no standby is left: availability lets writes go on, strict lets them wait."
    ),
]
DownAfterOption = Annotated[
    float | None,
    typer.Option(help="Seconds of silence after which a primary counts as failed."),
]
FailoverPeriodOption = Annotated[
    float | None,
    typer.Option(help="Seconds after a failover in which another one needs proof of death."),
]
ReplaceAfterOption = Annotated[
    float | None,
    typer.Option(help="Seconds after which an instance of a silent host is made anew elsewhere."),
]
DrillsOption = Annotated[
    bool | None,
    typer.Option("--allow-drills/--no-allow-drills", help="Whether `drill` may break it."),
]
CanaryOption = Annotated[
    bool | None,
    typer.Option(
        "--canary/--no-canary",
        help="Whether the manager writes once a second, to see that writes go through.",
    ),
]
ReadsOption = Annotated[
    bool | None,
    typer.Option("--reads/--no-reads", help="Whether a second port offers standbys for reading."),
]
ReadsLagOption = Annotated[
    float | None, typer.Option(help="Seconds that these standbys may be behind (10).")
]
LargeOption = Annotated[
    bool, typer.Option("--allow-large", help="Confirm more than 4G of memory per instance.")
]


def _views() -> list[ServiceView]:
    """For completion: quick, and silent when there is no daemon."""
    try:
        with open_client() as client:
            return client.views(timeout_seconds=COMPLETION_SECONDS)
    except HamanagerError:
        return []


def complete_services(incomplete: str) -> list[str]:
    """Names of services."""
    return [view.name for view in _views() if view.name.startswith(incomplete)]


def complete_instances(incomplete: str) -> list[str]:
    """Names of services and of their instances."""
    views = _views()
    names = [view.name for view in views] + [i.name for view in views for i in view.instances]
    return [name for name in names if name.startswith(incomplete)]


def complete_scale(incomplete: str) -> list[str]:
    """What can be scaled."""
    targets = [f"{v.name}:{action}=" for v in _views() for action in ("instances", "memory")]
    return [target for target in targets if target.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(
        help="The service, such as db.", metavar="NAME", autocompletion=complete_services
    ),
]


def open_client() -> Client:
    """The managers that the program's options or variables name, or the daemon of the state
    directory."""
    from hamanager.api.client import Client

    return Client.connect(way=named_way())


def open_local_client(command: str, why: str) -> Client:
    """The daemon of the state directory, for what is done on its machine.

    Raises:
        UsageError: managers elsewhere are named.
    """
    if named_way().managers:
        raise UsageError(
            f"`hamanager {command}` {why}: use it there, without --manager and HAMANAGER_MANAGER;"
            " nothing was done"
        )
    return open_client()


def named_way() -> Way:
    """Which managers the program's options or variables name, and as whom they are asked."""
    from hamanager.api.reach import Way

    return WAY.get() or Way.from_environment()


def settings_of(
    durability: Durability | None,
    down_after: float | None,
    failover_period: float | None,
    allow_drills: bool | None,
    reads: bool | None = None,
    reads_max_lag: float | None = None,
    replace_after: float | None = None,
    canary: bool | None = None,
) -> Settings:
    """The options that were given."""
    return Settings(
        durability=durability,
        down_after_seconds=down_after,
        failover_period_seconds=failover_period,
        allow_drills=allow_drills,
        replace_after_seconds=replace_after,
        canary=canary,
        reads=reads,
        reads_max_lag_seconds=reads_max_lag,
    )


def show(view: ServiceView, output: Output) -> None:
    """What has become of the service."""
    from hamanager.api.goals import summary
    from hamanager.cli import terminal

    terminal.emit(terminal.as_json(view) if output is Output.JSON else f"{summary(view)}\n")


def finish_order(
    client: Client, name: str, number: int, timeout_seconds: float | None, output: Output
) -> None:
    """Wait until the order was carried out or refused, and say what became of it."""
    from hamanager.api.goals import ordered
    from hamanager.cli import terminal

    goals: dict[str, Goal] = {name: ordered(number)}
    [view] = terminal.wait(client, goals, timeout_seconds, quiet=output is Output.JSON)
    assert view.order_result is not None
    if output is Output.JSON:
        terminal.emit(terminal.as_json(view))
    if not view.order_result.ok:
        raise HamanagerError(view.order_result.text)
    if output is Output.TEXT:
        terminal.emit(f"{name}: {view.order_result.text}\n")


def finish(
    client: Client,
    views: Sequence[ServiceView],
    goals: Mapping[str, Goal],
    timeout_seconds: float | None,
    output: Output,
) -> Sequence[ServiceView]:
    """Wait for the goals, if there are any, and say what has become of the services."""
    from hamanager.api.goals import summary
    from hamanager.cli import terminal

    if goals:
        views = terminal.wait(client, goals, timeout_seconds, quiet=output is Output.JSON)
    if output is Output.TEXT:
        later = "" if goals else "; the manager works on it"
        for view in views:
            terminal.emit(f"{summary(view)}{later}\n")
    return views
