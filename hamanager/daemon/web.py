"""`serve --web`: what monitoring and load balancers ask over plain HTTP, without a token: metrics,
where the servers are, which of them is fit for what. No secret is among it, and nothing changes.

At an address of this machine's own also the page for people, and the API, which lets in with a
token."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict
from starlette.routing import Mount

from hamanager.daemon.document_page import document_page
from hamanager.daemon.documented import PAGE as PAGE_OF_API
from hamanager.daemon.documented import V1, Documented, problems, told
from hamanager.daemon.event_routes import end_events
from hamanager.daemon.listening import listening
from hamanager.daemon.metrics import CONTENT_TYPE, Metrics, Watched
from hamanager.decide.fitness import Check, unfit
from hamanager.decide.situation import Situation
from hamanager.errors import HamanagerError, NotFoundError

log = logging.getLogger("hamanager")

GRACE_SECONDS = 1
CONNECTIONS = 512
PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
OTHER_METHODS = ["HEAD", "OPTIONS"]
"""Load balancers ask by any of these, too; the answer is the same as to GET."""
FITNESS = f"{V1}/services/{{name}}/instances/{{instance}}/{{check}}"


class WebPort(Protocol):
    """What is asked of the manager."""

    def situation(self, name: str) -> Situation:
        """The service as it was seen last, some seconds ago at the most.

        Raises:
            NotFoundError: there is none of that name.
            HamanagerError: it cannot be told now.
        """
        ...

    def watched(self) -> Mapping[str, Watched]:
        """The services that this manager watches."""
        ...

    def problem(self) -> str:
        """Why this manager cannot act now; '' when it can."""
        ...


class _View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Group(_View):
    """Targets with their labels, as Prometheus discovers them over HTTP."""

    targets: list[str]
    labels: dict[str, str]


class Living(_View):
    """It runs."""

    status: str


class Ready(_View):
    """Whether it can act."""

    status: str
    reason: str
    """Why it cannot; '' when it can."""


class Fitness(_View):
    """An instance's answer to a check."""

    service: str
    instance: str
    check: Check
    fit: bool
    reason: str
    """Why it is not; '' when it is."""


def make_web(manager: WebPort, metrics: Metrics, api: FastAPI | None = None) -> FastAPI:
    """The application; `api`: with the page, which asks that for what it shows."""
    app = Documented(
        "hamanager, for monitoring and load balancers",
        "What is asked by GET, without a token: it holds no secret and changes nothing",
    )

    @app.get(PAGE_OF_API, include_in_schema=False)
    def docs() -> HTMLResponse:
        documents = {"": app.openapi()}
        return document_page(documents if api is None else {**documents, "/api": api.openapi()})

    @app.get("/metrics", tags=["monitoring"], response_class=PlainTextResponse)
    def scraped() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/sd", tags=["monitoring"])
    def discovered() -> list[Group]:
        """Where the servers are, as Prometheus discovers them over HTTP."""
        return [
            Group(
                targets=[instance.address],
                labels={"service": name, "instance": instance.name, "engine": facts.spec.engine},
            )
            for name, one in sorted(manager.watched().items())
            if (facts := one.facts) is not None
            for instance in facts.record.instances
        ]

    @app.api_route("/health/live", methods=OTHER_METHODS, include_in_schema=False)
    @app.get("/health/live", tags=["health"])
    def live() -> Living:
        """Whether this manager runs."""
        return Living(status="alive")

    @app.api_route("/health/ready", methods=OTHER_METHODS, include_in_schema=False)
    @app.get("/health/ready", tags=["health"], responses=_refusals(Ready, "It cannot act now"))
    def ready(response: Response) -> Ready:
        """Whether this manager can act."""
        problem = manager.problem()
        if problem:
            response.status_code = 503
        return Ready(status="not ready" if problem else "ready", reason=problem)

    @app.api_route(FITNESS, methods=OTHER_METHODS, include_in_schema=False)
    @app.get(
        FITNESS,
        tags=["health"],
        responses={**_refusals(Fitness, "It is not fit for that"), **problems(404)},
    )
    def fitness(
        name: str,
        instance: str,
        check: Check,
        response: Response,
        lag: Annotated[float | None, Query(ge=0, description="Seconds behind at the most")] = None,
    ) -> Fitness:
        """Whether an instance is fit for what a load balancer would send there."""
        reason = _unfit(manager, name, instance, check, lag)
        response.status_code = 503 if reason else 200
        return Fitness(service=name, instance=instance, check=check, fit=not reason, reason=reason)

    @app.exception_handler(NotFoundError)
    def unknown(request: Request, error: NotFoundError) -> JSONResponse:  # noqa: ARG001
        return told(404, str(error), error.exit_code)

    if api is not None:
        app.mount("/api", api)
        app.mount("/", _Page(directory=PAGE, html=True))
    return app


class _Page(StaticFiles):
    """Files that load nothing from elsewhere and are shown in no other page."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """One of them."""
        answer = super().file_response(*arguments, **named)
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _refusals(model: type[BaseModel], why: str) -> dict[int | str, dict[str, Any]]:
    return {503: {"model": model, "description": f"{why}; the reason is told"}}


def is_local(host: str) -> bool:
    """Whether only this machine reaches that address: elsewhere no token is taken in clear."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unfit(manager: WebPort, name: str, instance: str, check: Check, lag: float | None) -> str:
    try:
        situation = manager.situation(name)
    except NotFoundError:
        raise
    except HamanagerError as error:
        return str(error)
    if situation.record.instance(instance) is None:
        raise NotFoundError(f"there is no instance '{instance}' of '{name}'")
    return unfit(situation, instance, check, lag)


@contextmanager
def serving(address: tuple[str, int] | None, app: FastAPI) -> Iterator[int]:
    """Offer it there, in a thread of its own, for as long as the context lasts; the port (0 when no
    address is wanted).

    Raises:
        ConflictError: the address cannot be had.
    """
    if address is None:
        yield 0
        return
    with listening(*address, "metrics and health", "--web") as listener:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True
        )
        thread.start()
        port = int(listener.getsockname()[1])
        log.info("metrics and health are offered at http://%s:%d", address[0], port)
        try:
            yield port
        finally:
            for mounted in app.routes:
                if isinstance(mounted, Mount) and isinstance(mounted.app, FastAPI):
                    end_events(mounted.app)
            server.should_exit = True
            thread.join(GRACE_SECONDS + 2)
