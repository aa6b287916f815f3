"""What monitoring and load balancers are told over plain HTTP."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hamanager.contracts.store import Store
from hamanager.daemon.metrics import Metrics, Watched
from hamanager.daemon.web import make_web, serving
from hamanager.decide.situation import Situation
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, StoreError
from hamanager.model.history import HistoryEntry
from hamanager.model.kept import Facts
from hamanager.model.snapshot import Role, Snapshot, SyncProgress
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeClock
from tests.unit.test_decide import NOW, PROMOTED, up
from tests.unit.test_why import SPEC, SYNCED

with warnings.catch_warnings():
    # Newer versions of starlette prefer another HTTP package for this client.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

COPYING = SyncProgress("receiving", bytes_done=5, bytes_total=10)
FACTS = Facts(
    SPEC,
    SYNCED,
    Snapshot(NOW, {"db.0": up(Role.PRIMARY, probe_seconds=0.002), "db.1": up(sync=COPYING)}),
)


@dataclass
class Manager:
    """As much of one as is asked."""

    facts: Facts = FACTS
    trouble: str = ""
    silent: str = ""
    watching: Mapping[str, Watched] = field(default_factory=lambda: {"db": Watched(FACTS, True)})

    def situation(self, name: str) -> Situation:
        if name != "db":
            raise NotFoundError(f"there is no service '{name}'")
        if self.silent:
            raise HamanagerError(self.silent)
        return Situation(self.facts.spec, self.facts.record, self.facts.snapshot, PROMOTED)

    def watched(self) -> Mapping[str, Watched]:
        return self.watching

    def problem(self) -> str:
        return self.trouble


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def metrics(manager: Manager) -> Metrics:
    made = Metrics()
    made.watch(manager.watched)
    return made


@pytest.fixture
def web(manager: Manager, metrics: Metrics) -> TestClient:
    return TestClient(make_web(manager, metrics))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_load_balancer_asks_by_any_method(web: TestClient, method: str) -> None:
    path = "/v1/services/db/instances"
    assert web.request(method, f"{path}/db.0/primary").status_code == 200
    assert web.request(method, f"{path}/db.1/primary").status_code == 503
    assert web.request(method, f"{path}/db.1/replica").status_code == 200
    assert web.request(method, "/health/live").status_code == 200


def test_the_reason_comes_with_it(web: TestClient) -> None:
    answer = web.get("/v1/services/db/instances/db.1/read-write").json()
    assert answer == {
        "service": "db",
        "instance": "db.1",
        "check": "read-write",
        "fit": False,
        "reason": "db.0 is the primary",
    }


@pytest.mark.parametrize("path", ["no/instances/no.0", "db/instances/db.9"])
def test_what_there_is_not(web: TestClient, path: str) -> None:
    answer = web.get(f"/v1/services/{path}/primary")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("there is no ")


def test_what_was_not_seen_lately_is_fit_for_nothing(web: TestClient, manager: Manager) -> None:
    manager.silent = "'db' was looked at last 9 s ago"
    answer = web.get("/v1/services/db/instances/db.0/primary")
    assert (answer.status_code, answer.json()["reason"]) == (503, manager.silent)


def test_a_manager_that_cannot_act_is_not_ready(web: TestClient, manager: Manager) -> None:
    assert web.get("/health/ready").status_code == 200
    manager.trouble = "it has no session"
    answer = web.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "it has no session")
    assert web.get("/health/live").status_code == 200


def test_where_the_servers_are(web: TestClient) -> None:
    assert web.get("/sd").json()[1] == {
        "targets": ["h:1"],
        "labels": {"service": "db", "instance": "db.1", "engine": "e"},
    }


# --- Metrics ------------------------------------------------------------------------------------


class Samples(dict[str, float]):
    """By name and labels, these in alphabetical order: `up{instance=db.0,service=db}`."""

    def of(self, name: str, **labels: str) -> float | None:
        """One of them; None when it is not told."""
        return self.get(_sample(name, {"service": "db", **labels}))


def _sample(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{sorted(labels.items())}"


def told(web: TestClient) -> Samples:
    families = text_string_to_metric_families(web.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return Samples({_sample(one.name, one.labels): one.value for one in samples})


def test_instances_are_told_of(web: TestClient) -> None:
    found = told(web)
    assert found.of("hamanager_instance_up", instance="db.0") == 1
    assert found.of("hamanager_instance_role", instance="db.0", role="primary") == 1
    assert found.of("hamanager_instance_role", instance="db.1", role="primary") == 0
    assert found.of("hamanager_in_sync_set", instance="db.1") == 1
    assert found.of("hamanager_in_sync_set", instance="db.0") is None
    assert found.of("hamanager_copy_bytes", instance="db.1", kind="total") == 10
    assert found.of("hamanager_probe_seconds", instance="db.0") == 0.002
    assert found.of("hamanager_is_leader") == 1
    assert found.of("hamanager_term") == 3


def test_a_service_that_was_not_seen_yet_is_told_of_by_name(
    web: TestClient, manager: Manager
) -> None:
    manager.watching = {"new": Watched(None, False)}
    found = told(web)
    assert found.of("hamanager_is_leader", service="new") == 0
    assert not any("instance" in name for name in found)


def run(metrics: Metrics, playbook: str, rule: str, *, ok: bool = True) -> None:
    def note(kind: str, **fields: object) -> None:
        entry = {"at": 1.0, "service": "db", "kind": kind, "text": "t", "run": rule}
        metrics.note(HistoryEntry(**{**entry, "playbook": playbook, **fields}))  # type: ignore[arg-type]

    note("decision", rule=rule)
    note("step", step="promote db.1", seconds=0.02)
    note("outcome", seconds=0.2, ok=ok)


def test_failovers_are_counted_by_reason_and_timed_by_step(
    web: TestClient, metrics: Metrics
) -> None:
    run(metrics, "fail over", "primary-dead")
    run(metrics, "fail over", "primary-dead", ok=False)
    run(metrics, "attach", "rejoin")
    found = told(web)
    for result in ("done", "failed"):
        labels = {"reason": "primary-dead", "result": result}
        assert found.of("hamanager_failovers_total", **labels) == 1
    assert found.of("hamanager_failover_seconds_count") == 2
    steps = _sample("hamanager_failover_step_seconds_count", {"step": "promote it"})
    assert found[steps] == 2
    assert found.of("hamanager_decisions_total", rule="rejoin") == 1
    assert not any("'reason', 'rejoin'" in name for name in found)


def test_what_was_counted_since_the_last_scrape_is_told(web: TestClient, metrics: Metrics) -> None:
    labels = {"reason": "primary-dead", "result": "done"}
    for number in (1, 2, 3):
        run(metrics, "fail over", "primary-dead")
        for _ in range(2):
            assert told(web).of("hamanager_failovers_total", **labels) == number


def test_runs_that_never_end_are_forgotten(metrics: Metrics) -> None:
    for number in range(3_000):
        entry = HistoryEntry(at=1.0, service="db", kind="decision", text="t", run=str(number))
        metrics.note(entry)
    assert len(metrics._rules) <= 1_000


class Clock(FakeClock):
    """Goes on when it is told to."""

    at = NOW

    def monotonic(self) -> float:
        return self.at


class Away(MemoryStore):
    """It answers no more."""

    away = False

    def version(self) -> int:
        if self.away:
            raise StoreError("it does not answer")
        return super().version()


def test_how_long_the_store_has_been_away(web: TestClient, metrics: Metrics) -> None:
    clock, inner = Clock(), Away()
    store = metrics.heard(cast(Store, inner), clock)
    store.version()
    clock.at += 5.0
    inner.away = True
    with pytest.raises(StoreError):
        store.version()
    assert told(web)[_sample("hamanager_store_last_seen_seconds", {})] == 5.0
    store.append(HistoryEntry(at=1.0, service="db", kind="note", text="t", rule="paused"))
    found = told(web)
    assert found[_sample("hamanager_store_last_seen_seconds", {})] == 0.0
    assert found.of("hamanager_decisions_total", rule="paused") == 1
    assert len(inner.history("db")) == 1


# --- The listener -------------------------------------------------------------------------------


def test_it_is_offered_where_it_is_wanted(manager: Manager, metrics: Metrics) -> None:
    with serving(("127.0.0.1", 0), make_web(manager, metrics)) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
        assert answer.headers["content-type"].startswith("text/plain")
    with serving(None, make_web(manager, metrics)) as port:
        assert port == 0


def test_an_address_that_is_taken_is_said(manager: Manager, metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = taken.getsockname()
        offered = serving(address, make_web(manager, metrics))
        with pytest.raises(ConflictError, match="name another address with --web"), offered:
            raise AssertionError("it was offered")


def test_what_fails_while_it_is_offered_is_not_the_address(
    manager: Manager, metrics: Metrics
) -> None:
    offered = serving(("127.0.0.1", 0), make_web(manager, metrics))
    with pytest.raises(OSError, match="the disk is full"), offered:
        raise OSError("the disk is full")
