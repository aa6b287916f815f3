"""`hamanager drill`: a drill now, drills by schedule, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hamanager.api.grammar import check_service_name
from hamanager.cli.app import (
    NameArgument,
    Output,
    OutputOption,
    complete_services,
    open_client,
    open_local_client,
)
from hamanager.errors import ConflictError, UsageError
from hamanager.model.drill import DrillFault

if TYPE_CHECKING:
    from hamanager.api.drills import ScheduleView

RUN = "run"
DEFAULT_AT = "03:00"
PAUSE_SECONDS = 2.0
SIGNATURE = ".sig"


class _DrillGroup(TyperGroup):
    """`drill db` is short for `drill run db`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in that was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [RUN, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Services, too."""
        every = super().shell_complete(ctx, "")
        item = type(every[0])
        found = [one for one in every if one.value.startswith(incomplete)]
        return [*found, *(item(name) for name in complete_services(incomplete))]


drill_app = typer.Typer(
    cls=_DrillGroup,
    help="Break the primary of a service on purpose, now or by schedule. `drill db` is `drill run"
    " db`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@drill_app.command(RUN)
def run(
    name: NameArgument,
    fault: Annotated[
        DrillFault | None,
        typer.Option(
            help="What is done to the primary (by schedule: kill when left out).",
            case_sensitive=False,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often.", min=1)] = 1,
    pause: Annotated[float | None, typer.Option(help="Seconds between rounds (2).", min=0)] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with timelines.", dir_okay=False)
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="By schedule: so far apart, such as 7d or 12h.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="At that time of day, UTC (03:00).")
    ] = None,
    never: Annotated[bool, typer.Option("--never", help="By schedule no more.")] = False,
    due: Annotated[float | None, typer.Option(hidden=True)] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Break the primary of a service on purpose, and measure what clients notice.

    \b
    Example: hamanager drill db --fault kill --rounds 3 --report drill.html
    Example: hamanager drill db --every 7d --at 03:00
    Only services marked with `hamanager set db --allow-drills`.
    """
    check_service_name(name)
    now_only = report is not None or pause is not None or due is not None
    if never:
        if now_only or every is not None or at is not None or fault is not None:
            raise UsageError("--never takes no other option; nothing was changed")
        with open_client() as client:
            client.never_drill(name)
        typer.echo(f"{name}: no drills by schedule")
        return
    if every is not None:
        if now_only:
            raise UsageError(
                "--report and --pause are for a drill now, not for one by schedule; nothing was"
                " changed"
            )
        _schedule(name, every, at, fault or DrillFault.KILL, rounds, output)
        return
    if at is not None:
        raise UsageError("--at goes with --every, such as --every 7d; nothing was changed")
    if fault is None:
        known = ", ".join(DrillFault)
        raise UsageError(
            f"name what is done to the primary with --fault: {known}; nothing was done"
        )
    from hamanager.cli.drill import run_command

    with open_local_client("drill", "breaks things on the daemon's own machine") as client:
        seconds = PAUSE_SECONDS if pause is None else pause
        raise typer.Exit(run_command(client, name, fault, rounds, seconds, report, output, due))


def _schedule(
    name: str, every: str, at: str | None, fault: DrillFault, rounds: int, output: Output
) -> None:
    from hamanager.api.drills import MOST_ROUNDS, parse_at, parse_every

    seconds, minute = parse_every(every), parse_at(at or DEFAULT_AT)
    if rounds > MOST_ROUNDS:
        raise UsageError(
            f"a drill by schedule has 1 to {MOST_ROUNDS} rounds, not {rounds}; nothing was changed"
        )
    with open_client() as client:
        view = client.schedule_drills(name, seconds, minute, fault, rounds)
    if output is Output.JSON:
        typer.echo(view.model_dump_json(indent=2))
    else:
        typer.echo(_words(view))


@drill_app.command("list")
def list_(output: OutputOption = Output.TEXT) -> None:
    """List the services that are drilled by schedule: when, how, and what came of it last.

    \b
    Example: hamanager drill list
    """
    from hamanager.cli import terminal

    with open_client() as client:
        found = client.drill_schedules()
    if output is Output.JSON:
        typer.echo(terminal.as_json_list(view.model_dump_json() for view in found), nl=False)
        return
    for view in found:
        typer.echo(_words(view))


@drill_app.command("report")
def report_(
    name: NameArgument,
    quarter: Annotated[
        str | None, typer.Option(help="Such as 2026Q4; the present one when left out.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Write it there, JSON when the name ends so and HTML otherwise, and its signature"
            f" beside it as FILE{SIGNATURE}.",
            dir_okay=False,
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What came of a service's drills in a quarter: how many, how long until writes went on, lost.

    \b
    Example: hamanager drill report db --quarter 2026Q4 --file drills.html
    """
    check_service_name(name)
    from hamanager.api.drills import DrillsReport
    from hamanager.cli.drill_text import figures_text

    if file is not None and not file.absolute().parent.is_dir():
        raise UsageError(f"there is no directory {file.absolute().parent}; nothing was written")
    with open_client() as client:
        found = client.drill_report(name, quarter, page=False)
        written = found
        if file is not None and file.suffix.lower() != ".json":
            written = client.drill_report(name, quarter, page=True)
    if file is not None:
        _write(file, written.content, written.signature)
    if output is Output.JSON:
        typer.echo(found.content, nl=False)
        return
    typer.echo(figures_text(DrillsReport.model_validate_json(found.content)), nl=False)
    if file is not None:
        typer.echo(f"written to {file}, its signature to {file}{SIGNATURE}")


@drill_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A report.", metavar="FILE", dir_okay=False)],
    ca: Annotated[
        Path,
        typer.Option(help="The installation's authority: `hamanager ca show`.", dir_okay=False),
    ],
    signature: Annotated[
        Path | None, typer.Option(help=f"Its signature; FILE{SIGNATURE} when left out.")
    ] = None,
) -> None:
    """Check that a report is as the installation's authority signed it; asks no manager.

    \b
    Example: hamanager drill verify drills.html --ca ca.pem
    """
    from hamanager.authority.certificates import described
    from hamanager.authority.signatures import signer_of

    beside = signature or file.with_name(f"{file.name}{SIGNATURE}")
    content, signed, trusted = (_read(path) for path in (file, beside, ca))
    found = signer_of(content, signed, trusted.decode(errors="replace"))
    if found is None:
        raise ConflictError(
            f"{file} is not what the authority in {ca} has signed: it was changed, the signature"
            " is another file's, or the authority another one"
        )
    signer = described(found)
    typer.echo(f"{file}: as signed by {signer.name}, SHA-256 {signer.fingerprint}")


def _words(view: ScheduleView) -> str:
    from hamanager.formats import count, moment

    hours, days = view.every_seconds // 3600, view.every_seconds // 86400
    every = count(days, "day") if view.every_seconds % 86400 == 0 else count(hours, "hour")
    last = "; never yet"
    if view.last is not None:
        last = f"; last {moment(view.last.at)}: {view.last.outcome}"
    going = "; one is under way" if view.under_way else ""
    return (
        f"{view.service}: {view.fault}, {count(view.rounds, 'round')}, every {every} from"
        f" {view.at} UTC; next {moment(view.next_at)}{going}{last}"
    )


def _write(file: Path, content: str, signature: str) -> None:
    import base64

    try:
        file.write_bytes(content.encode())
        file.with_name(f"{file.name}{SIGNATURE}").write_bytes(base64.b64decode(signature))
    except OSError as error:
        raise ConflictError(
            f"the report could not be written to {file} ({error.strerror}): name a file that can be"
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); nothing was checked") from None
