"""The texts of `status`, `history`, progress and the list of services. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from hamanager import formats
from hamanager.api.views import (
    InstanceState,
    ServiceState,
    ServiceView,
    SyncView,
)
from hamanager.cli.info_text import lag_words, limit_words, progress, reserved_bytes
from hamanager.model.history import HistoryEntry

_UNWRAPPED = 100_000
"""Columns: tables are never cut."""

# --- info without a name ------------------------------------------------------------------------


def services_table(views: Sequence[ServiceView]) -> Table:
    """All services, one a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("NAME", "TYPE", "INSTANCES", "STATE", "MEMORY"):
        table.add_column(title, no_wrap=True)
    for view in views:
        up = sum(i.state is InstanceState.UP for i in view.instances)
        wanted = view.desired.instances
        size = str(wanted) if up == wanted else f"{up} of {wanted} up"
        table.add_row(
            view.name,
            view.engine,
            "?" if view.state is ServiceState.UNMANAGED else size,
            "destroying" if view.destroying else str(view.state),
            limit_words(reserved_bytes(view)),
        )
    return table


def services_text(views: Sequence[ServiceView]) -> str:
    """The same without colours, one line for each service whatever the width."""
    if not views:
        return "there are no services; `hamanager create db --engine mysql` makes one\n"
    console = Console(width=_UNWRAPPED, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(services_table(views))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


# --- status -------------------------------------------------------------------------------------


def status_text(view: ServiceView) -> str:
    """Each instance as just probed, with what its engine says beneath."""
    lines: list[str] = []
    for instance in view.instances:
        lines.append(f"{instance.name}: {instance.state}")
        about: dict[str, str] = {"role": instance.role, "address": instance.address}
        if instance.role == "standby":
            about["replication lag"] = lag_words(instance, view.at)
        about.update({k: str(v) for k, v in progress(instance.sync).items()})
        about.update({k.replace("_", " "): v for k, v in instance.facts.items()})
        if instance.detail:
            about["detail"] = instance.detail
        lines += [f"    {key}: {value}" for key, value in about.items()]
    if not lines:
        lines = [f"{view.name} has no instances yet"]
    return "\n".join(lines) + "\n"


# --- history ------------------------------------------------------------------------------------


def history_text(entries: Sequence[HistoryEntry]) -> str:
    """Per run: when, what, why, the numbered steps with their durations, the outcome."""
    runs: dict[str, list[HistoryEntry]] = {}
    for number, entry in enumerate(entries):
        runs.setdefault(entry.run or f"alone-{number}", []).append(entry)
    return "".join(f"{line}\n" for run in runs.values() for line in _run_lines(run))


def _run_lines(run: Sequence[HistoryEntry]) -> list[str]:
    lines = []
    if run[0].kind in ("step", "outcome"):
        lines.append(f"{formats.moment(run[0].at)}  {run[0].playbook} (began further back)")
    for entry in run:
        took = f"  ({formats.stopwatch(entry.seconds)})" if entry.seconds is not None else ""
        failed = "" if entry.ok else "FAILED: "
        if entry.kind == "step":
            lines.append(f"    {entry.number}. {failed}{entry.text}{took}")
        elif entry.kind == "outcome":
            lines.append(f"    {'done' if entry.ok else 'failed'}{took}")
        else:
            what = f"{entry.by or 'an operator'} asked: " if entry.kind == "command" else ""
            lines.append(f"{formats.moment(entry.at)}  {failed}{what}{entry.text}{took}")
    return lines


def failover_assessment(view: ServiceView, to: str | None) -> str:
    """One sentence: what a forced failover would do and may cost."""
    lacking = {resort.instance: resort.may_lack for resort in view.last_resorts}
    chosen = to or next(iter(lacking), None)
    others = [i for i in view.instances if i.state is InstanceState.DOWN]
    if chosen is None and view.state in (ServiceState.RUNNING, ServiceState.DEGRADED):
        return f"{view.primary} leads, or a standby can take over without loss by itself"
    if view.topology == "replica-set":
        gone = " and ".join(i.name for i in others) or "nobody else"
        return (
            f"{chosen or 'the best member'} would lead without the agreement of a majority, and"
            f" what only {gone} had would be lost"
        )
    chosen = chosen or "no standby that answers"
    lacks = lacking.get(chosen) or "an unknown number of acknowledged writes"
    return f"{chosen} would be promoted, and may lack {lacks}, which would be lost"


# --- Progress -----------------------------------------------------------------------------------


def progress_words(sync: SyncView) -> str:
    """`51%, 120MB of 235MB, 80MB/s, 2s left`: what is known of it."""
    shown = progress(sync)
    words = [str(shown[key]) for key in ("percent", "bytes", "rate") if key in shown]
    if "remaining" in shown:
        words.append(f"{shown['remaining']} left")
    return ", ".join(words)
