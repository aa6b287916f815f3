"""The HTTP API of the daemon, served over its Unix socket and, when wanted, over TLS: the same that
the commands use. Over TLS a gate lets known callers in only.

Errors are `{"error": "one sentence", "exit_code": 1 or 2}`, never a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from hamanager.api.views import ManagerView
from hamanager.contracts.routes import Told
from hamanager.daemon import service_routes
from hamanager.daemon.command_routes import add_commands
from hamanager.daemon.commands import Commands
from hamanager.daemon.credentials import CredentialsPort, add_credentials
from hamanager.daemon.document_page import document_page
from hamanager.daemon.documented import PAGE, V1, Documented, problems, told
from hamanager.daemon.drill_routes import DrillsPort, add_drills
from hamanager.daemon.event_routes import add_events
from hamanager.daemon.gate import ROLES, Gate, NotAllowedError, check_role
from hamanager.daemon.host_routes import add_hosts
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.reason_routes import add_reasons
from hamanager.daemon.service_routes import add_services, shown
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, UsageError

log = logging.getLogger("hamanager")

LONGEST_WAIT_SECONDS = 30.0
"""For news of where clients are led."""
STATUS_CODES: tuple[tuple[type[HamanagerError], int], ...] = (
    (UsageError, 400),
    (NotFoundError, 404),
    (ConflictError, 409),
    (NotAllowedError, 403),
    (HamanagerError, 500),
)


class QueriesPort(service_routes.QueriesPort, Protocol):
    """What the API asks."""

    def managers(self) -> Sequence[ManagerView]:
        """All managers of the installation."""
        ...


class RoutesPort(Protocol):
    """Where clients are led."""

    async def told(self, after: int, seconds: float) -> Told:
        """What was published later than that version; waits for it so long at the most."""
        ...


class ManagerPort(CredentialsPort, DrillsPort, Protocol):
    """What the API needs of the daemon."""

    @property
    def commands(self) -> Commands:
        """What operators can ask for."""
        ...

    @property
    def hosts(self) -> Hosts:
        """Where instances can run."""
        ...

    @property
    def queries(self) -> QueriesPort:
        """What can be asked."""
        ...

    @property
    def routes(self) -> RoutesPort:
        """Where clients are led, for whoever follows."""
        ...

    def wake(self, name: str) -> None:
        """Let the loop observe that service now."""
        ...


class Health(BaseModel):
    """The daemon answers."""

    status: str = "ok"
    version: str


class Unversioned:
    """Paths without a version, as managers, proxies and commands of before ask, lead where they
    always led."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        root = scope.get("root_path", "")
        path = scope.get("path", "").removeprefix(root)
        if scope["type"] == "http" and not path.startswith(f"{V1}/"):
            scope = {**scope, "path": f"{root}{V1}{path}"}
        await self._app(scope, receive, send)


def make_app(manager: ManagerPort, *, gated: bool = False) -> FastAPI:
    """The application for that manager; with a gate where others than its own user can come."""
    app = Documented(
        "hamanager",
        "What the commands ask, and programs can ask, of a manager",
        ROLES,
        dependencies=[Depends(check_role)],
        responses=problems(401, 403, 500),
    )
    if gated:
        app.add_middleware(Gate, token_owner=manager.tokens.owner)
    app.add_middleware(Unversioned)
    _add_error_handlers(app)
    add_services(app, manager)
    add_commands(app, manager)
    add_reasons(app, manager)
    add_drills(app, manager)
    add_events(app, lambda: [shown(view) for view in manager.queries.views()])
    add_hosts(app, manager)
    add_credentials(app, manager)
    _add_managers(app, manager)
    _add_page(app)
    return app


def _add_managers(app: FastAPI, manager: ManagerPort) -> None:
    @app.get("/v1/health", tags=["managers"])
    def health() -> Health:
        """Whether this manager answers."""
        return Health(version=app.version)

    @app.get("/v1/managers", tags=["managers"])
    def managers() -> list[ManagerView]:
        """All managers of the installation."""
        return list(manager.queries.managers())

    @app.get("/v1/routes", tags=["managers"])
    async def routes(
        after: Annotated[int, Query(ge=0, description="A version: only what is later")] = 0,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds, for news")
        ] = 0,
    ) -> Told:
        """Where clients are led, for whoever keeps the addresses on another machine."""
        return await manager.routes.told(after, wait)


def _add_page(app: FastAPI) -> None:
    @app.get(PAGE, include_in_schema=False)
    def docs() -> HTMLResponse:
        return document_page({"": app.openapi()})


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HamanagerError)
    def expected(request: Request, error: HamanagerError) -> JSONResponse:  # noqa: ARG001
        code = next(code for kind, code in STATUS_CODES if isinstance(error, kind))
        return told(code, str(error), error.exit_code)

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> JSONResponse:
        wanted = f"{request.method} {request.url.path}"
        return told(error.status_code, f"there is no {wanted}: {error.detail}", 2)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return told(500, "the daemon met an unexpected error; its log says which", 1)
