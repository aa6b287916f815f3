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
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.routing import Mount

from hamanager.daemon.event_routes import end_events
from hamanager.daemon.listening import listening
from hamanager.daemon.metrics import CONTENT_TYPE, Metrics, Watched
from hamanager.decide.fitness import Check, unfit
from hamanager.decide.situation import Situation
from hamanager.errors import HamanagerError, NotFoundError
from hamanager.version import program_version

log = logging.getLogger("hamanager")

GRACE_SECONDS = 1
CONNECTIONS = 512
PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
METHODS = ["GET", "HEAD", "OPTIONS"]
"""Load balancers ask by any of these; the answer is the same."""


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


class Group(BaseModel):
    """Targets with their labels, as Prometheus discovers them over HTTP."""

    targets: list[str]
    labels: dict[str, str]


class Fitness(BaseModel):
    """An instance's answer to a check."""

    service: str
    instance: str
    check: Check
    fit: bool
    reason: str
    """Why it is not; '' when it is."""


def make_web(manager: WebPort, metrics: Metrics, api: FastAPI | None = None) -> FastAPI:
    """The application; `api`: with the page, which asks that for what it shows."""
    app = FastAPI(
        title="hamanager, for monitoring and load balancers",
        version=program_version(),
        redoc_url=None,
    )

    @app.get("/metrics", response_class=Response)
    def scraped() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/sd")
    def discovered() -> list[Group]:
        return [
            Group(
                targets=[instance.address],
                labels={"service": name, "instance": instance.name, "engine": facts.spec.engine},
            )
            for name, one in sorted(manager.watched().items())
            if (facts := one.facts) is not None
            for instance in facts.record.instances
        ]

    @app.api_route("/health/live", methods=METHODS)
    def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.api_route("/health/ready", methods=METHODS)
    def ready(response: Response) -> dict[str, str]:
        problem = manager.problem()
        if problem:
            response.status_code = 503
        return {"status": "ready" if not problem else "not ready", "reason": problem}

    @app.api_route("/v1/services/{name}/instances/{instance}/{check}", methods=METHODS)
    def fitness(
        name: str,
        instance: str,
        check: Check,
        response: Response,
        lag: Annotated[float | None, Query(ge=0, description="Seconds behind at the most")] = None,
    ) -> Fitness:
        reason = _unfit(manager, name, instance, check, lag)
        response.status_code = 503 if reason else 200
        return Fitness(service=name, instance=instance, check=check, fit=not reason, reason=reason)

    @app.exception_handler(NotFoundError)
    def unknown(request: Request, error: NotFoundError) -> JSONResponse:  # noqa: ARG001
        return JSONResponse({"error": str(error)}, 404)

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
