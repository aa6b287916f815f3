"""Commands write specs, all or nothing."""

from __future__ import annotations

import pytest

from hamanager.api.grammar import ScaleRequest
from hamanager.daemon.commands import Commands
from hamanager.daemon.specs import TRIES
from hamanager.errors import (
    ConflictError,
    HamanagerError,
    NotFoundError,
    RuntimeFailedError,
    StaleVersionError,
    UsageError,
)
from hamanager.model.durability import Durability
from hamanager.model.image import PinnedImage
from hamanager.model.order import OrderKind
from hamanager.model.record import RetainedVolume, ServiceRecord
from hamanager.model.settings import Settings
from hamanager.model.spec import Spec
from hamanager.stores.repository import (
    load_record,
    load_secrets,
    load_spec,
    save_record,
    secrets_key,
    service_names,
    spec_key,
)
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import MB, NOW, SECRET, FakeRuntime, commands, instance


class WatchedStore(MemoryStore):
    """Counts writes and can lose compare-and-swaps."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.losses_left = 0

    def put(self, key: str, value: str, expected: int) -> int:
        if self.losses_left:
            self.losses_left -= 1
            raise StaleVersionError("lost")
        self.written.append(key)
        return super().put(key, value, expected)


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def do(store: WatchedStore) -> Commands:
    return commands(store)


def spec(store: MemoryStore, name: str = "db") -> Spec:
    loaded = load_spec(store, name)
    assert loaded is not None
    return loaded[0]


def texts(store: MemoryStore, name: str = "db") -> list[str]:
    return [entry.text for entry in store.history(name) if entry.kind == "command"]


def test_create_writes_the_secrets_first_then_the_spec(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis", 2, 500 * MB, None, Settings(down_after_seconds=5.0))
    assert store.written == [secrets_key("db"), spec_key("db")]
    assert spec(store) == Spec(
        name="db",
        engine="redis",
        instances=2,
        memory_bytes=512 * MB,
        image="redis:test",
        pinned=PinnedImage(id="sha256:redis:test", digest="redis:test@sha256:0", name="redis:test"),
        down_after_seconds=5.0,
        created_at=NOW,
    )
    assert load_secrets(store, "db")["password"] == "app-1"
    assert texts(store) == ["create db: redis, 2 instances, 512MB each"]


def test_no_history_tells_a_secret(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    told = "".join(entry.model_dump_json() for entry in store.history("db"))
    assert SECRET not in told
    assert "app-1" not in told


def test_secrets_left_by_a_creation_that_died_are_replaced(
    do: Commands, store: WatchedStore
) -> None:
    store.put(secrets_key("db"), '{"half": "done"}', 0)
    do.create("db", "redis")
    assert set(load_secrets(store, "db")) == {"password", "manager_password"}


def test_create_twice_changes_nothing(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    before = (spec(store), load_secrets(store, "db"), texts(store))
    with pytest.raises(ConflictError) as caught:
        do.create("db", "mongodb", 3)
    assert str(caught.value) == "service 'db' exists already (engine redis); nothing was changed"
    assert (spec(store), load_secrets(store, "db"), texts(store)) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a b", "redis"), "'a b' cannot be a service's name"),
        (("db", "oracle"), "unknown engine 'oracle': choose from mongodb, redis"),
        (("db", "mongodb", 2), "a mongodb service can have 1, 3 or 5 instances, not 2"),
        (("db", "redis", 0), "a redis service can have 1, 2 or 3 instances, not 0"),
        (("db", "redis", 1, 32 * MB), "redis needs at least 64MB of memory per instance, not 32MB"),
        (("db", "redis", 1, 1), "memory must be from 32M to 64G, not 1"),
        (
            ("db", "redis", 1, None, None, Settings(down_after_seconds=0.0)),
            "down-after takes seconds from 1.5 on, not 0",
        ),
        (
            ("db", "redis", 1, None, None, Settings(down_after_seconds=float("nan"))),
            "down-after takes seconds from 1.5 on, not nan",
        ),
        (
            ("db", "redis", 1, None, None, Settings(down_after_seconds=1e9)),
            "down-after takes at most a day",
        ),
    ],
)
def test_a_service_that_cannot_be(
    do: Commands, store: WatchedStore, arguments: tuple[object, ...], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        do.create(*arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)
    assert store.written == []
    assert store.history("db") == []


def test_without_an_image_nothing_is_created(store: WatchedStore) -> None:
    runtime = FakeRuntime()
    runtime.missing_image = True
    with pytest.raises(RuntimeFailedError):
        commands(store, runtime).create("db", "redis")
    assert store.written == []


def test_scale_several_services(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    do.create("docs", "mongodb")
    names = do.scale(
        [
            ScaleRequest("db", instances=2),
            ScaleRequest("docs", instances=3),
            ScaleRequest("db", memory_bytes=100 * MB),
        ]
    )
    assert names == ["db", "docs"]
    assert (spec(store).instances, spec(store).memory_bytes) == (2, 128 * MB)
    assert spec(store, "docs").instances == 3
    assert texts(store)[-1] == "scale db:instances=2 db:memory=128MB"
    assert texts(store, "docs")[-1] == "scale docs:instances=3"


@pytest.mark.parametrize(
    ("bad", "kind", "sentence"),
    [
        (ScaleRequest("nosuch", 2), NotFoundError, "there is no service 'nosuch'"),
        (
            ScaleRequest("docs", 2),
            UsageError,
            "a mongodb service can have 1, 3 or 5 instances, not 2; nothing was changed",
        ),
        (ScaleRequest("docs", memory_bytes=32 * MB), UsageError, "mongodb needs at least 64MB"),
        (ScaleRequest("docs", memory_bytes=1024), UsageError, "memory must be from 32M to 64G"),
        (ScaleRequest("db", 3), UsageError, "db:instances is given twice"),
    ],
)
def test_one_bad_target_and_nothing_changes(
    do: Commands,
    store: WatchedStore,
    bad: ScaleRequest,
    kind: type[HamanagerError],
    sentence: str,
) -> None:
    do.create("db", "redis")
    do.create("docs", "mongodb")
    store.written.clear()
    with pytest.raises(kind) as caught:
        do.scale([ScaleRequest("db", 2), bad])
    assert str(caught.value).startswith(sentence)
    assert store.written == []
    assert len(texts(store)) == 1


def test_scale_to_what_is_wanted_already_writes_nothing(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    store.written.clear()
    do.scale([ScaleRequest("db", 1)])
    assert store.written == []


def test_a_lost_compare_and_swap_is_tried_again(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    store.losses_left = TRIES - 1
    do.scale([ScaleRequest("db", 2)])
    assert spec(store).instances == 2


def test_but_not_for_ever(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    store.losses_left = TRIES
    with pytest.raises(StaleVersionError):
        do.scale([ScaleRequest("db", 2)])
    assert spec(store).instances == 1


def test_restart_asked_again_while_pending_adds_none(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    record = ServiceRecord(instances=(instance("db.0", restarts_done=4),))
    save_record(store, "db", record, 0)
    assert do.restart("db.0") == "db"
    do.restart("db.0")
    assert spec(store).restarts == {"db.0": 5}
    assert texts(store)[-1] == "restart db.0"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("db", UsageError, "'db' is not the name of an instance"),
        ("db.7", NotFoundError, "there is no instance 'db.7': 'db' has db.0 and db.1"),
        ("nosuch.0", NotFoundError, "there is no service 'nosuch': there is db"),
    ],
)
def test_an_instance_that_cannot_be_restarted(
    do: Commands, store: WatchedStore, name: str, kind: type[HamanagerError], sentence: str
) -> None:
    do.create("db", "redis")
    record = ServiceRecord(instances=(instance("db.0"), instance("db.1")))
    save_record(store, "db", record, 0)
    with pytest.raises(kind) as caught:
        do.restart(name)
    assert str(caught.value).startswith(sentence)
    assert spec(store).restarts == {}


def test_destroy_is_written_down_until_it_is_done(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    do.destroy("db")
    do.destroy("db")
    assert spec(store).destroy
    assert service_names(store) == ["db"]
    assert texts(store) == ["create db: redis, 1 instance, no memory limit", "destroy db"]
    with pytest.raises(ConflictError, match="is being destroyed"):
        do.scale([ScaleRequest("db", 2)])
    with pytest.raises(ConflictError, match="is being destroyed"):
        do.restart("db.0")
    with pytest.raises(ConflictError, match="still being destroyed"):
        do.create("db", "redis")
    assert spec(store).instances == 1


def test_destroy_what_is_not_there(do: Commands) -> None:
    with pytest.raises(NotFoundError) as caught:
        do.destroy("db")
    assert str(caught.value) == "there is no service 'db': there are none yet"


def test_the_record_is_the_loops_alone(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    do.scale([ScaleRequest("db", 3)])
    assert load_record(store, "db") == (ServiceRecord(), 0)


def test_settings_change_what_is_named_and_nothing_else(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis", settings=Settings(durability=Durability.STRICT))
    do.change_settings("db", Settings(failover_period_seconds=0, allow_drills=True))
    assert spec(store).durability is Durability.STRICT
    assert (spec(store).failover_period_seconds, spec(store).allow_drills) == (0, True)
    assert texts(store)[-1] == "set db failover_period_seconds=0.0 allow_drills=True"
    before = spec(store)
    for wrong, words in (
        (Settings(), "nothing to set is named"),
        (Settings(durability=Durability.MAJORITY), "redis has durability availability or strict"),
        (Settings(failover_period_seconds=-1), "failover-period takes seconds from 0 on, not -1"),
    ):
        with pytest.raises(UsageError, match=words):
            do.change_settings("db", wrong)
    assert spec(store) == before


def test_an_engine_that_leaves_no_choice(do: Commands, store: WatchedStore) -> None:
    with pytest.raises(UsageError, match="mongodb has durability majority, not strict"):
        do.create("db", "mongodb", settings=Settings(durability=Durability.STRICT))
    do.create("db", "mongodb")
    assert spec(store).durability is Durability.MAJORITY


def test_an_order_to_discard_all_is_about_what_is_kept_now(
    do: Commands, store: WatchedStore
) -> None:
    do.create("db", "redis")
    kept = RetainedVolume(instance="db.1", volume="db-1-1", at=NOW, reason="rebuilt")
    save_record(store, "db", ServiceRecord().retain(kept), 0)
    do.order("db", OrderKind.DISCARD)
    order = spec(store).order
    assert order is not None
    assert (order.to, order.volumes) == (None, ("db-1-1",))
    do.order("db", OrderKind.DISCARD, "db-1-1")
    order = spec(store).order
    assert order is not None
    assert (order.to, order.volumes) == ("db-1-1", ())


def test_orders_are_numbered_and_checked(do: Commands, store: WatchedStore) -> None:
    do.create("db", "redis")
    with pytest.raises(NotFoundError, match="'db' has none yet"):
        do.order("db", OrderKind.SWITCHOVER, "db.7")
    with pytest.raises(UsageError, match="0 to 20 s, not 21"):
        do.order("db", OrderKind.SWITCHOVER, patience_seconds=21)
    assert spec(store).order is None
    assert do.order("db", OrderKind.SWITCHOVER) == 1
    assert do.order("db", OrderKind.DISCARD, "volume") == 2
    order = spec(store).order
    assert order is not None
    assert (order.kind, order.to, order.asked_at) == (OrderKind.DISCARD, "volume", NOW)
    do.pause("db", paused=True)
    do.pause("db", paused=True)
    assert texts(store)[-3:] == ["switchover db", "discard db to volume", "pause db"]
    with pytest.raises(ConflictError, match="`hamanager resume db` first"):
        do.order("db", OrderKind.SWITCHOVER)
