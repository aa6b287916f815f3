"""The API's part about services, as far as it changes them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from hamanager.api.grammar import ScaleRequest
from hamanager.api.views import ServiceView
from hamanager.daemon.commands import Commands
from hamanager.daemon.documented import problems
from hamanager.daemon.gate import ORDERS, demand
from hamanager.daemon.service_routes import QueriesPort
from hamanager.errors import UsageError
from hamanager.model.order import OrderKind
from hamanager.model.settings import Settings

TAGS: list[str | Enum] = ["services"]


class CommandsPort(Protocol):
    """What these routes need of the daemon."""

    @property
    def commands(self) -> Commands:
        """What operators can ask for."""
        ...

    @property
    def queries(self) -> QueriesPort:
        """What can be asked."""
        ...

    def wake(self, name: str) -> None:
        """Let the loop observe that service now."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


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


class Destroying(BaseModel):
    """It and its data will be gone in a moment."""

    destroying: str


class RestartBody(_Body):
    """Which instance to restart."""

    instance: str


def add_commands(app: FastAPI, manager: CommandsPort) -> None:
    """The routes."""

    @app.post("/v1/services", status_code=201, tags=TAGS, responses=problems(409))
    def create(body: CreateBody) -> ServiceView:
        """Create a service; its `state` says when it is up."""
        manager.commands.create(**{**body.model_dump(), "settings": body.settings})
        manager.wake(body.name)
        return manager.queries.view(body.name)

    @app.post("/v1/scale", tags=TAGS, responses=problems(404, 409))
    def scale(body: ScaleBody) -> list[ServiceView]:
        """Ask for other sizes or memory limits: all of them are taken, or none."""
        requests = [ScaleRequest(**target.model_dump()) for target in body.targets]
        names = manager.commands.scale(requests, allow_large=body.allow_large)
        for name in names:
            manager.wake(name)
        return [manager.queries.view(name) for name in names]

    @app.post("/v1/services/{name}/restart", tags=TAGS, responses=problems(404, 409))
    def restart(name: str, body: RestartBody) -> ServiceView:
        """Restart an instance as planned, without a failover."""
        if not body.instance.startswith(f"{name}."):
            raise UsageError(f"'{body.instance}' is not an instance of '{name}'")
        manager.commands.restart(body.instance)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post(
        "/v1/services/{name}/upgrade", status_code=202, tags=TAGS, responses=problems(404, 409)
    )
    def upgrade(name: str, body: UpgradeBody) -> Upgraded:
        """Run the instances from another image, one after the other."""
        text = manager.commands.upgrade(name, body.image)
        manager.wake(name)
        return Upgraded(text=text)

    @app.post("/v1/services/{name}/settings", tags=TAGS, responses=problems(404, 409))
    def settings(name: str, body: Settings) -> ServiceView:
        """Change settings; what is null stays as it is."""
        manager.commands.change_settings(name, body)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post("/v1/services/{name}/pause", tags=TAGS, responses=problems(404, 409))
    def pause(name: str, body: PauseBody) -> ServiceView:
        """Observe only, or act again."""
        manager.commands.pause(name, paused=body.paused)
        manager.wake(name)
        return manager.queries.view(name)

    @app.post(
        "/v1/services/{name}/orders", status_code=202, tags=TAGS, responses=problems(404, 409)
    )
    def order(name: str, body: OrderBody) -> Ordered:
        """Give a one-time order.

        `failover` and `discard`, by which data may be lost, take the role `admin`.
        """
        demand(ORDERS[body.kind], f"{body.kind} {name}")
        number = manager.commands.order(
            name, body.kind, body.to, body.patience_seconds, kill=body.kill
        )
        manager.wake(name)
        return Ordered(number=number)

    @app.delete("/v1/services/{name}", status_code=202, tags=TAGS, responses=problems(404))
    def destroy(name: str) -> Destroying:
        """Destroy a service with all its data."""
        manager.commands.destroy(name)
        manager.wake(name)
        return Destroying(destroying=name)
