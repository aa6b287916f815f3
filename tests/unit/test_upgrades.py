"""`upgrade`: what is refused with nothing changed, what is wished for, what people are shown."""

from __future__ import annotations

import pytest
import yaml

from hamanager.act.context import needed
from hamanager.api.goals import upgraded
from hamanager.api.views import ServiceView
from hamanager.cli.info_text import info_text
from hamanager.contracts.driver import Driver
from hamanager.daemon.commands import Commands
from hamanager.errors import ConflictError, HamanagerError, NotFoundError, RuntimeFailedError
from hamanager.model.image import PinnedImage
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Contact, Observation, Process
from hamanager.model.spec import Spec
from hamanager.stores.repository import load_record, load_spec, save_record
from hamanager_drivers.mongodb.driver import MongoDBDriver
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.versions import numbers
from tests.support.altered import altered
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeDriver, FakeManager, FakeRuntime, commands, instance


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def do(store: MemoryStore, runtime: FakeRuntime) -> Commands:
    made = commands(store, runtime)
    made.create("db", "redis", 2)
    old = PinnedImage(id="sha256:redis:test", name="redis:test", version="8.0.1")
    instances = tuple(instance(f"db.{n}", image=old) for n in (0, 1))
    record = ServiceRecord(term=1, primary="db.0", initialized=True, instances=instances)
    save_record(store, "db", record, load_record(store, "db")[1])
    return made


def spec(store: MemoryStore) -> Spec:
    loaded = load_spec(store, "db")
    assert loaded is not None
    return loaded[0]


def driver(do: Commands) -> FakeDriver:
    found: object = do._drivers["redis"]
    assert isinstance(found, FakeDriver)
    return found


def test_the_wish_gets_the_image_pinned_anew(
    do: Commands, store: MemoryStore, runtime: FakeRuntime
) -> None:
    runtime.versions["sha256:redis:9"] = "9.0.0"
    before = spec(store)
    assert do.upgrade("db", "redis:9") == (
        "upgraded to redis:9 (9.0.0), one instance after the other"
    )
    after = spec(store)
    assert (after.image, after.made_from) == ("redis:9", before.pinned)
    assert after.pinned == PinnedImage(
        id="sha256:redis:9", digest="redis:9@sha256:0", name="redis:9", version="9.0.0"
    )
    assert store.history("db")[-1].text == "upgrade db to redis:9 (9.0.0)"
    assert do.upgrade("db", "redis:9") == "the upgrade to redis:9 (9.0.0) is under way"
    assert spec(store) == after


def test_without_a_name_it_is_the_image_of_new_services(do: Commands) -> None:
    assert do.upgrade("db") == "it runs from redis:test already"


def test_one_instance_is_interrupted(do: Commands, store: MemoryStore) -> None:
    do.create("one", "redis", 1)
    assert "so nothing can be written while it is restarted" in do.upgrade("one", "redis:9")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param("no service", "there is no service 'cache'", id="no such service"),
        pytest.param("no image", "there is no image for redis; nothing was changed", id="absent"),
        pytest.param(
            "no program", "the image has no server; nothing was changed", id="another's image"
        ),
        pytest.param(
            "older", "db.0: 7.0.0 is older than 8.0.1; nothing was changed", id="a downgrade"
        ),
        pytest.param(
            "unknown",
            "of which version the data of db.0 are cannot be told, as it does not answer and the"
            " image has no other server: start it",
            id="nobody knows",
        ),
    ],
)
def test_what_is_refused_changes_nothing(
    do: Commands, store: MemoryStore, runtime: FakeRuntime, kind: str, words: str
) -> None:
    before = spec(store)
    match kind:
        case "no image":
            runtime.missing_image = True
        case "no program":
            runtime.programs = ()
        case "older":
            runtime.versions["sha256:redis:9"] = "7.0.0"
        case "unknown":
            driver(do).refused = "nothing listens"
            record, version = load_record(store, "db")
            unnamed = PinnedImage(id="sha256:gone")
            instances = tuple(altered(i, image=unnamed) for i in record.instances)
            save_record(store, "db", altered(record, instances=instances), version)
            ask = runtime.image_version
            runtime.image_version = (  # type: ignore[method-assign]
                lambda image, program: ask(
                    image, f"other {program}" if "gone" in image else program
                )
            )
    with pytest.raises((NotFoundError, RuntimeFailedError, ConflictError), match=words):
        do.upgrade("cache" if kind == "no service" else "db", "redis:9")
    assert spec(store) == before


def test_one_that_does_not_answer_has_data_of_the_image_that_it_worked_from(
    do: Commands, store: MemoryStore, runtime: FakeRuntime
) -> None:
    """The way back from an image that does not come up."""
    driver(do).refused = "nothing listens"
    record, version = load_record(store, "db")
    bad = PinnedImage(id="sha256:redis:9", name="redis:9", version="9.0.0")
    failed = altered(record.instances[1], image=bad, former_image=record.instances[1].image)
    save_record(store, "db", record.with_instance(failed), version)
    runtime.versions["sha256:redis:9"] = "9.0.0"
    do.upgrade("db", "redis:9")
    assert do.upgrade("db", "redis:test").startswith("upgraded to redis:test (8.0.1)")


# --- Versions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "present", "wanted", "problem"),
    [
        (MySQLDriver, "8.4.3", "8.4.3", ""),
        (MySQLDriver, "8.4.3", "8.4.5", ""),
        (MySQLDriver, "8.0.36", "8.4.0", ""),
        (MySQLDriver, "8.4.3", "9.7.0", ""),
        (MySQLDriver, "8.4.3", "8.4.2", "MySQL 8.4.2 does not open data that 8.4.3 has used"),
        (MySQLDriver, "9.7.4-log", "8.4.2", "MySQL 8.4.2 does not open data"),
        (MySQLDriver, "8.0.36", "9.1.0", "by way of 8.4 only"),
        (MySQLDriver, "8.4.36", "10.1.0", "by way of the series between"),
        (RedisDriver, "8.0.2", "8.0.1", ""),
        (RedisDriver, "7.2.4", "8.0.1", ""),
        (RedisDriver, "8.0.2", "7.4.9", "Redis 7.4.9 does not read data that 8.0.2 has written"),
        (MongoDBDriver, "6.0.5", "6.0.4", ""),
        (MongoDBDriver, "6.0.5", "7.0.1", ""),
        (MongoDBDriver, "4.4.9", "5.0.1", ""),
        (MongoDBDriver, "4.2.9", "4.4.1", ""),
        (MongoDBDriver, "4.2.9", "5.0.1", "one major release at a time"),
        (MongoDBDriver, "6.0.5", "8.0.1", "one major release at a time"),
        (MongoDBDriver, "7.0.5", "6.0.1", "MongoDB 6.0.1 does not open data that 7.0.5 has used"),
    ],
)
def test_which_version_goes_on_with_which_data(
    made: type[Driver], present: str, wanted: str, problem: str
) -> None:
    told = needed(made().replication).upgrade_problem(present, wanted)
    assert problem in told
    assert bool(told) is bool(problem)


def test_numbers() -> None:
    assert numbers("8.4.3-log") == (8, 4, 3)
    assert numbers("unknown") == ()


# --- What people are shown ----------------------------------------------------------------------


def view_of(*changes: dict[str, object], gone: bool = False) -> ServiceView:
    manager = FakeManager()
    manager.commands.create("db", "redis", 2)
    manager.fulfil("db")
    manager.commands.upgrade("db", "redis:9")
    record, version = load_record(manager.store, "db")
    for number, change in enumerate(changes):
        changed = altered(record.instances[number], **change)
        record = record.with_instance(changed)
    save_record(manager.store, "db", record, version)
    if gone:
        ended = Observation(Process.EXITED, Contact.REFUSED)
        manager.seen = dict.fromkeys(manager.seen, ended)
    return manager.view("db")


NINE = PinnedImage(id="sha256:redis:9", name="redis:9", version="9.0.0")
EIGHT = PinnedImage(id="sha256:redis:test", name="redis:test", version="8.0.1")


def test_info_while_it_is_under_way() -> None:
    view = view_of({}, {"image": NINE})
    assert view.upgrade is not None
    assert view.upgrade.model_dump() == {
        "to": "redis:9 (8.0.1)",
        "done": ["db.1"],
        "left": ["db.0"],
        "problem": "",
    }
    assert [i.image for i in view.instances] == ["redis:test", "redis:9 (9.0.0)"]
    assert [i.image_id for i in view.instances] == ["sha256:redis:test", "sha256:redis:9"]
    assert not upgraded(view)
    assert yaml.safe_load(info_text(view))["upgrade"] == {
        "to": "redis:9 (8.0.1)",
        "done": ["db.1"],
        "left": ["db.0 from redis:test"],
    }


def test_info_when_it_is_over() -> None:
    view = view_of({"image": NINE}, {"image": NINE})
    assert view.upgrade is None
    assert upgraded(view)
    assert "upgrade" not in yaml.safe_load(info_text(view))


def test_info_when_it_has_stopped() -> None:
    view = view_of({"image": EIGHT}, {"image": NINE, "former_image": EIGHT, "starts": 1})
    assert view.upgrade is not None
    assert view.upgrade.problem == ""
    failing = {"image": NINE, "former_image": EIGHT, "starts": 4}
    manager_view = view_of({"image": NINE, "former_image": EIGHT, "starts": 4}, failing, gone=True)
    assert manager_view.upgrade is not None
    assert "db.0 does not come up from redis:9 (9.0.0)" in manager_view.upgrade.problem
    assert "`hamanager upgrade db --image redis:test` goes back" in manager_view.upgrade.problem
    assert "stopped" in yaml.safe_load(info_text(manager_view))["upgrade"]
    with pytest.raises(HamanagerError, match="has stopped"):
        upgraded(manager_view)
