"""Who may do what: every route has its least role, and nobody gets past it."""

from __future__ import annotations

import json
import warnings

import pytest
from starlette.routing import Route

from hamanager.daemon.gate import ORDERS, ROLES, certificate_owner
from hamanager.daemon.http import make_app
from hamanager.daemon.tokens import NotLetInError, Tokens
from hamanager.errors import ConflictError, NotFoundError, StoreError, UsageError
from hamanager.model.access import AccessRole, Caller
from hamanager.model.order import OrderKind
from hamanager.stores.repository import load_spec
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, SECRET, FakeClock, FakeManager

with warnings.catch_warnings():
    # Newer versions of starlette prefer another HTTP package for this client.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

READ, OPERATE, ADMIN = AccessRole


class Clock(FakeClock):
    """Can be put forward."""

    present = NOW

    def now(self) -> float:
        return self.present


@pytest.fixture
def manager() -> FakeManager:
    made = FakeManager()
    made.commands.create("db", "redis")
    made.fulfil("db")
    return made


def api(manager: FakeManager, role: AccessRole | None) -> TestClient:
    """As somebody with a token of that role; without one."""
    headers = {}
    if role is not None:
        token = manager.tokens.create(f"a-{role}", role)
        headers = {"Authorization": f"Bearer {token}"}
    app = make_app(manager, gated=True)
    return TestClient(app, headers=headers, raise_server_exceptions=False)


def test_every_route_has_its_least_role_and_every_role_a_route() -> None:
    routes = {
        (method, route.path)
        for route in make_app(FakeManager()).routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert routes == set(ROLES)
    assert set(ORDERS) == set(OrderKind)


def test_whoever_changes_something_may_operate_and_whoever_destroys_administers() -> None:
    for (method, path), least in ROLES.items():
        if method not in ("GET", "HEAD"):
            assert least.includes(OPERATE), path
        if method == "DELETE":
            assert least is ADMIN, path


@pytest.mark.parametrize("role", list(AccessRole))
def test_a_role_that_is_too_low_is_refused(manager: FakeManager, role: AccessRole) -> None:
    caller = api(manager, role)
    for (method, path), least in ROLES.items():
        if path == "/v1/events" and role.includes(least):
            continue  # it goes on and on: tests/e2e/test_page.py
        answer = caller.request(method, path.format(name="db"), json={})
        if role.includes(least):
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert answer.status_code == 403
            assert answer.json()["error"] == (
                f"token a-{role} has the role '{role}' and this takes '{least}'; nothing was"
                " changed"
            )


def test_nobody_comes_in_without_proof(manager: FakeManager) -> None:
    stranger = api(manager, None)
    for method, path in ROLES:
        answer = stranger.request(method, path.format(name="db"), json={})
        assert answer.status_code == 401
        assert SECRET not in answer.text
    headers = ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer a.b.c.d", "Bearer hamanager.x.y"]
    for header in headers:
        answer = stranger.get("/v1/services", headers={"Authorization": header})
        assert answer.status_code == 401, header
        assert answer.json()["error"].startswith("the manager lets nobody in without proof")


def test_forced_failover_and_discarding_are_an_administrators(manager: FakeManager) -> None:
    operator = api(manager, OPERATE)
    for kind, status in (("switchover", 202), ("failover", 403), ("discard", 403)):
        assert operator.post("/v1/services/db/orders", json={"kind": kind}).status_code == status
    loaded = load_spec(manager.store, "db")
    assert loaded is not None
    assert loaded[0].order is not None
    assert loaded[0].order.number == 1
    answer = api(manager, ADMIN).post("/v1/services/db/orders", json={"kind": "failover"})
    assert answer.status_code == 202


def test_a_reader_sees_no_password(manager: FakeManager) -> None:
    reader = api(manager, READ)
    for path in (
        "/v1/services",
        "/v1/services/db",
        "/v1/services/db/status",
        "/v1/services/db/history",
    ):
        text = reader.get(path).text
        assert "app-1" not in text, path
    assert reader.get("/v1/services/db").json()["url"] == "redis://:***@10.0.0.1:7000/0"
    url = api(manager, OPERATE).get("/v1/services/db").json()["url"]
    assert url == "redis://:app-1@10.0.0.1:7000/0"


def test_the_history_says_who_asked(manager: FakeManager) -> None:
    api(manager, OPERATE).post("/v1/services/db/pause", json={"paused": True})
    manager.commands.pause("db", paused=False)
    told = [(entry.text, entry.by) for entry in manager.history("db")]
    assert told[-2:] == [("pause db", "token a-operate"), ("resume db", "")]


def test_a_certificate_is_its_name_and_the_role_that_it_carries() -> None:
    def subject(**fields: str) -> dict[str, object]:
        return {"subject": tuple(((key, value),) for key, value in fields.items())}

    found = certificate_owner(subject(commonName="ops", organizationalUnitName="operate"))
    assert found == Caller("certificate ops", OPERATE)
    assert certificate_owner({}) is None
    for other in ({}, {"organizationalUnitName": "root"}):
        with pytest.raises(NotLetInError, match="carries no role"):
            certificate_owner(subject(commonName="etcd", **other))


class TestTokens:
    """What is kept of them, and whom they let in."""

    def test_only_a_hash_is_kept(self) -> None:
        store = MemoryStore()
        tokens = Tokens(store, FakeClock())
        text = tokens.create("laptop", READ)
        kept = store.get("tokens/laptop")
        assert kept is not None
        assert text.rpartition(".")[2] not in kept.value
        assert len(text.rpartition(".")[2]) >= 43
        assert tokens.owner(text) == Caller("token laptop", READ)
        assert [token.name for token in tokens.all()] == ["laptop"]
        assert "hash" not in tokens.all()[0].model_dump()

    def test_of_two_with_one_name_the_first_stays(self) -> None:
        tokens = Tokens(MemoryStore(), FakeClock())
        first = tokens.create("laptop", READ)
        with pytest.raises(ConflictError, match="there is a token 'laptop' already"):
            tokens.create("laptop", ADMIN)
        assert tokens.owner(first).role is READ

    def test_a_revoked_one_lets_nobody_in(self) -> None:
        tokens = Tokens(MemoryStore(), FakeClock())
        text = tokens.create("laptop", READ)
        tokens.revoke("laptop")
        with pytest.raises(NotLetInError, match="unknown here, or was revoked"):
            tokens.owner(text)
        with pytest.raises(NotFoundError, match="there is no token 'laptop'"):
            tokens.revoke("laptop")
        again = tokens.create("laptop", READ)
        with pytest.raises(NotLetInError):
            tokens.owner(text)
        assert tokens.owner(again).name == "token laptop"

    def test_an_expired_one_lets_nobody_in(self) -> None:
        clock = Clock()
        tokens = Tokens(MemoryStore(), clock)
        text = tokens.create("laptop", READ, days=1)
        clock.present += 86399
        assert tokens.owner(text).role is READ
        clock.present += 1
        with pytest.raises(NotLetInError, match="has expired"):
            tokens.owner(text)

    def test_while_the_store_is_away_known_ones_go_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = MemoryStore()
        tokens = Tokens(store, FakeClock())
        known, strange = tokens.create("known", READ), tokens.create("strange", READ)
        tokens.owner(known)

        def away(key: str) -> None:
            raise StoreError("the store is away")

        monkeypatch.setattr(store, "get", away)
        assert tokens.owner(known).role is READ
        with pytest.raises(NotLetInError):
            tokens.owner(known + "x")
        with pytest.raises(StoreError):
            tokens.owner(strange)

    @pytest.mark.parametrize("name", ["", "Laptop", "a b", "1a", "a/b", "a" * 64, "a."])
    def test_names(self, name: str) -> None:
        with pytest.raises(UsageError, match="is no name for a token"):
            Tokens(MemoryStore(), FakeClock()).create(name, READ)

    def test_over_the_api(self, manager: FakeManager) -> None:
        admin = api(manager, ADMIN)
        body = {"name": "proxy", "role": "read", "days": 30}
        text = admin.post("/v1/tokens", json=body).json()["token"]
        listed = admin.get("/v1/tokens").text
        assert text not in listed
        assert {t["name"] for t in json.loads(listed)} == {"a-admin", "proxy"}
        proxy = TestClient(
            make_app(manager, gated=True), headers={"Authorization": f"Bearer {text}"}
        )
        assert proxy.get("/v1/services").status_code == 200
        assert admin.delete("/v1/tokens/proxy").status_code == 200
        assert proxy.get("/v1/services").status_code == 401
