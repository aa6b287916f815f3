"""Commands that explain: why the manager does what it does, and what it would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from hamanager.api.grammar import check_service_name
from hamanager.cli.app import NameArgument, Output, OutputOption, open_client
from hamanager.errors import UsageError

_TIMES = ("%H:%M", "%H:%M:%S")


def why(
    name: NameArgument,
    at: Annotated[
        str | None,
        typer.Option(help="What was decided then: `14:03:10` of today or a date and time, in UTC."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="What was decided in that run (named by `why`).")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every rule, also those far from applying.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell why the manager does, or did, what it does, and what would have made it act otherwise.

    \b
    Example: hamanager why db --at 03:12
    """
    check_service_name(name)
    if at is not None and run is not None:
        raise UsageError("say --at or --run, not both")
    now = datetime.now(UTC)
    moment = min(_moment(at, now), now.timestamp()) if at is not None else None
    with open_client() as client:
        found = client.reasons(name, moment, run)
    from hamanager.cli import terminal
    from hamanager.cli.reasons_text import reasons_text

    if output is Output.JSON:
        typer.echo(terminal.as_json(found), nl=False)
    else:
        terminal.emit(reasons_text(found, every=every, asked_about=moment))


def what_if(
    name: NameArgument,
    kill: Annotated[list[str] | None, typer.Option(help="An instance whose process ends.")] = None,
    hang: Annotated[
        list[str] | None, typer.Option(help="One that runs on and answers nobody.")
    ] = None,
    partition: Annotated[
        list[str] | None, typer.Option(help="One that nobody reaches, nor its host.")
    ] = None,
    and_: Annotated[
        list[str] | None, typer.Option("--and", help="Another one that fails in the same way.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell what would happen if instances failed now, and what would be lost; nothing is touched.

    \b
    Example: hamanager what-if db --kill db.0 --and db.1
    """
    check_service_name(name)
    from hamanager.api.reasons import Fault, FaultKind

    chosen = {
        FaultKind.KILL: list(kill or ()),
        FaultKind.HANG: list(hang or ()),
        FaultKind.PARTITION: list(partition or ()),
    }
    kinds = [kind for kind, names in chosen.items() if names]
    if and_:
        if len(kinds) != 1:
            raise UsageError(
                "--and takes the kind of the other failure: name one kind, as in"
                f" `hamanager what-if {name} --kill {name}.0 --and {name}.1`"
            )
        chosen[kinds[0]] += and_
    faults = [Fault(kind=kind, instance=one) for kind, names in chosen.items() for one in names]
    with open_client() as client:
        found = client.forecast(name, faults)
    from hamanager.cli import terminal
    from hamanager.cli.reasons_text import forecast_text

    text = terminal.as_json(found) if output is Output.JSON else forecast_text(found)
    terminal.emit(text)


def _moment(text: str, now: datetime) -> float:
    """Seconds since the epoch.

    Raises:
        UsageError: it is no time.
    """
    for form in _TIMES:
        try:
            time = datetime.strptime(text, form).replace(tzinfo=UTC).time()
        except ValueError:
            continue
        # To the end of what was said: `03:12` is all of that minute.
        last = time.replace(second=59) if form == _TIMES[0] else time
        return datetime.combine(now.date(), last.replace(microsecond=999_999), UTC).timestamp()
    try:
        found = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        raise UsageError(
            f"'{text}' is no time: `14:03`, `14:03:10` or `2026-01-31 14:03:10`, in UTC, as"
            " `hamanager history` has it"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    # To the end of what was said, unless it was said to the millisecond.
    return found.replace(microsecond=found.microsecond or 999_999).timestamp()
