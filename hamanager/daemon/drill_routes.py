"""The API's part about drills by schedule and what became of drills."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Protocol

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict

from hamanager.api.drills import ScheduleView, SignedReport
from hamanager.daemon.documented import problems
from hamanager.daemon.drills import Drills
from hamanager.model.drill import DrillFault, DrillResult

TAGS: list[str | Enum] = ["drills"]


class DrillsPort(Protocol):
    """What these routes need of the daemon."""

    @property
    def drills(self) -> Drills:
        """Schedules and results."""
        ...


class ScheduleBody(BaseModel):
    """When to drill; null for never."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    every_seconds: int | None
    at_minute: int = 180
    """Of the day, in UTC."""
    fault: DrillFault = DrillFault.KILL
    rounds: int = 1


def add_drills(app: FastAPI, manager: DrillsPort) -> None:
    """The routes."""

    @app.get("/v1/drill-schedules", tags=TAGS)
    def schedules() -> list[ScheduleView]:
        """When services are drilled."""
        return list(manager.drills.schedules())

    @app.post("/v1/services/{name}/drill-schedule", tags=TAGS, responses=problems(404, 409))
    def schedule(name: str, body: ScheduleBody) -> ScheduleView | None:
        """Drill a service by schedule, or no more (answered by null)."""
        if body.every_seconds is None:
            manager.drills.never(name)
            return None
        return manager.drills.schedule(
            name, body.every_seconds, body.at_minute, body.fault, body.rounds
        )

    @app.get("/v1/services/{name}/drills", tags=TAGS, responses=problems(404))
    def results(name: str) -> list[DrillResult]:
        """What became of its drills, oldest first; also of a service that is no more."""
        return list(manager.drills.results(name))

    @app.get("/v1/services/{name}/drill-report", tags=TAGS, responses=problems(404))
    def report(
        name: str,
        quarter: Annotated[str | None, Query(description="2026Q4; the present one")] = None,
        page: Annotated[bool, Query(description="As HTML instead of JSON")] = False,
    ) -> SignedReport:
        """What became of its drills in a quarter, signed by the installation's authority."""
        return manager.drills.report(name, quarter, page=page)
