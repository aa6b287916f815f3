"""The API's part about why something was decided."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Protocol

from fastapi import FastAPI, Query

from hamanager.api.reasons import Fault, FaultKind, ForecastView, ReasonsView
from hamanager.daemon.documented import problems

TAGS: list[str | Enum] = ["services"]


class ReasonsPort(Protocol):
    """What these routes ask."""

    def reasons(self, name: str, at: float | None = None, run: str | None = None) -> ReasonsView:
        """Why what is decided now is decided, or was at that time or in that run."""
        ...

    def forecast(self, name: str, faults: Sequence[Fault]) -> ForecastView:
        """What would happen if these failed now."""
        ...


class _Manager(Protocol):
    @property
    def queries(self) -> ReasonsPort: ...


def add_reasons(app: FastAPI, manager: _Manager) -> None:
    """The routes."""

    @app.get("/v1/services/{name}/why", tags=TAGS, responses=problems(404, 409))
    def why(
        name: str,
        at: Annotated[float | None, Query(ge=0, description="Seconds since the epoch")] = None,
        run: str | None = None,
    ) -> ReasonsView:
        """Why the manager does, or does not, act; now, at a time, or in a run of the history."""
        return manager.queries.reasons(name, at, run)

    @app.get("/v1/services/{name}/what-if", tags=TAGS, responses=problems(404, 409))
    def what_if(
        name: str,
        kill: Annotated[list[str] | None, Query()] = None,
        hang: Annotated[list[str] | None, Query()] = None,
        partition: Annotated[list[str] | None, Query()] = None,
    ) -> ForecastView:
        """What would happen if these instances failed now; nothing is touched."""
        asked = {
            FaultKind.KILL: kill,
            FaultKind.HANG: hang,
            FaultKind.PARTITION: partition,
        }
        faults = [
            Fault(kind=kind, instance=i) for kind, names in asked.items() for i in names or ()
        ]
        return manager.queries.forecast(name, faults)
