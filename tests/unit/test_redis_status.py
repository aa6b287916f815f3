"""What Redis's INFO means: relation, ranking, progress and lag, without a server."""

from __future__ import annotations

from typing import Any

from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus
from hamanager_drivers.ranking import rank_by
from hamanager_drivers.redis.config import launch_spec
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.redis.lag import OffsetHistory
from hamanager_drivers.redis.status import covers, relate, server_status

PRIMARY = Target("db.0", "h", 1, 0)


def primary(replid: str = "a", offset: int = 100, **more: Any) -> ServerStatus:
    info = {
        "role": "master",
        "redis_version": "8",
        "master_replid": replid,
        "master_repl_offset": offset,
        **more,
    }
    return server_status(info, 0.0, None)


def standby(replid: str = "a", offset: int = 100, **more: Any) -> ServerStatus:
    info = {
        "role": "slave",
        "redis_version": "8",
        "master_replid": replid,
        "master_repl_offset": offset,
        "master_host": "127.0.0.1",
        "master_port": 1,
        "master_link_status": "down",
        "db0": {"keys": 5},
        **more,
    }
    return server_status(info, 0.0, 1000)


ATTACHED: dict[str, Any] = {
    "master_host": "h",
    "master_port": 1,
    "master_link_status": "up",
    "master_last_io_seconds_ago": 0,
}


def test_relation_to_the_primary() -> None:
    def of(one: ServerStatus, other: ServerStatus | None = None) -> Relation:
        return relate(one, PRIMARY, other or primary())

    assert of(standby(**ATTACHED)) is Relation.ATTACHED
    assert of(standby(**{**ATTACHED, "master_link_status": "down"})) is Relation.ATTACHED
    assert of(standby(**ATTACHED, master_sync_in_progress=1)) is Relation.SEEDING
    assert of(standby(offset=90)) is Relation.DETACHED
    assert of(standby(offset=101)) is Relation.UNPROVEN
    assert of(standby("other")) is Relation.UNPROVEN
    assert of(standby("other", db0={"keys": 0})) is Relation.DETACHED
    assert of(standby("other", loading=1)) is Relation.UNKNOWN


def test_a_former_sibling_is_a_part_of_the_promoted_one_up_to_its_second_offset() -> None:
    promoted = primary("new", 150, master_replid2="a", second_repl_offset=121)
    assert relate(standby("a", 120), PRIMARY, promoted) is Relation.DETACHED
    assert relate(standby("a", 121), PRIMARY, promoted) is Relation.UNPROVEN


def test_a_silent_link_is_not_alive() -> None:
    assert standby(**ATTACHED).link_up is True
    silent = standby(**{**ATTACHED, "master_last_io_seconds_ago": 3})
    assert silent.link_up is False
    assert standby().source is None


def test_progress_of_a_copy_without_a_length_is_approximate() -> None:
    copying = standby(**ATTACHED, master_sync_in_progress=1, master_sync_read_bytes=250)
    assert copying.sync is not None
    assert (copying.sync.stage, copying.sync.percent) == ("receiving", 25.0)
    assert copying.sync.approximate
    more = standby(**ATTACHED, master_sync_in_progress=1, master_sync_read_bytes=5000)
    assert more.sync is not None
    assert more.sync.percent == 99.0
    loading = standby(
        **ATTACHED,
        loading=1,
        loading_loaded_perc=40,
        loading_loaded_bytes=4,
        loading_total_bytes=10,
    )
    assert loading.sync is not None
    assert (loading.sync.stage, loading.sync.percent) == ("loading", 40.0)
    assert not loading.synchronized


def test_ranking_is_by_offset_and_only_within_one_history() -> None:
    assert rank_by({"x": standby(offset=5), "y": standby(offset=9)}, covers) == ("y", "x")
    assert rank_by({"y": standby(offset=5), "x": standby(offset=5)}, covers) == ("x", "y")
    assert rank_by({"x": standby("a"), "y": standby("b")}, covers) == ()
    assert rank_by({}, covers) == ()


def test_lag_is_the_age_of_the_first_thing_missing() -> None:
    history = OffsetHistory()
    assert history.lag_seconds("a", 0, 10.0) is None
    for second in range(10):
        history.note("a", second * 100, float(second))
    assert history.lag_seconds("a", 900, 9.5) == 0.0
    assert history.lag_seconds("a", 650, 9.5) == 2.5
    history.note("b", 5, 11.0)
    assert history.lag_seconds("a", 900, 12.0) is None
    assert history.last_offset("b") == 5


def test_a_thousand_clients_may_come_at_once() -> None:
    service = ServiceContext("db", "redis", None, RedisDriver().new_secrets())
    text = launch_spec(service, PRIMARY, "redis-server").files["redis.conf"].text
    assert "\ntcp-backlog 4096\n" in text
