"""Memory limits: in which order they change, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.api.grammar import ScaleRequest
from hamanager.errors import ConflictError, UsageError
from hamanager.model.decision import Action, Decision
from hamanager.model.instance import InstanceRecord
from hamanager.model.memory_limit import grows_to, misfit
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Role
from hamanager.stores.repository import load_spec, save_record
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeDriver, FakeRuntime, commands
from tests.unit.fakes import instance as full_record
from tests.unit.test_decide import NOW, instance, table, up

MB = 1024**2
GB = 1024**3


def with_limits(*limits: int | None, **fields: Any) -> tuple[InstanceRecord, ...]:
    return tuple(
        instance(f"db.{n}", memory_bytes=limit, **fields) for n, limit in enumerate(limits)
    )


def decided(
    wanted: int | None, instances: tuple[InstanceRecord, ...], used: int | None = None
) -> Decision:
    seen = {
        i.name: replace(
            up(Role.PRIMARY if i.name == "db.0" else Role.STANDBY), memory_used_bytes=used
        )
        for i in instances
    }
    return table(seen, spec={"memory_bytes": wanted}, instances=instances)


def test_standbys_grow_first_and_the_primary_shrinks_first() -> None:
    assert decided(GB, with_limits(512 * MB, 512 * MB)).instance == "db.1"
    assert decided(GB, with_limits(512 * MB, GB)).instance == "db.0"
    assert decided(None, with_limits(512 * MB, 512 * MB)).instance == "db.1"
    assert decided(256 * MB, with_limits(512 * MB, 512 * MB)).instance == "db.0"
    assert decided(256 * MB, with_limits(None, None)).instance == "db.0"
    assert decided(GB, with_limits(512 * MB, 512 * MB)).action is Action.SET_MEMORY


@pytest.mark.parametrize(
    ("seconds_ago", "used", "action"),
    [
        pytest.param(None, 400 * MB, Action.SHRINK, id="first the server"),
        pytest.param(1.0, 100 * MB, Action.WAIT, id="measured before it could"),
        pytest.param(5.0, 400 * MB, Action.WAIT, id="it takes a while"),
        pytest.param(5.0, 200 * MB, Action.SET_MEMORY, id="there is room"),
        pytest.param(5.0, 255 * MB, Action.WAIT, id="too close to the limit"),
        pytest.param(40.0, 400 * MB, Action.KEEP_MEMORY, id="it does not"),
        pytest.param(5.0, None, Action.SET_MEMORY, id="nobody knows"),
    ],
)
def test_a_server_gives_memory_back_before_its_limit_falls(
    seconds_ago: float | None, used: int | None, action: Action
) -> None:
    since = None if seconds_ago is None else NOW - seconds_ago
    limits = with_limits(512 * MB, memory_shrinks_since=since)
    assert decided(256 * MB, limits, used).action is action


def test_what_could_not_be_done_is_not_tried_all_the_time() -> None:
    tried = with_limits(512 * MB, memory_tried_at=NOW - 5)
    assert decided(256 * MB, tried, 400 * MB).action is Action.NOTHING
    long_ago = with_limits(512 * MB, memory_tried_at=NOW - 100)
    assert decided(256 * MB, long_ago, 400 * MB).action is Action.SHRINK


def test_what_is_larger() -> None:
    assert grows_to(MB, 2 * MB)
    assert grows_to(MB, None)
    assert not grows_to(None, MB)
    assert not grows_to(2 * MB, MB)


def test_what_does_not_fit() -> None:
    data = {"data_in_memory": True}
    assert misfit(128 * MB, 60 * MB, 50 * MB, 90 * MB, **data) == ""
    assert "holds 100MB of data" in misfit(128 * MB, 110 * MB, 100 * MB, 90 * MB, **data)
    assert "uses 130MB" in misfit(128 * MB, 130 * MB, 50 * MB, 90 * MB, **data)
    cache = {"data_in_memory": False}
    assert misfit(512 * MB, 900 * MB, 600 * MB, 128 * MB, **cache) == "", "the cache can shrink"
    assert "can shrink to 128MB" in misfit(512 * MB, 1100 * MB, 600 * MB, 128 * MB, **cache)
    assert misfit(512 * MB, None, 600 * MB, 128 * MB, **cache) == "", "nobody knows"


def test_refused_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    runtime = FakeRuntime()
    asked = commands(store, runtime)
    asked.create("db", "redis", memory_bytes=512 * MB)
    save_record(store, "db", ServiceRecord(instances=(full_record("db.0"),)), 0)
    before = load_spec(store, "db")
    monkeypatch.setattr(FakeDriver, "cached", 200 * MB)
    runtime.used = 400 * MB
    with pytest.raises(ConflictError, match=r"db\.0 does not fit into 128MB .*nothing was changed"):
        asked.scale([ScaleRequest("db", memory_bytes=128 * MB)])
    with pytest.raises(UsageError, match=r"more than 4GB .* needs --allow-large"):
        asked.scale([ScaleRequest("db", memory_bytes=5 * GB)])
    assert load_spec(store, "db") == before
    asked.scale([ScaleRequest("db", memory_bytes=5 * GB)], allow_large=True)
    asked.scale([ScaleRequest("db", memory_bytes=1 * GB)])
