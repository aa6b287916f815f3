"""The HTTP API has a version in every path, and its documents say what it does."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from hamanager.api.client import Client
from hamanager.api.reach import AtSocket
from hamanager.daemon.documented import operations
from hamanager.daemon.gate import ROLES
from hamanager.daemon.http import make_app
from hamanager.daemon.metrics import Metrics
from hamanager.daemon.web import make_web
from hamanager.errors import NotFoundError
from scripts import openapi
from tests.unit.fakes import FakeManager
from tests.unit.test_web import Manager

with warnings.catch_warnings():
    # Newer versions of starlette prefer another HTTP package for this client.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

API = make_app(FakeManager())
WEB = make_web(Manager(), Metrics(), API)
CONVENTIONS = {"/metrics", "/sd", "/health/live", "/health/ready"}
"""Where monitoring looks for them."""
OF_ITSELF = {"/v1/openapi.json", "/v1/docs"}


def test_every_path_has_the_version_and_is_documented() -> None:
    for app, others in ((API, set[str]()), (WEB, CONVENTIONS)):
        paths = {route.path for route in app.routes if isinstance(route, Route)}
        assert paths == {path for _, path, _ in operations(app.openapi())} | OF_ITSELF
        assert {path for path in paths if not path.startswith("/v1/")} == others


def test_every_operation_says_what_it_does_answers_and_takes() -> None:
    for method, path, told in [*operations(API.openapi()), *operations(WEB.openapi())]:
        where = f"{method} {path}"
        assert re.fullmatch(r"[A-Z].{6,100}[^.]", told["summary"]), where
        assert len(told["tags"]) == 1, where
        success = next(answer for code, answer in told["responses"].items() if code < "300")
        [(kind, content)] = success["content"].items()
        assert content["schema"] or kind != "application/json", f"{where} tells no answer"
        assert "422" not in told["responses"], where
    for method, path, told in operations(API.openapi()):
        assert told["x-role"] == ROLES[method, path]
        assert f"role `{told['x-role']}`" in told["description"]
        assert {"401", "403", "500"} <= told["responses"].keys()
        assert ("404" in told["responses"]) >= ("{" in path), path


def test_the_documents_in_the_repository_are_what_the_code_says() -> None:
    """`make openapi` writes them anew: so a change of the API is seen in a review."""
    for path, text in openapi.documents().items():
        assert path.read_text() == text, f"{path.name}: `make openapi`"


def test_every_reference_leads_somewhere() -> None:
    for app in (API, WEB):
        document = app.openapi()
        for reference in _references(document):
            _, *steps = reference.split("/")
            found: Any = document
            for step in steps:
                found = found[step]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _references(one)


# --- The page -----------------------------------------------------------------------------------


def test_the_page_has_every_operation_and_field_and_loads_nothing() -> None:
    answer = TestClient(WEB).get("/v1/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.text
    assert not re.search(r"<(script|link|img|iframe)|\bsrc=|https?://", text)
    for _, path, told in operations(API.openapi()):
        assert f"/api{path}</h3>" in text
        assert told["summary"].split("'")[0] in text
    assert "/v1/services/{name}/instances/{instance}/{check}</h3>" in text
    links = set(re.findall(r'href="#([^"]*)"', text))
    anchors = re.findall(r' id="([^"]*)"', text)
    assert links <= set(anchors)
    assert len(anchors) == len(set(anchors))
    assert "Why it is not; &#x27;&#x27; when it is." in text


def test_over_tcp_the_document_and_its_page_are_for_readers() -> None:
    manager = FakeManager()
    reader = {"Authorization": f"Bearer {manager.tokens.create('ada', ROLES['GET', '/v1/docs'])}"}
    api = TestClient(make_app(manager, gated=True))
    for path in OF_ITSELF:
        assert api.get(path).status_code == 401
        assert api.get(path, headers=reader).status_code == 200


def test_elsewhere_than_at_this_machines_own_address_the_page_is_of_what_is_offered() -> None:
    text = TestClient(make_web(Manager(), Metrics())).get("/v1/docs").text
    assert "/health/ready" in text
    assert "/v1/tokens" not in text


def test_what_is_wrong_in_a_request_is_answered_as_the_document_says() -> None:
    answer = TestClient(WEB).get("/v1/services/db/instances/db.1/replica?lag=-1")
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)
    assert answer.json()["error"].startswith("the request's lag is wrong")


# --- Managers, proxies and commands of before -----------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_paths_of_before_lead_where_they_led(prefix: str) -> None:
    manager = FakeManager()
    api = TestClient(make_app(manager))
    created = api.post(f"{prefix}/services", json={"name": "db", "engine": "redis"})
    assert created.status_code == 201
    assert api.get(f"{prefix}/services/db").json()["name"] == "db"
    assert api.get(f"{prefix}/services?x=1").status_code == 200
    assert api.get(f"{prefix}/nothing").status_code == 404
    mounted = make_web(Manager(), Metrics(), make_app(manager, gated=True))
    assert TestClient(mounted).get(f"/api{prefix}/services").status_code == 401


class Before(httpx.BaseTransport):
    """A manager that knows no versions; it takes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if path.startswith("/v1/"):
            sentence = f"there is no {request.method} {path}: Not Found"
            return httpx.Response(404, json={"error": sentence, "exit_code": 2})
        if path == "/services":
            return httpx.Response(200, json=[])
        sentence = "there is no service 'db'"
        return httpx.Response(404, json={"error": sentence, "exit_code": 1})


def test_a_manager_of_before_is_asked_as_it_knows_it() -> None:
    before = Before()
    client = Client(AtSocket("here", before))
    assert client.views() == []
    with pytest.raises(NotFoundError, match="there is no service 'db'"):
        client.destroy("db")
    assert before.asked == [
        *("GET /v1/services", "GET /services"),
        *("DELETE /v1/services/db", "DELETE /services/db"),
    ]


def test_what_is_not_there_is_asked_once() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404, json={"error": "there is no service 'db'", "exit_code": 1})

    with pytest.raises(NotFoundError):
        Client(AtSocket("here", httpx.MockTransport(answer))).view("db")
    assert asked == ["/v1/services/db"]
