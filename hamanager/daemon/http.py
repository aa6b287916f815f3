"""The HTTP API of the daemon, served over its Unix socket and, when wanted, over TLS: the same that
the commands use. Over TLS a gate lets known callers in only.

Errors are `{"error": "one sentence", "exit_code": 1 or 2}`, never a traceback.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from hamanager.api.environment import ConnectionView
from hamanager.api.grammar import ScaleRequest
from hamanager.api.views import ManagerView, ServiceView
from hamanager.contracts.routes import Told
from hamanager.contracts.runtime import LogLine
from hamanager.daemon.callers import CALLER
from hamanager.daemon.commands import Commands
from hamanager.daemon.credentials import CredentialsPort, add_credentials
from hamanager.daemon.event_routes import add_events
from hamanager.daemon.gate import ORDERS, Gate, NotAllowedError, check_role, demand
from hamanager.daemon.host_routes import add_hosts
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.reason_routes import ReasonsPort, add_reasons
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, UsageError
from hamanager.model.access import AccessRole
from hamanager.model.history import HistoryEntry
from hamanager.model.order import OrderKind
from hamanager.model.settings import Settings
from hamanager.model.shell import ShellView
from hamanager.version import program_version

log = logging.getLogger("hamanager")

_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")

LONGEST_WAIT_SECONDS = 30.0
"""For news of where clients are led."""
STATUS_CODES: tuple[tuple[type[HamanagerError], int], ...] = (
    (UsageError, 400),
    (NotFoundError, 404),
    (ConflictError, 409),
    (NotAllowedError, 403),
    (HamanagerError, 500),
)


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

    def managers(self) -> Sequence[ManagerView]:
        """All managers of the installation."""
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


class RoutesPort(Protocol):
    """Where clients are led."""

    async def told(self, after: int, seconds: float) -> Told:
        """What was published later than that version; waits for it so long at the most."""
        ...


class ManagerPort(CredentialsPort, Protocol):
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


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateBody(_Body):
    """A new service."""

    name: str
    engine: str
    instances: int = 1
    memory_bytes: int | None = None
    image: str | None = None
    port: int | None = None
    health_path: str | None = None
    """Of a service without data."""
    allow_large: bool = False
    """Whether more than 4 GB of memory are meant."""
    settings: Settings = Settings()


class ScaleTarget(_Body):
    """One target; what is null stays as it is."""

    service: str
    instances: int | None = None
    memory_bytes: int | None = None


class ScaleBody(_Body):
    """All targets of one command: carried out together or not at all."""

    targets: list[ScaleTarget]
    allow_large: bool = False


class OrderBody(_Body):
    """A one-time order."""

    kind: OrderKind
    to: str | None = None
    patience_seconds: float = 5.0
    kill: bool = True


class PauseBody(_Body):
    """Whether the manager only observes."""

    paused: bool


class UpgradeBody(_Body):
    """To which image; null is the one that a new service would get."""

    image: str | None = None


class Upgraded(BaseModel):
    """What becomes of it, in a sentence; how far it is stands in the service's `upgrade`."""

    text: str


class Ordered(BaseModel):
    """The order was taken; what becomes of it is in the service's `order_result`."""

    number: int


class RestartBody(_Body):
    """Which instance to restart."""

    instance: str


class Health(BaseModel):
    """The daemon answers."""

    status: str = "ok"
    version: str


def make_app(manager: ManagerPort, *, gated: bool = False) -> FastAPI:
    """The application for that manager; with a gate where others than its own user can come."""
    app = FastAPI(
        title="hamanager",
        version=program_version(),
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(check_role)],
    )
    if gated:
        app.add_middleware(Gate, token_owner=manager.tokens.owner)
    _add_error_handlers(app)
    _add_queries(app, manager)
    _add_commands(app, manager)
    add_credentials(app, manager)
    _add_routes(app, manager)
    add_hosts(app, manager)
    add_reasons(app, manager)
    add_events(app, lambda: [_shown(view) for view in manager.queries.views()])
    return app


def _add_queries(app: FastAPI, manager: ManagerPort) -> None:
    @app.get("/health")
    def health() -> Health:
        return Health(version=app.version)

    @app.get("/services")
    def services() -> list[ServiceView]:
        return [_shown(view) for view in manager.queries.views()]

    @app.get("/managers")
    def managers() -> list[ManagerView]:
        return list(manager.queries.managers())

    @app.get("/services/{name}")
    def service(name: str) -> ServiceView:
        return _shown(manager.queries.view(name))

    @app.get("/services/{name}/status")
    def status(name: str) -> ServiceView:
        return _shown(manager.queries.probe(name))

    @app.get("/services/{name}/connection")
    def connection(name: str) -> ConnectionView:
        return manager.queries.connection(name)

    @app.get("/services/{name}/shell")
    def shell(name: str, instance: str | None = None) -> ShellView:
        return manager.queries.shell(name, instance)

    @app.get("/services/{name}/logs")
    def logs(
        name: str,
        instance: str,
        lines: Annotated[int, Query(ge=1, le=10_000)] = 100,
        after: str = "",
    ) -> list[LogLine]:
        return list(manager.queries.logs(name, instance, lines, after))

    @app.get("/services/{name}/history", response_model_exclude={"__all__": {"seen"}})
    def history(
        name: str, limit: Annotated[int | None, Query(ge=1, le=1_000_000)] = None
    ) -> list[HistoryEntry]:
        entries = list(manager.queries.history(name, limit))
        if not entries:
            manager.queries.view(name)  # tells a service without a history from none
        return entries


def _add_commands(app: FastAPI, manager: ManagerPort) -> None:
    @app.post("/services", status_code=201)
    def create(body: CreateBody) -> ServiceView:
        manager.commands.create(**{**body.model_dump(), "settings": body.settings})
        manager.wake(body.name)
        return manager.queries.view(body.name)

    @app.post("/scale")
    def scale(body: ScaleBody) -> list[ServiceView]:
        requests = [ScaleRequest(**target.model_dump()) for target in body.targets]
        names = manager.commands.scale(requests, allow_large=body.allow_large)
        for name in names:
            manager.wake(name)
        return [manager.queries.view(name) for name in names]

    @app.post("/services/{name}/restart")
    def restart(name: str, body: RestartBody) -> ServiceView:
        if not body.instance.startswith(f"{name}."):
            raise UsageError(f"'{body.instance}' is not an instance of '{name}'")
        manager.commands.restart(body.instance)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post("/services/{name}/upgrade", status_code=202)
    def upgrade(name: str, body: UpgradeBody) -> Upgraded:
        text = manager.commands.upgrade(name, body.image)
        manager.wake(name)
        return Upgraded(text=text)

    @app.post("/services/{name}/settings")
    def settings(name: str, body: Settings) -> ServiceView:
        manager.commands.change_settings(name, body)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post("/services/{name}/pause")
    def pause(name: str, body: PauseBody) -> ServiceView:
        manager.commands.pause(name, paused=body.paused)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post("/services/{name}/orders", status_code=202)
    def order(name: str, body: OrderBody) -> Ordered:
        demand(ORDERS[body.kind], f"{body.kind} {name}")
        number = manager.commands.order(
            name, body.kind, body.to, body.patience_seconds, kill=body.kill
        )
        manager.wake(name)
        return Ordered(number=number)

    @app.delete("/services/{name}", status_code=202)
    def destroy(name: str) -> dict[str, str]:
        manager.commands.destroy(name)
        manager.wake(name)
        return {"destroying": name}


def _shown(view: ServiceView) -> ServiceView:
    """What the caller may see of it: the URL with its password is for those who may operate."""
    if view.url is None or CALLER.get().role.includes(AccessRole.OPERATE):
        return view
    return ServiceView.model_construct(**{**vars(view), "url": _PASSWORD.sub(r"\1***@", view.url)})


def _add_routes(app: FastAPI, manager: ManagerPort) -> None:
    @app.get("/routes")
    async def routes(
        after: Annotated[int, Query(ge=0)] = 0,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS)] = 0,
    ) -> Told:
        return await manager.routes.told(after, wait)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HamanagerError)
    def expected(request: Request, error: HamanagerError) -> JSONResponse:  # noqa: ARG001
        code = next(code for kind, code in STATUS_CODES if isinstance(error, kind))
        return _answer(code, str(error), error.exit_code)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:  # noqa: ARG001
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        problem = str(first["msg"])
        problem = problem[:1].lower() + problem[1:]
        return _answer(400, f"the request's {where or 'body'} is wrong: {problem}", 2)

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> JSONResponse:
        wanted = f"{request.method} {request.url.path}"
        return _answer(error.status_code, f"there is no {wanted}: {error.detail}", 2)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _answer(500, "the daemon met an unexpected error; its log says which", 1)


def _answer(status_code: int, sentence: str, exit_code: int) -> JSONResponse:
    return JSONResponse({"error": sentence, "exit_code": exit_code}, status_code)
