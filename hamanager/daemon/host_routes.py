"""The API's part about hosts."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Protocol

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict

from hamanager.api.hosts import HostView
from hamanager.daemon.documented import problems
from hamanager.daemon.hosts import Hosts
from hamanager.model.host import HostTls

TAGS: list[str | Enum] = ["hosts"]


class HostsPort(Protocol):
    """What these routes need of the daemon."""

    @property
    def hosts(self) -> Hosts:
        """Where instances can run."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class HostBody(_Body):
    """A new host."""

    name: str
    docker: str
    address: str
    tls: HostTls | None = None
    without_tls: bool = False


class ReachBody(_Body):
    """How its engine is reached from now on."""

    docker: str
    tls: HostTls | None = None
    without_tls: bool = False


class DrainBody(_Body):
    """Whether it is to be left."""

    draining: bool = True


class Removed(BaseModel):
    """It is no host any more."""

    removed: str


def add_hosts(app: FastAPI, manager: HostsPort) -> None:
    """The routes."""

    @app.get("/v1/hosts", tags=TAGS)
    def hosts() -> list[HostView]:
        """All hosts."""
        return manager.hosts.all()

    @app.post("/v1/hosts", status_code=201, tags=TAGS, responses=problems(409))
    def add_host(body: HostBody) -> HostView:
        """Add a host, after its Docker engine was tried out."""
        return manager.hosts.add(
            body.name, body.docker, body.address, body.tls, without_tls=body.without_tls
        )

    @app.put("/v1/hosts/{name}", tags=TAGS, responses=problems(404, 409))
    def change_host(name: str, body: ReachBody) -> HostView:
        """Change how its Docker engine is reached, after that was tried out."""
        return manager.hosts.change(name, body.docker, body.tls, without_tls=body.without_tls)

    @app.post("/v1/hosts/{name}/drain", tags=TAGS, responses=problems(404))
    def drain(name: str, body: DrainBody) -> HostView:
        """Move what is there elsewhere, and place nothing there; or use it again."""
        return manager.hosts.drain(name, draining=body.draining)

    @app.delete("/v1/hosts/{name}", tags=TAGS, responses=problems(404, 409))
    def remove(
        name: str,
        lost: Annotated[bool, Query(description="Although it may still run what it ran")] = False,
    ) -> Removed:
        """Forget a host."""
        manager.hosts.remove(name, lost=lost)
        return Removed(removed=name)
