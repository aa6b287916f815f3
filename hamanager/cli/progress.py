"""Wait until a spec has come true, and show how far it is.

On a terminal a live bar for each copy; elsewhere a line when a stage, a tenth or a state changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hamanager.api.client import Client, NoDaemonError
from hamanager.api.goals import Goal
from hamanager.api.views import ServiceState, ServiceView
from hamanager.cli.text import progress_words
from hamanager.errors import HamanagerError, NotFoundError

POLL_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 24 * 3600.0
DAEMON_GONE_SECONDS = 30.0
"""A daemon that is being restarted is back sooner."""
QUIET_SECONDS = 10.0
"""When nothing has changed for so long, the manager's message says what it waits for."""


class Display(Protocol):
    """Shows the progress; a context manager."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, view: ServiceView) -> None:
        """What was just seen."""
        ...


def wait_for(
    client: Client,
    goals: Mapping[str, Goal],
    display: Display,
    timeout_seconds: float | None = None,
) -> list[ServiceView]:
    """Poll until every service has reached its goal; the views then, in that order.

    Raises:
        HamanagerError: it took longer than `timeout_seconds`, or the daemon is gone.
        NotFoundError: a service is gone.
    """
    reached: dict[str, ServiceView] = {}

    def look() -> str:
        waited_for = ""
        for name in [name for name in goals if name not in reached]:
            view = client.view(name)
            display.show(view)
            if view.state is ServiceState.UNMANAGED:
                raise HamanagerError(view.message)
            if goals[name](view):
                reached[name] = view
            else:
                waited_for = f"{name}: {view.message or view.state}"
        return waited_for

    _poll(look, display, timeout_seconds)
    return [reached[name] for name in goals]


def wait_until_gone(
    client: Client, name: str, display: Display, timeout_seconds: float | None = None
) -> None:
    """Poll until that service is no more (or is a new one already); errors as above."""

    def look() -> str:
        try:
            view = client.view(name)
        except NotFoundError:
            return ""
        display.show(view)
        return f"{name}: {view.message or 'still there'}" if view.destroying else ""

    _poll(look, display, timeout_seconds)


def _poll(look: Callable[[], str], display: Display, timeout_seconds: float | None) -> None:
    """Call `look` until it returns '' instead of what it still waits for."""
    bound = LONGEST_WAIT_SECONDS if timeout_seconds is None else timeout_seconds
    last_answer = time.monotonic()
    deadline = last_answer + bound
    waited_for = "the daemon does not answer"
    with display:
        while True:
            try:
                waited_for = look()
                last_answer = time.monotonic()
            except NoDaemonError as error:
                if time.monotonic() - last_answer > DAEMON_GONE_SECONDS:
                    raise NoDaemonError(
                        f"{error}; what was asked for is kept and goes on when it runs again"
                    ) from None
            if not waited_for:
                return
            if time.monotonic() > deadline:
                raise HamanagerError(
                    f"not finished within {bound:g} s; the manager goes on with it ({waited_for})"
                )
            time.sleep(POLL_SECONDS)


class PlainDisplay:
    """Lines, for pipes and files."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: dict[str, str] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, view: ServiceView) -> None:
        """A line for each instance whose state, stage or tenth changed."""
        for instance in view.instances:
            sync = instance.sync
            if sync is None:
                self._line(instance.name, str(instance.state), f"{instance.name}: {instance.state}")
                continue
            tenth = "" if sync.percent is None else str(int(sync.percent // 10))
            self._line(
                instance.name,
                f"{sync.stage} {tenth}",
                f"{instance.name}: {sync.stage} {progress_words(sync)}".rstrip(),
            )
        if view.message and time.monotonic() - self._last_line > QUIET_SECONDS:
            self._line(f"message of {view.name}", view.message, f"{view.name}: {view.message}")

    def _line(self, key: str, changed: str, line: str) -> None:
        if self._shown.get(key) != changed:
            self._shown[key] = changed
            self._last_line = time.monotonic()
            self._write(line)


class LiveDisplay:
    """Bars, for terminals: one for each service, one for each copy under way."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, view: ServiceView) -> None:
        """Bring the bars up to date."""
        self._bar(view.name, view.name, None, view.message or str(view.state))
        copying = {i.name: i.sync for i in view.instances if i.sync is not None}
        for name, sync in copying.items():
            self._bar(name, f"{name} {sync.stage}", sync.percent, progress_words(sync))
        for name in [n for n in self._tasks if n.startswith(f"{view.name}.") and n not in copying]:
            self._progress.remove_task(self._tasks.pop(name))

    def _bar(self, key: str, title: str, percent: float | None, words: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(title, total=None, words=words)
        # Without a total the bar moves to and fro.
        self._progress.update(
            self._tasks[key],
            description=title,
            total=None if percent is None else 100.0,
            completed=percent or 0.0,
            words=words,
        )


def display_for(console: Console, write: Callable[[str], None]) -> Display:
    """The one that fits where the output goes."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(write)
