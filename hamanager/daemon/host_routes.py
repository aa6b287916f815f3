"""The API's part about hosts."""

from __future__ import annotations

from typing import Protocol

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from hamanager.api.hosts import HostView
from hamanager.daemon.hosts import Hosts
from hamanager.model.host import HostTls


class HostsPort(Protocol):
    """What these routes need of the daemon."""

    @property
    def hosts(self) -> Hosts:
        """Where instances can run."""
        ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


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


def add_hosts(app: FastAPI, manager: HostsPort) -> None:
    """The routes."""

    @app.get("/hosts")
    def hosts() -> list[HostView]:
        return manager.hosts.all()

    @app.post("/hosts", status_code=201)
    def add_host(body: HostBody) -> HostView:
        return manager.hosts.add(
            body.name, body.docker, body.address, body.tls, without_tls=body.without_tls
        )

    @app.put("/hosts/{name}")
    def change_host(name: str, body: ReachBody) -> HostView:
        return manager.hosts.change(name, body.docker, body.tls, without_tls=body.without_tls)

    @app.post("/hosts/{name}/drain")
    def drain(name: str, body: DrainBody) -> HostView:
        return manager.hosts.drain(name, draining=body.draining)

    @app.delete("/hosts/{name}")
    def remove(name: str, lost: bool = False) -> dict[str, str]:
        manager.hosts.remove(name, lost=lost)
        return {"removed": name}
