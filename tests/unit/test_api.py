"""The API's answers: the stable JSON, and one sentence for every error."""

from __future__ import annotations

import warnings

import pytest

from hamanager.api.views import ServiceView
from hamanager.daemon.http import make_app
from hamanager.errors import StoreError
from hamanager.model.history import HistoryEntry
from hamanager.stores.repository import load_spec
from tests.unit.fakes import MB, SECRET, FakeManager

with warnings.catch_warnings():
    # Newer versions of starlette prefer another HTTP package for this client.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def api(manager: FakeManager) -> TestClient:
    return TestClient(make_app(manager), raise_server_exceptions=False)


def create(api: TestClient, name: str = "db", **body: object) -> None:
    answer = api.post("/v1/services", json={"name": name, "engine": "redis", **body})
    assert answer.status_code == 201, answer.text


def test_health(api: TestClient) -> None:
    assert api.get("/v1/health").json()["status"] == "ok"


def test_create_scale_restart_destroy(api: TestClient, manager: FakeManager) -> None:
    create(api, instances=1)
    manager.fulfil("db")
    body = {
        "targets": [{"service": "db", "instances": 2}, {"service": "db", "memory_bytes": MB * 64}]
    }
    (view,) = api.post("/v1/scale", json=body).json()
    assert view["desired"] == {"instances": 2, "memory_bytes": 64 * MB}
    manager.fulfil("db")
    view = api.post("/v1/services/db/restart", json={"instance": "db.1"}).json()
    assert [i["restarting"] for i in view["instances"]] == [False, True]
    assert api.delete("/v1/services/db").status_code == 202
    assert api.get("/v1/services/db").json()["destroying"] is True
    assert manager.woken == ["db"] * 4


def test_views(api: TestClient, manager: FakeManager) -> None:
    assert api.get("/v1/services").json() == []
    create(api)
    manager.fulfil("db")
    assert [v["name"] for v in api.get("/v1/services").json()] == ["db"]
    view = api.get("/v1/services/db").json()
    assert view["url"] == "redis://:app-1@10.0.0.1:7000/0"
    assert ServiceView.model_validate(view).state == "running"
    assert api.get("/v1/services/db/status").json()["instances"][0]["facts"] == {"offset": "42"}


def test_the_last_failover_says_from_and_to(api: TestClient, manager: FakeManager) -> None:
    create(api)
    manager.fulfil("db")
    assert "last_failover" in api.get("/v1/services/db").json()
    assert '"from"' in str(api.get("/v1/openapi.json").text)


def test_history_also_of_a_service_that_is_no_more(api: TestClient, manager: FakeManager) -> None:
    create(api)
    manager.forget("db")
    (entry,) = api.get("/v1/services/db/history", params={"limit": 5}).json()
    assert entry["kind"] == "command"
    assert api.get("/v1/services/nosuch/history").status_code == 404


def test_why_and_what_if(api: TestClient, manager: FakeManager) -> None:
    create(api, instances=2)
    manager.fulfil("db")
    why = api.get("/v1/services/db/why").json()
    assert why["now"]
    assert [rule["rule"] for rule in why["rules"] if rule["standing"] == "decided"] == [why["rule"]]
    before = load_spec(manager.store, "db")
    told = api.get("/v1/services/db/what-if?kill=db.0&hang=db.1").json()
    assert [fault["instance"] for fault in told["faults"]] == ["db.0", "db.1"]
    assert told["moments"][0]["after_seconds"] == 0
    assert load_spec(manager.store, "db") == before


def test_the_history_that_is_shown_is_without_what_it_keeps_for_why(
    api: TestClient, manager: FakeManager
) -> None:
    create(api)
    kept = HistoryEntry(at=1.0, service="db", kind="decision", text="t", seen="kept")
    manager.store.append(kept)
    assert all("seen" not in entry for entry in api.get("/v1/services/db/history").json())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "exit_code", "sentence"),
    [
        ("GET", "/v1/services/nosuch", None, 404, 1, "there is no service 'nosuch'"),
        ("POST", "/v1/services", {"name": "db", "engine": "redis"}, 409, 1, "service 'db' exists"),
        (
            "POST",
            "/v1/services",
            {"name": "x", "engine": "oracle"},
            400,
            2,
            "unknown engine 'oracle'",
        ),
        ("POST", "/v1/services", {"name": "x"}, 400, 2, "the request's engine is wrong"),
        (
            "POST",
            "/v1/services",
            {"name": "x", "engine": "redis", "size": 2},
            400,
            2,
            "the request's size is wrong",
        ),
        ("POST", "/v1/scale", {"targets": []}, 400, 2, "nothing to scale is named"),
        (
            "POST",
            "/v1/scale",
            {"targets": [{"service": "db", "instances": "two"}]},
            400,
            2,
            "the request's targets.0.instances is wrong",
        ),
        (
            "POST",
            "/v1/scale",
            {"targets": [{"service": "no", "instances": 2}]},
            404,
            1,
            "there is no",
        ),
        (
            "POST",
            "/v1/services/db/restart",
            {"instance": "x.0"},
            400,
            2,
            "'x.0' is not an instance",
        ),
        ("POST", "/v1/services/db/restart", {"instance": "db.9"}, 404, 1, "there is no instance"),
        ("DELETE", "/v1/services/nosuch", None, 404, 1, "there is no service"),
        ("GET", "/v1/services/db/history?limit=0", None, 400, 2, "the request's limit is wrong"),
        ("GET", "/v1/services/db/why?run=x", None, 404, 1, "the history of 'db' keeps nothing"),
        ("GET", "/v1/services/db/why?at=soon", None, 400, 2, "the request's at is wrong"),
        ("GET", "/v1/services/db/what-if", None, 400, 2, "nothing is said to fail"),
        ("GET", "/v1/nothing/here", None, 404, 2, "there is no GET /v1/nothing/here"),
        ("PUT", "/v1/services", None, 405, 2, "there is no PUT /v1/services"),
    ],
)
def test_errors(
    api: TestClient,
    manager: FakeManager,
    method: str,
    path: str,
    body: object,
    status: int,
    exit_code: int,
    sentence: str,
) -> None:
    create(api)
    before = load_spec(manager.store, "db")
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["exit_code"] == exit_code
    assert answer.json()["error"].startswith(sentence)
    assert set(answer.json()) == {"error", "exit_code"}
    assert load_spec(manager.store, "db") == before


def test_a_body_that_is_no_json(api: TestClient) -> None:
    answer = api.post("/v1/scale", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the request's")


def test_failures_beyond_the_command(api: TestClient, manager: FakeManager) -> None:
    manager.runtime.missing_image = True
    answer = api.post("/v1/services", json={"name": "db", "engine": "redis"})
    assert (answer.status_code, answer.json()["exit_code"]) == (500, 1)


def test_a_bug_is_told_without_a_traceback(
    api: TestClient, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError(f"something with {SECRET} in it")

    monkeypatch.setattr(manager, "views", broken)
    answer = api.get("/v1/services")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "the daemon met an unexpected error; its log says which",
        "exit_code": 1,
    }


def test_a_store_that_fails_is_told(
    api: TestClient, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise StoreError("the store is full")

    monkeypatch.setattr(manager, "views", broken)
    assert api.get("/v1/services").json() == {"error": "the store is full", "exit_code": 1}


def test_no_answer_holds_a_secret_but_the_url(api: TestClient, manager: FakeManager) -> None:
    create(api)
    manager.fulfil("db")
    for path in (
        "/v1/services",
        "/v1/services/db",
        "/v1/services/db/status",
        "/v1/services/db/history",
    ):
        text = api.get(path).text
        assert SECRET not in text
        assert text.count("app-1") == text.count("redis://:app-1@")
