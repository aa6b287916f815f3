"""From spec, record and snapshot to what `info` shows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hamanager.api.views import InstanceState, ServiceState, ServiceView
from hamanager.daemon.view_builder import service_view
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.host import HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.primary_change import FailoverResult, Promotion
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Process,
    Relation,
    Role,
    ServerStatus,
    Snapshot,
    SyncProgress,
)
from hamanager.model.spec import Spec
from tests.support.altered import altered
from tests.unit.fakes import MB, NOW, capabilities, instance, primary_seen, standby_seen

SPEC = Spec(
    name="db",
    engine="redis",
    instances=2,
    image="redis:test",
    created_at=NOW,
    pinned=PinnedImage(id="sha256:1"),
)
RECORD = ServiceRecord(
    term=1,
    primary="db.0",
    initialized=True,
    instances=(instance("db.0"), instance("db.1")),
)
GONE = Observation(Process.EXITED, Contact.REFUSED, detail="its process has ended")
SILENT = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=10)
BUSY = Observation(Process.RUNNING, Contact.BUSY, detail="too many connections")
COPYING = SyncProgress("file copy", 51.2, 120 * MB, 235 * MB, 80.0 * MB, 1.4)


def view(
    seen: dict[str, Observation],
    *,
    record: ServiceRecord = RECORD,
    spec: Spec = SPEC,
    candidates: tuple[str, ...] = (),
    elects: bool = False,
) -> ServiceView:
    snapshot = Snapshot(NOW, seen, candidates)
    return service_view(spec, record, snapshot, None, capabilities(elects=elects))


def with_second(**fields: object) -> ServiceRecord:
    return RECORD.with_instance(altered(RECORD.instances[1], **fields))


def states(shown: ServiceView) -> list[str]:
    return [str(shown.state), *(str(i.state) for i in shown.instances)]


def test_all_is_well() -> None:
    shown = view({"db.0": primary_seen(), "db.1": standby_seen(lag_seconds=0.2)})
    assert states(shown) == ["running", "up", "up"]
    assert [i.role for i in shown.instances] == ["primary", "standby"]
    assert [i.lag_seconds for i in shown.instances] == [None, 0.2]
    assert shown.version == "8.0"


def test_an_engine_that_does_not_answer_is_told_of_while_its_servers_work() -> None:
    record = with_second(placed_on="h2")
    silent = HostSeen("h2", "10.0.0.2", silent_seconds=12.3, problem="connection refused")
    hosts = {"h1": HostSeen("h1", "10.0.0.1"), "h2": silent}
    seen = {"db.0": primary_seen(), "db.1": standby_seen()}
    snapshot = Snapshot(NOW, seen, hosts=hosts)
    shown = service_view(SPEC, record, snapshot, None, capabilities())
    assert states(shown) == ["running", "up", "up"]
    assert [i.warnings for i in shown.instances] == [
        [],
        ["the Docker engine of h2, where db.1 is, has not answered for 12 s (connection refused)"],
    ]


def test_a_first_copy_is_under_way() -> None:
    record = with_second(joined=False, synchronized=False)
    copying = standby_seen(Relation.SEEDING, COPYING, None)
    shown = view({"db.0": primary_seen(), "db.1": copying}, record=record)
    assert states(shown) == ["synchronizing", "up", "synchronizing"]
    sync = shown.instances[1].sync
    assert sync is not None
    assert (sync.stage, sync.percent, sync.eta_seconds) == ("file copy", 51.2, 1.4)
    assert shown.instances[1].lag_seconds is None


def test_a_wanted_instance_is_not_even_on_record() -> None:
    record = RECORD.without_instance("db.1")
    assert states(view({"db.0": primary_seen()}, record=record)) == ["synchronizing", "up"]


def test_a_new_instance_is_down_only_after_several_starts() -> None:
    for starts, expected in ((1, "synchronizing"), (2, "synchronizing"), (3, "down")):
        record = with_second(joined=False, synchronized=False, starts=starts)
        shown = view({"db.0": primary_seen(), "db.1": GONE}, record=record)
        assert states(shown) == ["synchronizing", "up", expected]


@pytest.mark.parametrize("observation", [GONE, SILENT])
def test_a_standby_is_down(observation: Observation) -> None:
    shown = view({"db.0": primary_seen(), "db.1": observation})
    assert states(shown) == ["degraded", "up", "down"]
    assert shown.instances[1].lag_seconds is None


@pytest.mark.parametrize("relation", [Relation.DETACHED, Relation.UNPROVEN, Relation.DIVERGED])
def test_a_standby_that_does_not_follow_rejoins(relation: Relation) -> None:
    shown = view({"db.0": primary_seen(), "db.1": standby_seen(relation, lag_seconds=4)})
    assert states(shown) == ["degraded", "up", "rejoining"]
    assert shown.instances[1].lag_seconds is None


def test_a_standby_rejoins_until_that_is_on_record() -> None:
    shown = view(
        {"db.0": primary_seen(), "db.1": standby_seen()}, record=with_second(synchronized=False)
    )
    assert states(shown) == ["degraded", "up", "rejoining"]


def test_the_lag_of_a_broken_link_is_not_known() -> None:
    followed = standby_seen(lag_seconds=0.0)
    broken = replace(followed, broken_since=NOW - 60)
    seen = view({"db.0": primary_seen(), "db.1": broken}).instances[1]
    assert (seen.lag_seconds, seen.replication_broken_since) == (None, NOW - 60)


def test_the_primary_is_dead_and_a_standby_can_take_over() -> None:
    seen = {"db.0": GONE, "db.1": standby_seen(Relation.UNKNOWN)}
    assert states(view(seen, candidates=("db.1",))) == ["failing-over", "down", "up"]
    assert states(view(seen)) == ["down", "down", "up"]


def test_a_promotion_is_under_way() -> None:
    record = altered(RECORD, under_way=Promotion(to="db.1"), term=2)
    seen = {"db.0": GONE, "db.1": primary_seen()}
    assert view(seen, record=record).state is ServiceState.FAILING_OVER


def test_a_planned_restart_is_no_fail_over() -> None:
    restarting = instance("db.0", restarting_since=NOW - 1)
    record = RECORD.with_instance(restarting)
    seen = {"db.0": GONE, "db.1": standby_seen(Relation.UNKNOWN)}
    shown = view(seen, record=record, candidates=("db.1",))
    assert states(shown) == ["down", "down", "up"]
    assert [i.restarting for i in shown.instances] == [True, False]


def test_a_restart_that_was_asked_for_shows() -> None:
    spec = altered(SPEC, restarts={"db.1": 1})
    seen = {"db.0": primary_seen(), "db.1": standby_seen()}
    assert [i.restarting for i in view(seen, spec=spec).instances] == [False, True]
    done = with_second(restarts_done=1)
    assert [i.restarting for i in view(seen, spec=spec, record=done).instances] == [False, False]


def test_a_busy_primary_is_alive() -> None:
    seen = {"db.0": BUSY, "db.1": standby_seen(Relation.UNKNOWN)}
    shown = view(seen, candidates=("db.1",))
    assert states(shown) == ["degraded", "up", "up"]
    assert shown.instances[0].detail == "too many connections"


def test_only_the_manager_is_cut_off() -> None:
    status = ServerStatus(Role.STANDBY, source="10.0.0.1:7000", link_up=True, synchronized=True)
    follows = Observation(Process.RUNNING, Contact.ANSWERS, status)
    seen = {"db.0": SILENT, "db.1": follows}
    assert states(view(seen, candidates=("db.1",))) == ["degraded", "down", "up"]


def test_the_primary_came_back_refusing_writes() -> None:
    seen = {"db.0": standby_seen(Relation.UNKNOWN), "db.1": standby_seen(Relation.UNKNOWN)}
    assert states(view(seen)) == ["down", "rejoining", "up"]


def test_a_majority_is_lost() -> None:
    spec = altered(SPEC, instances=3)
    record = RECORD.with_instance(instance("db.2"))
    seen = {"db.0": GONE, "db.1": GONE, "db.2": standby_seen(Relation.UNKNOWN)}
    shown = view(seen, spec=spec, record=record, candidates=("db.2",), elects=True)
    assert states(shown) == ["down", "down", "down", "up"]
    assert shown.topology == "replica-set"


def test_one_too_many_is_still_running() -> None:
    spec = altered(SPEC, instances=1)
    shown = view({"db.0": primary_seen(), "db.1": standby_seen()}, spec=spec)
    assert states(shown) == ["running", "up", "up"]


def test_a_service_is_being_set_up() -> None:
    assert states(view({}, record=ServiceRecord())) == ["synchronizing"]
    record = ServiceRecord(instances=(instance("db.0", joined=False, synchronized=False),))
    assert states(view({"db.0": GONE}, record=record)) == ["synchronizing", "synchronizing"]


def test_an_instance_newer_than_the_last_look() -> None:
    record: ServiceRecord = RECORD.with_instance(
        InstanceRecord(name="db.2", serial=2, generation=3, host="h", port=1)
    )
    seen = {"db.0": primary_seen(), "db.1": standby_seen()}
    assert view(seen, record=record).instances[2].state is InstanceState.SYNCHRONIZING


def test_the_stable_json() -> None:
    """Programs read this: add fields, never rename or remove one."""
    record = altered(
        RECORD,
        last_failover=FailoverResult(
            at=NOW, from_instance="db.1", to_instance="db.0", seconds=0.131, lost="nothing"
        ),
        endpoint=EndpointRecord(host="10.0.0.1", port=7100),
        retained=(RetainedVolume(instance="db.1", volume="v1", at=NOW, reason="it was primary"),),
    )
    seen = {"db.0": primary_seen(), "db.1": standby_seen(Relation.SEEDING, COPYING, None)}
    data = json.loads(view(seen, record=record).model_dump_json(by_alias=True))
    second = data.pop("instances")[1]
    assert data == {
        "name": "db",
        "engine": "redis",
        "version": "8.0",
        "state": "degraded",
        "led_by": "",
        "message": "",
        "desired": {"instances": 2, "memory_bytes": None},
        "primary": "db.0",
        "term": 1,
        "sharing": "",
        "replace_after_seconds": 600.0,
        "url": None,
        "last_failover": {
            "at": NOW,
            "from": "db.1",
            "to": "db.0",
            "seconds": 0.131,
            "lost": "nothing",
            "forced": False,
        },
        "created_at": NOW,
        "topology": "primary-standby",
        "destroying": False,
        "kept": [
            {
                "instance": "db.1",
                "volume": "v1",
                "at": NOW,
                "reason": "it was primary",
                "writes": "",
                "unacknowledged": False,
            }
        ],
        "durability": {
            "mode": "availability",
            "synchronized": None,
            "lost_at": None,
            "note": "replication is asynchronous: a failure may lose the last moment's writes",
        },
        "down_after_seconds": 3.0,
        "failover_period_seconds": 60.0,
        "allow_drills": False,
        "canary": False,
        "paused": False,
        "last_switchover": None,
        "last_resorts": [],
        "order_result": None,
        "at": NOW,
        "image": "redis:test",
        "image_id": "sha256:1",
        "image_digest": None,
        "image_version": None,
        "upgrade": None,
        "port": None,
        "health_path": None,
        "address": {
            "host": "10.0.0.1",
            "port": 7100,
            "leads_to": "db.0",
            "reads_port": None,
            "reads_max_lag_seconds": None,
            "problem": "",
        },
    }
    assert second == {
        "name": "db.1",
        "role": "standby",
        "state": "rejoining",
        "address": "10.0.0.1:7001",
        "host": None,
        "lag_seconds": None,
        "sync": {
            "stage": "file copy",
            "percent": 51.2,
            "bytes_done": 120 * MB,
            "bytes_total": 235 * MB,
            "bytes_per_second": 80.0 * MB,
            "eta_seconds": 1.4,
            "approximate": False,
        },
        "memory": {
            "reserved_bytes": None,
            "used_bytes": None,
            "cache_bytes": None,
            "problem": "",
        },
        "replication_broken_since": None,
        "image": "redis:test",
        "image_id": "sha256:1",
        "draining": False,
        "connections": None,
        "lag_history": [],
        "restarting": False,
        "detail": "",
        "synchronized": None,
        "excess": "",
        "warnings": [],
        "facts": {},
    }
    shown = ServiceView.model_validate(json.loads(view(seen).model_dump_json(by_alias=True)))
    assert shown == view(seen)
