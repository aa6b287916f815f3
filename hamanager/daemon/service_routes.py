"""The API's part about services, as far as it tells of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Protocol

from fastapi import FastAPI, Query

from hamanager.api.environment import ConnectionView
from hamanager.api.views import ServiceView
from hamanager.contracts.runtime import LogLine
from hamanager.daemon.callers import CALLER
from hamanager.daemon.documented import problems
from hamanager.daemon.reason_routes import ReasonsPort
from hamanager.model.access import AccessRole
from hamanager.model.history import HistoryEntry
from hamanager.model.shell import ShellView

_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")

TAGS: list[str | Enum] = ["services"]


class QueriesPort(ReasonsPort, Protocol):
    """What the API asks."""

    def view(self, name: str) -> ServiceView:
        """One service as last seen.

        Raises:
            NotFoundError: there is none of that name.
        """
        ...

    def views(self) -> Sequence[ServiceView]:
        """Every service as last seen."""
        ...

    def probe(self, name: str) -> ServiceView:
        """One service from an observation taken now.

        Raises:
            NotFoundError: there is none of that name.
        """
        ...

    def history(self, name: str, limit: int | None = None) -> Sequence[HistoryEntry]:
        """The newest entries, oldest first; also of a service that is no more."""
        ...

    def connection(self, name: str) -> ConnectionView:
        """How applications connect.

        Raises:
            NotFoundError: there is no such service, or nothing to connect to yet.
        """
        ...

    def shell(self, name: str, instance: str | None) -> ShellView:
        """Where and how a command is run in the primary, or in that instance.

        Raises:
            NotFoundError: there is no such service, or no such instance in it.
        """
        ...

    def logs(self, name: str, instance: str, lines: int, after: str) -> Sequence[LogLine]:
        """The last lines that an instance wrote.

        Raises:
            NotFoundError: there is no such instance.
        """
        ...


class _Manager(Protocol):
    @property
    def queries(self) -> QueriesPort: ...


def add_services(app: FastAPI, manager: _Manager) -> None:
    """The routes."""

    @app.get("/v1/services", tags=TAGS)
    def services() -> list[ServiceView]:
        """All services, as they were seen last."""
        return [shown(view) for view in manager.queries.views()]

    @app.get("/v1/services/{name}", tags=TAGS, responses=problems(404))
    def service(name: str) -> ServiceView:
        """One service, as it was seen last."""
        return shown(manager.queries.view(name))

    @app.get("/v1/services/{name}/status", tags=TAGS, responses=problems(404, 409))
    def status(name: str) -> ServiceView:
        """One service, from a look taken now."""
        return shown(manager.queries.probe(name))

    @app.get("/v1/services/{name}/connection", tags=TAGS, responses=problems(404, 409))
    def connection(name: str) -> ConnectionView:
        """How applications connect, with the password."""
        return manager.queries.connection(name)

    @app.get("/v1/services/{name}/shell", tags=TAGS, responses=problems(404, 409))
    def shell(name: str, instance: str | None = None) -> ShellView:
        """Where and how a command is run in an instance; without one named, in the primary."""
        return manager.queries.shell(name, instance)

    @app.get("/v1/services/{name}/logs", tags=TAGS, responses=problems(404))
    def logs(
        name: str,
        instance: str,
        lines: Annotated[int, Query(ge=1, le=10_000)] = 100,
        after: Annotated[str, Query(description="A line's time: only later ones")] = "",
    ) -> list[LogLine]:
        """The last lines that an instance wrote."""
        return list(manager.queries.logs(name, instance, lines, after))

    @app.get(
        "/v1/services/{name}/history",
        response_model_exclude={"__all__": {"seen"}},
        tags=TAGS,
        responses=problems(404),
    )
    def history(
        name: str, limit: Annotated[int | None, Query(ge=1, le=1_000_000)] = None
    ) -> list[HistoryEntry]:
        """What happened to a service, oldest first; also of one that is no more."""
        entries = list(manager.queries.history(name, limit))
        if not entries:
            manager.queries.view(name)  # tells a service without a history from none
        return entries


def shown(view: ServiceView) -> ServiceView:
    """What the caller may see of it: the URL with its password is for those who may operate."""
    if view.url is None or CALLER.get().role.includes(AccessRole.OPERATE):
        return view
    return ServiceView.model_construct(**{**vars(view), "url": _PASSWORD.sub(r"\1***@", view.url)})
