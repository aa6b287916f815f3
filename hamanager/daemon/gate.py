"""Who is let in over TCP, and what for: every route has its least role in `ROLES`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from hamanager.daemon.callers import CALLER
from hamanager.daemon.tokens import NotLetInError
from hamanager.errors import HamanagerError
from hamanager.model.access import AccessRole, Caller
from hamanager.model.order import OrderKind

log = logging.getLogger("hamanager")

PEER = "peer_certificate"
"""Where the listener leaves the caller's verified certificate, as Python's `ssl` tells it."""

_READ, _OPERATE, _ADMIN = AccessRole.READ, AccessRole.OPERATE, AccessRole.ADMIN

ROLES: Mapping[tuple[str, str], AccessRole] = {
    ("GET", "/v1/openapi.json"): _READ,
    ("HEAD", "/v1/openapi.json"): _READ,
    ("GET", "/v1/docs"): _READ,
    ("GET", "/v1/health"): _READ,
    ("GET", "/v1/routes"): _READ,
    ("GET", "/v1/services"): _READ,
    ("GET", "/v1/events"): _READ,
    ("GET", "/v1/services/{name}"): _READ,
    ("GET", "/v1/services/{name}/status"): _READ,
    ("GET", "/v1/services/{name}/history"): _READ,
    ("GET", "/v1/services/{name}/logs"): _READ,
    ("GET", "/v1/services/{name}/why"): _READ,
    ("GET", "/v1/services/{name}/what-if"): _READ,
    ("GET", "/v1/drill-schedules"): _READ,
    ("GET", "/v1/services/{name}/drills"): _READ,
    ("GET", "/v1/services/{name}/drill-report"): _READ,
    # A password comes with it.
    ("GET", "/v1/services/{name}/connection"): _OPERATE,
    ("GET", "/v1/services/{name}/shell"): _OPERATE,
    ("POST", "/v1/services"): _OPERATE,
    ("POST", "/v1/scale"): _OPERATE,
    ("POST", "/v1/services/{name}/restart"): _OPERATE,
    ("POST", "/v1/services/{name}/upgrade"): _OPERATE,
    ("POST", "/v1/services/{name}/settings"): _OPERATE,
    ("POST", "/v1/services/{name}/pause"): _OPERATE,
    ("POST", "/v1/services/{name}/drill-schedule"): _OPERATE,
    # And see ORDERS.
    ("POST", "/v1/services/{name}/orders"): _OPERATE,
    ("DELETE", "/v1/services/{name}"): _ADMIN,
    ("GET", "/v1/managers"): _READ,
    ("GET", "/v1/hosts"): _READ,
    ("POST", "/v1/hosts"): _ADMIN,
    ("PUT", "/v1/hosts/{name}"): _ADMIN,
    ("POST", "/v1/hosts/{name}/drain"): _OPERATE,
    ("DELETE", "/v1/hosts/{name}"): _ADMIN,
    ("GET", "/v1/tokens"): _ADMIN,
    ("POST", "/v1/tokens"): _ADMIN,
    ("DELETE", "/v1/tokens/{name}"): _ADMIN,
    ("GET", "/v1/authority"): _READ,
    ("POST", "/v1/authority/rotation"): _ADMIN,
    ("POST", "/v1/certificates"): _ADMIN,
}

ORDERS: Mapping[OrderKind, AccessRole] = {
    OrderKind.SWITCHOVER: _OPERATE,
    OrderKind.REPLACE: _OPERATE,
    OrderKind.REBALANCE: _OPERATE,
    # Writes may be lost by it, or data are.
    OrderKind.FAILOVER: _ADMIN,
    OrderKind.DISCARD: _ADMIN,
}


class NotAllowedError(HamanagerError):
    """The caller is known, and its role does not suffice."""


class Gate:
    """Lets known callers through to the application, each as who it is."""

    def __init__(self, app: ASGIApp, token_owner: Callable[[str], Caller]) -> None:
        self._app = app
        self._token_owner = token_owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = HTTPConnection(scope)
        try:
            caller = await run_in_threadpool(self._caller, request)
        except NotLetInError as error:
            log.warning("turned away %s: %s", _from(request), error)
            answer = _answer(401, f"the manager lets nobody in without proof of who it is: {error}")
            answer.headers["WWW-Authenticate"] = "Bearer"
            await answer(scope, receive, send)
            return
        except HamanagerError as error:
            await _answer(500, str(error))(scope, receive, send)
            return
        now = CALLER.set(caller)
        try:
            await self._app(scope, receive, send)
        finally:
            CALLER.reset(now)

    def _caller(self, request: HTTPConnection) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            if kind.lower() != "bearer":
                raise NotLetInError(f"a bearer token is wanted, not '{kind[:20]}'")
            return self._token_owner(token.strip())
        found = certificate_owner(scope_peer(request.scope))
        if found is None:
            raise NotLetInError("name a token (--token-file) or a certificate (--cert, --key)")
        return found


def scope_peer(scope: Scope) -> Mapping[str, Any]:
    """The caller's certificate; empty without one."""
    found: Mapping[str, Any] = scope.get("state", {}).get(PEER) or {}
    return found


def certificate_owner(certificate: Mapping[str, Any]) -> Caller | None:
    """Whom a verified certificate names, and the role that it carries; None without one.

    Raises:
        NotLetInError: it carries none: it is a server's.
    """
    if not certificate:
        return None
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    name = subject.get("commonName", "?")
    try:
        role = AccessRole(subject.get("organizationalUnitName", ""))
    except ValueError:
        raise NotLetInError(f"the certificate of '{name}' carries no role") from None
    return Caller(f"certificate {name}", role)


async def check_role(request: Request) -> None:
    """Whether the caller may do what the matched route is for.

    Raises:
        NotAllowedError: its role does not suffice.
    """
    route = request.scope.get("route")
    least = ROLES.get((request.method, getattr(route, "path", "")), AccessRole.ADMIN)
    demand(least, f"{request.method} {request.url.path}")
    caller = CALLER.get()
    if request.method != "GET" and caller.name:
        log.info("%s %s asked by %s", request.method, request.url.path, caller.name)


def demand(least: AccessRole, what: str) -> None:
    """Refuse what the present caller may not do.

    Raises:
        NotAllowedError: its role does not suffice.
    """
    caller = CALLER.get()
    if not caller.role.includes(least):
        log.warning("%s (role %s) was refused %s", caller.name, caller.role, what)
        raise NotAllowedError(
            f"{caller.name} has the role '{caller.role}' and this takes '{least}'; nothing was"
            " changed"
        )


def _from(request: HTTPConnection) -> str:
    return request.client.host if request.client else "somebody"


def _answer(status_code: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence, "exit_code": 1}, status_code)
