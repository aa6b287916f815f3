"""A thin client of the API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter

from hamanager.api.credentials import AuthorityView, IssuedView, TokenView
from hamanager.api.drills import ScheduleView, SignedReport
from hamanager.api.environment import ConnectionView
from hamanager.api.grammar import ScaleRequest
from hamanager.api.hosts import HostView
from hamanager.api.reach import NoDaemonError as NoDaemonError
from hamanager.api.reach import Reach, Way, reach
from hamanager.api.reasons import Fault, ForecastView, ReasonsView
from hamanager.api.views import ManagerView, ServiceView
from hamanager.contracts.runtime import LogLine
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, UsageError
from hamanager.model.access import AccessRole
from hamanager.model.drill import DrillFault, DrillResult
from hamanager.model.history import HistoryEntry
from hamanager.model.host import HostTls
from hamanager.model.order import OrderKind
from hamanager.model.settings import Settings
from hamanager.model.shell import ShellView

ANSWER_SECONDS = 15.0
"""Live probes and a busy store take seconds at the most."""
CREATE_SECONDS = 900.0
"""The daemon may have to pull or build an image first."""

_ERRORS: dict[int, type[HamanagerError]] = {
    400: UsageError,
    404: NotFoundError,
    409: ConflictError,
}
_VIEWS = TypeAdapter(list[ServiceView])
_MANAGERS = TypeAdapter(list[ManagerView])
_HOSTS = TypeAdapter(list[HostView])
_TOKENS = TypeAdapter(list[TokenView])
_DRILL_SCHEDULES = TypeAdapter(list[ScheduleView])
_DRILLS = TypeAdapter(list[DrillResult])
_LOGS = TypeAdapter(list[LogLine])
_HISTORY = TypeAdapter(list[HistoryEntry])


class Client:
    """Asks the daemon. Every method raises the API's errors, and `NoDaemonError`."""

    def __init__(self, managers: Reach) -> None:
        self._managers = managers

    @classmethod
    def connect(cls, home: Path | None = None, way: Way | None = None) -> Client:
        """A client of the daemon with that state directory; when None, of the managers that `way`
        names (None: as the environment says), or of the default state directory."""
        return cls(reach(Way() if home else way or Way.from_environment(), home))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._managers.close()

    def views(self, timeout_seconds: float = ANSWER_SECONDS) -> list[ServiceView]:
        """Every service."""
        answer = self._ask("GET", "/services", timeout_seconds=timeout_seconds)
        return _VIEWS.validate_json(answer)

    def managers(self) -> list[ManagerView]:
        """All managers of the installation."""
        return _MANAGERS.validate_json(self._ask("GET", "/managers"))

    def view(self, name: str) -> ServiceView:
        """One service."""
        return ServiceView.model_validate_json(self._ask("GET", _path(name)))

    def status(self, name: str) -> ServiceView:
        """One service, from an observation taken now."""
        return ServiceView.model_validate_json(self._ask("GET", f"{_path(name)}/status"))

    def connection(self, name: str) -> ConnectionView:
        """How applications connect."""
        return ConnectionView.model_validate_json(self._ask("GET", f"{_path(name)}/connection"))

    def shell(self, name: str, instance: str | None) -> ShellView:
        """Where and how a command is run."""
        query = f"?instance={quote(instance)}" if instance else ""
        return ShellView.model_validate_json(self._ask("GET", f"{_path(name)}/shell{query}"))

    def logs(self, name: str, instance: str, lines: int, after: str = "") -> list[LogLine]:
        """The last lines that an instance wrote, later than another one's time."""
        query = f"instance={quote(instance)}&lines={lines}&after={quote(after)}"
        return _LOGS.validate_json(self._ask("GET", f"{_path(name)}/logs?{query}"))

    def history(self, name: str, limit: int | None = None) -> list[HistoryEntry]:
        """What happened, oldest first."""
        query = f"?limit={limit}" if limit is not None else ""
        return _HISTORY.validate_json(self._ask("GET", f"{_path(name)}/history{query}"))

    def reasons(self, name: str, at: float | None = None, run: str | None = None) -> ReasonsView:
        """Why what is decided now is decided, or was at that time or in that run."""
        asked = {"at": at, "run": run}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        return ReasonsView.model_validate_json(self._ask("GET", f"{_path(name)}/why?{query}"))

    def forecast(self, name: str, faults: Sequence[Fault]) -> ForecastView:
        """What would happen if these failed now."""
        query = urlencode([(fault.kind.value, fault.instance) for fault in faults])
        answer = self._ask("GET", f"{_path(name)}/what-if?{query}")
        return ForecastView.model_validate_json(answer)

    def create(
        self,
        name: str,
        engine: str,
        instances: int,
        memory_bytes: int | None,
        image: str | None,
        settings: Settings,
        *,
        allow_large: bool = False,
        port: int | None = None,
        health_path: str | None = None,
    ) -> ServiceView:
        """Ask for a new service."""
        body = {
            "name": name,
            "engine": engine,
            "instances": instances,
            "memory_bytes": memory_bytes,
            "image": image,
            "allow_large": allow_large,
            "port": port,
            "health_path": health_path,
            "settings": settings.model_dump(),
        }
        answer = self._ask("POST", "/services", body, CREATE_SECONDS)
        return ServiceView.model_validate_json(answer)

    def scale(
        self, requests: Sequence[ScaleRequest], *, allow_large: bool = False
    ) -> list[ServiceView]:
        """Ask for other sizes or limits; the services concerned."""
        body = {"targets": [vars(request) for request in requests], "allow_large": allow_large}
        return _VIEWS.validate_json(self._ask("POST", "/scale", body))

    def restart(self, service: str, instance: str) -> ServiceView:
        """Ask for a planned restart."""
        answer = self._ask("POST", f"{_path(service)}/restart", {"instance": instance})
        return ServiceView.model_validate_json(answer)

    def upgrade(self, name: str, image: str | None) -> str:
        """Ask for another image; in a sentence what becomes of it."""
        answer = self._ask("POST", f"{_path(name)}/upgrade", {"image": image}, CREATE_SECONDS)
        return str(json.loads(answer)["text"])

    def change_settings(self, name: str, settings: Settings) -> ServiceView:
        """Ask for other settings."""
        answer = self._ask("POST", f"{_path(name)}/settings", settings.model_dump())
        return ServiceView.model_validate_json(answer)

    def pause(self, name: str, *, paused: bool) -> ServiceView:
        """Ask the manager to observe only, or to act again."""
        answer = self._ask("POST", f"{_path(name)}/pause", {"paused": paused})
        return ServiceView.model_validate_json(answer)

    def order(
        self,
        name: str,
        kind: OrderKind,
        to: str | None = None,
        patience_seconds: float = 5.0,
        *,
        kill: bool = True,
    ) -> int:
        """Give a one-time order; its number."""
        body = {"kind": kind, "to": to, "patience_seconds": patience_seconds, "kill": kill}
        return int(json.loads(self._ask("POST", f"{_path(name)}/orders", body))["number"])

    def destroy(self, name: str) -> None:
        """Ask for the end of a service."""
        self._ask("DELETE", _path(name))

    def drill_schedules(self) -> list[ScheduleView]:
        """When services are drilled."""
        return _DRILL_SCHEDULES.validate_json(self._ask("GET", "/drill-schedules"))

    def schedule_drills(
        self, name: str, every_seconds: int, at_minute: int, fault: DrillFault, rounds: int
    ) -> ScheduleView:
        """Ask that a service be drilled by schedule."""
        body = {
            "every_seconds": every_seconds,
            "at_minute": at_minute,
            "fault": fault,
            "rounds": rounds,
        }
        answer = self._ask("POST", f"{_path(name)}/drill-schedule", body)
        return ScheduleView.model_validate_json(answer)

    def never_drill(self, name: str) -> None:
        """Ask that it be drilled by hand alone."""
        self._ask("POST", f"{_path(name)}/drill-schedule", {"every_seconds": None})

    def drills(self, name: str) -> list[DrillResult]:
        """What became of its drills, oldest first."""
        return _DRILLS.validate_json(self._ask("GET", f"{_path(name)}/drills"))

    def drill_report(self, name: str, quarter: str | None, *, page: bool) -> SignedReport:
        """A quarter of its drills, signed."""
        asked = {"page": str(page).lower()} | ({"quarter": quarter} if quarter else {})
        answer = self._ask("GET", f"{_path(name)}/drill-report?{urlencode(asked)}")
        return SignedReport.model_validate_json(answer)

    def hosts(self) -> list[HostView]:
        """Every host."""
        return _HOSTS.validate_json(self._ask("GET", "/hosts"))

    def add_host(
        self, name: str, docker: str, address: str, tls: HostTls | None, *, without_tls: bool
    ) -> HostView:
        """Ask for a new host, which is tried out first."""
        body = {
            "name": name,
            "docker": docker,
            "address": address,
            "tls": tls.model_dump() if tls else None,
            "without_tls": without_tls,
        }
        answer = self._ask("POST", "/hosts", body, CREATE_SECONDS)
        return HostView.model_validate_json(answer)

    def change_host(
        self, name: str, docker: str, tls: HostTls | None, *, without_tls: bool
    ) -> HostView:
        """Ask that its engine be reached in another way, which is tried out first."""
        words = {"docker": docker, "tls": tls.model_dump() if tls else None}
        body = {**words, "without_tls": without_tls}
        path = f"/hosts/{quote(name, safe='')}"
        return HostView.model_validate_json(self._ask("PUT", path, body, CREATE_SECONDS))

    def drain_host(self, name: str, *, draining: bool) -> HostView:
        """Ask that it be left, or used again."""
        path = f"/hosts/{quote(name, safe='')}/drain"
        return HostView.model_validate_json(self._ask("POST", path, {"draining": draining}))

    def remove_host(self, name: str, *, lost: bool) -> None:
        """Ask that it be forgotten."""
        self._ask("DELETE", f"/hosts/{quote(name, safe='')}?lost={str(lost).lower()}")

    def tokens(self) -> list[TokenView]:
        """Every token."""
        return _TOKENS.validate_json(self._ask("GET", "/tokens"))

    def create_token(self, name: str, role: AccessRole, days: int | None) -> str:
        """Ask for a new token."""
        answer = self._ask("POST", "/tokens", {"name": name, "role": role, "days": days})
        return str(json.loads(answer)["token"])

    def revoke_token(self, name: str) -> None:
        """Ask that it lets nobody in any more."""
        self._ask("DELETE", f"/tokens/{quote(name, safe='')}")

    def authority(self) -> AuthorityView:
        """The installation's certificate authority."""
        return AuthorityView.model_validate_json(self._ask("GET", "/authority"))

    def issue(
        self, name: str, hosts: Sequence[str], role: AccessRole | None, days: int
    ) -> IssuedView:
        """Ask for a certificate."""
        body = {"name": name, "hosts": list(hosts), "role": role, "days": days}
        return IssuedView.model_validate_json(self._ask("POST", "/certificates", body))

    def rotate(
        self, *, finish: bool, certificate: str | None = None, key: str | None = None
    ) -> AuthorityView:
        """Ask for another authority, or that the former one is trusted no more."""
        body = {"finish": finish, "certificate": certificate, "key": key}
        return AuthorityView.model_validate_json(self._ask("POST", "/authority/rotation", body))

    def _ask(
        self, method: str, path: str, body: object = None, timeout_seconds: float = ANSWER_SECONDS
    ) -> bytes:
        answer = self._managers.request(method, path, body, timeout_seconds)
        if answer.is_success:
            return answer.content
        try:
            sentence = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            sentence = (
                f"{self._managers.place} answered {answer.status_code}: is it a hamanager daemon?"
            )
        raise _ERRORS.get(answer.status_code, HamanagerError)(sentence)


def _path(name: str) -> str:
    return f"/services/{quote(name, safe='')}"
