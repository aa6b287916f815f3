"""What people read: compared with golden texts, so that a change shows up as a diff.

HAMANAGER_GOLDEN=write rewrites them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hamanager import formats
from hamanager.api.goals import summary
from hamanager.api.views import (
    InstanceState,
    ServiceState,
    ServiceView,
    SyncView,
    UnsafeCandidateView,
)
from hamanager.cli.info_text import info_text
from hamanager.cli.text import (
    failover_assessment,
    history_text,
    progress_words,
    services_text,
    status_text,
)
from hamanager.daemon.view_builder import service_view
from hamanager.model.history import HistoryEntry
from hamanager.model.primary_change import FailoverResult
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.snapshot import Observation, Relation, Snapshot, SyncProgress
from hamanager.model.spec import Spec
from tests.support.altered import altered
from tests.unit.fakes import MB, NOW, capabilities, instance, primary_seen, standby_seen
from tests.unit.test_views import GONE

GOLDEN = Path(__file__).parent / "golden"
URL = "mysql://app:p4ss@10.0.0.1:7000/app"
MESSAGE = "db.0 is primary, 1 of 1 standbys follow"


def compare(name: str, text: str) -> None:
    """With the golden text of that name."""
    path = GOLDEN / name
    if os.environ.get("HAMANAGER_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def shown(
    seen: dict[str, Observation],
    *,
    engine: str = "mysql",
    limit: int | None = 512 * MB,
    message: str = MESSAGE,
    joined: bool = True,
    record: ServiceRecord | None = None,
) -> ServiceView:
    spec = Spec(
        name="db",
        engine=engine,
        instances=len(seen),
        memory_bytes=limit,
        image="i",
        created_at=1312288848.62,
    )
    last = list(seen)[-1]
    instances = tuple(instance(n, memory_bytes=limit, joined=joined or n != last) for n in seen)
    record = altered(
        record or ServiceRecord(), term=1, primary="db.0", initialized=True, instances=instances
    )
    elects = engine == "mongodb"
    url = URL if not elects else "mongodb://app:p4ss@10.0.0.1:7000,10.0.0.1:7001,10.0.0.1:7002/app"
    return service_view(
        spec, record, Snapshot(NOW, seen), url, capabilities(elects=elects), message
    )


def copying(**fields: object) -> Observation:
    numbers: dict[str, object] = {
        "percent": 51.2,
        "bytes_done": 120 * MB,
        "bytes_total": 235 * MB,
        "bytes_per_second": 80.4 * MB,
        "eta_seconds": 1.4,
        **fields,
    }
    progress = SyncProgress("file copy", **numbers)  # type: ignore[arg-type]
    return standby_seen(Relation.SEEDING, progress, None, memory_used_bytes=31 * MB)


WELL = {"db.0": primary_seen(), "db.1": standby_seen(memory_used_bytes=20 * MB)}
SYNCHRONIZING = {"db.0": primary_seen(), "db.1": copying()}
STORY = ServiceRecord(
    last_failover=FailoverResult(
        at=NOW,
        from_instance="db.1",
        to_instance="db.0",
        seconds=0.131,
        lost="unknown: replication is asynchronous",
    ),
    retained=(
        RetainedVolume(
            instance="db.1", volume="hamanager-1-db.1-g2", at=NOW, reason="it was primary"
        ),
    ),
)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("info_running.yaml", shown(WELL)),
        (
            "info_synchronizing.yaml",
            shown(SYNCHRONIZING, joined=False, message="db.1: a copy is under way"),
        ),
        ("info_single.yaml", shown({"db.0": primary_seen()}, limit=None)),
        (
            "info_degraded.yaml",
            shown({"db.0": primary_seen(), "db.1": GONE}, record=STORY, message=""),
        ),
        (
            "info_mongodb.yaml",
            shown(
                {"db.0": primary_seen(), "db.1": standby_seen(), "db.2": copying(approximate=True)},
                engine="mongodb",
                joined=False,
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_info(name: str, view: ServiceView) -> None:
    text = info_text(view)
    compare(name, text)
    assert yaml.safe_load(text)["type"] == view.engine


def test_dotclouds_readers_find_what_they_look_for() -> None:
    document = yaml.safe_load(info_text(shown(WELL)))
    assert document["ports"] == [{"name": "mysql", "url": URL}]
    status, master, slaves = document["replication"]
    assert status == {"status": "online"}
    assert master["master"].items() >= {"name": "db.0", "status": "UP"}.items()
    [slave] = slaves["slaves"]
    assert slave.items() >= {"name": "db.1", "replication_lag": "0s", "status": "UP"}.items()
    assert (document["state"], document["type"]) == ("running", "mysql")
    assert document["created_at"] == 1312288848.62
    assert document["memory"] == [
        {"total reserved": "1GB"},
        {"total used": "45MB of 1GB (4%)"},
    ]


def test_a_lag_is_always_there_and_says_why_when_it_is_not_known() -> None:
    for second, words in (
        (GONE, "unknown (it is down)"),
        (standby_seen(Relation.DETACHED), "broken since 2026-09-21 14:10:15 UTC (3m5s)"),
        (standby_seen(lag_seconds=None), "unknown"),
        (standby_seen(lag_seconds=12.3), "12s"),
    ):
        document = yaml.safe_load(info_text(shown({"db.0": primary_seen(), "db.1": second})))
        assert document["replication"][2]["slaves"][0]["replication_lag"] == words


@given(st.text(max_size=60), st.text(max_size=60))
def test_info_is_valid_yaml_whatever_the_engines_say(message: str, detail: str) -> None:
    broken = Observation(GONE.process, GONE.contact, detail=detail)
    view = shown({"db.0": primary_seen(), "db.1": broken}, message=message)
    document = yaml.safe_load(info_text(view))
    assert document.get("message", "") == message
    assert document["replication"][2]["slaves"][0].get("detail", "") == detail


def test_the_table_of_services() -> None:
    names = [shown(WELL), shown(SYNCHRONIZING, joined=False, limit=None)]
    long = altered(names[1], name="a-service-with-a-name-of-31-chars")
    compare("services.txt", services_text([names[0], long]))


def test_the_table_without_services_says_what_to_do() -> None:
    assert services_text([]).startswith("there are no services")


def test_status() -> None:
    compare("status.txt", status_text(shown({**WELL, "db.2": GONE})))


def test_history() -> None:
    def entry(kind: str, text: str, **fields: object) -> HistoryEntry:
        return HistoryEntry(at=NOW, service="db", kind=kind, text=text, **fields)  # type: ignore[arg-type]

    entries = [
        entry("command", "scale db:instances=2"),
        entry("decision", "add instance db.1: 2 instances are wanted, there are 1", run="r1"),
        entry("step", "put db.1 on record: at 10.0.0.1:7001", run="r1", number=1, seconds=0.002),
        entry("step", "start db.1", run="r1", number=2, seconds=0.413),
        entry("outcome", "add instance db.1: done", run="r1", seconds=0.4151),
        entry("note", "db.0: no sign of life for 0.2 s, counts as failed after 3 s"),
        entry("decision", "fail over db.1: db.0: it is gone", run="r2"),
        entry("step", "fence db.0: it did not stop", run="r2", number=1, seconds=61.0, ok=False),
        entry("outcome", "fail over db.1: failed", run="r2", seconds=61.0, ok=False),
    ]
    compare("history.txt", history_text(entries))
    cut = altered(entries[3], playbook="add instance")
    assert history_text([cut]).splitlines()[0].endswith("UTC  add instance (began further back)")


def test_what_a_forced_fail_over_would_cost() -> None:
    well = shown({"db.0": primary_seen(), "db.1": standby_seen()})
    assert failover_assessment(well, None).startswith("db.0 leads")
    dead = altered(
        well,
        state=ServiceState.DOWN,
        last_resorts=[UnsafeCandidateView(instance="db.1", may_lack="at least 12 transactions")],
    )
    assert failover_assessment(dead, None) == (
        "db.1 would be promoted, and may lack at least 12 transactions, which would be lost"
    )
    assert "unknown number" in failover_assessment(dead, "db.2")
    one_left = [altered(i, state=InstanceState.DOWN) for i in well.instances[:1]]
    members = altered(dead, topology="replica-set", instances=one_left)
    assert failover_assessment(members, None) == (
        "db.1 would lead without the agreement of a majority, and what only db.0 had would be lost"
    )


def test_progress_in_one_line() -> None:
    sync = SyncView(stage="receiving", bytes_done=5 * MB)
    assert progress_words(sync) == "5MB"
    assert progress_words(SyncView(stage="receiving")) == ""
    full = shown(SYNCHRONIZING, joined=False).instances[1].sync
    assert full is not None
    assert progress_words(full) == "51%, 120MB of 235MB, 80MB/s, 1s left"


def test_summary() -> None:
    assert summary(shown(WELL)) == (
        "db: running, 2 of 2 instances up, 512MB of memory each (db.0 primary, db.1 standby)"
    )


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KB"),
        (1024**2 - 1, "1MB"),
        (1.5 * 1024**3, "1.5GB"),
        (512 * MB, "512MB"),
        (64 * 1024**3, "64GB"),
        (5000 * 1024**4, "5000TB"),
    ],
)
def test_sizes(size_bytes: float, text: str) -> None:
    assert formats.size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.04, "0s"), (0.3, "0.3s"), (9.96, "10s"), (59.6, "1m0s"), (7805, "2h10m")],
)
def test_lags(seconds: float, text: str) -> None:
    assert formats.lag(seconds) == text


def test_a_service_without_data() -> None:
    spec = Spec(
        name="www",
        engine="stateless",
        instances=2,
        image="www:1",
        port=8080,
        health_path="/up",
        created_at=1312288848.62,
    )
    names = ("www.0", "www.1")
    record = ServiceRecord(initialized=True, instances=tuple(instance(name) for name in names))
    seen = {name: standby_seen(Relation.UNKNOWN) for name in names}
    snapshot = Snapshot(NOW, seen, unsafe_candidates=names)
    able = replace(capabilities(), stateless=True)
    view = service_view(spec, record, snapshot, "http://10.0.0.1:7000/", able, "well")
    compare("info_stateless.yaml", info_text(view))
