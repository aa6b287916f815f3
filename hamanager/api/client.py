"""A thin client of the API, over the daemon's Unix socket or `HAMANAGER_URL`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from hamanager import paths
from hamanager.api.environment import ConnectionView
from hamanager.api.grammar import ScaleRequest
from hamanager.api.views import ServiceView
from hamanager.contracts.runtime import LogLine
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, UsageError
from hamanager.model.history import HistoryEntry
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
_LOGS = TypeAdapter(list[LogLine])
_HISTORY = TypeAdapter(list[HistoryEntry])


class NoDaemonError(HamanagerError):
    """Nothing answers where the daemon should."""


class Client:
    """Asks the daemon. Every method raises the API's errors, and `NoDaemonError`."""

    def __init__(self, http: httpx.Client, ref: str) -> None:
        self._http = http
        self._place = ref

    @classmethod
    def connect(cls, home: Path | None = None) -> Client:
        """A client of the daemon with that state directory; when None, of `HAMANAGER_URL`, or of
        the default state directory."""
        url = os.environ.get("HAMANAGER_URL") if home is None else None
        if url:
            return cls(httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False), url)
        socket = str(paths.socket_path(home or paths.home()))
        http = httpx.Client(
            transport=httpx.HTTPTransport(uds=socket),
            base_url="http://hamanager",
            timeout=ANSWER_SECONDS,
        )
        return cls(http, socket)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def views(self, timeout_seconds: float = ANSWER_SECONDS) -> list[ServiceView]:
        """Every service."""
        answer = self._ask("GET", "/services", timeout_seconds=timeout_seconds)
        return _VIEWS.validate_json(answer)

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

    def _ask(
        self, method: str, path: str, body: object = None, timeout_seconds: float = ANSWER_SECONDS
    ) -> bytes:
        try:
            answer = self._http.request(method, path, json=body, timeout=timeout_seconds)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        if answer.is_success:
            return answer.content
        try:
            sentence = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            sentence = f"{self._place} answered {answer.status_code}: is it a hamanager daemon?"
        raise _ERRORS.get(answer.status_code, HamanagerError)(sentence)

    def _unreachable(self, error: Exception) -> NoDaemonError:
        if isinstance(error, httpx.ReadTimeout):
            return NoDaemonError(
                f"the daemon at {self._place} did not answer in time; what was asked may have been"
                " accepted: look with `hamanager info`"
            )
        return NoDaemonError(
            f"no hamanager daemon answers at {self._place}; start one with `hamanager serve`"
        )


def _path(name: str) -> str:
    return f"/services/{quote(name, safe='')}"
