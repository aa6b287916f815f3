"""What is damaged about one service is its trouble alone: the daemon and the others go on."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from hamanager.api.client import Client
from hamanager.api.environment import EnvironmentFile
from hamanager.api.goals import complete
from hamanager.api.grammar import ScaleRequest
from hamanager.api.views import ServiceState, ServiceView
from hamanager.cli.info_text import info_text
from hamanager.cli.progress import PlainDisplay, wait_for
from hamanager.cli.text import services_text
from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import Runtime
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.hosts import Hosts
from hamanager.daemon.leading import Leading
from hamanager.daemon.supervisor import Daemon
from hamanager.decide.leading import DEAD_SECONDS
from hamanager.errors import (
    HamanagerError,
    RuntimeFailedError,
    StoreError,
    UnmanageableError,
)
from hamanager.loop import KeptRecords
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.manager import Manager
from hamanager.model.order import OrderKind
from hamanager.model.record import ServiceRecord
from hamanager.model.settings import Settings
from hamanager.model.spec import Spec
from hamanager.stores.repository import (
    load_record,
    lock_key,
    record_key,
    save_record,
    save_secrets,
    save_spec,
    secrets_key,
    spec_key,
)
from tests.simulation.driver import SimDriver
from tests.simulation.power import Power, SimClock
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World
from tests.support.altered import altered
from tests.support.managers import manager
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeDriver, capabilities, instance, no_engine

ROWS: dict[str, Callable[[str], str]] = {
    "spec": spec_key,
    "record": record_key,
    "secrets": secrets_key,
}
SECRET = "s3cr3t-that-nobody-may-see"
RECORD = ServiceRecord(
    initialized=True,
    primary="hurt.0",
    instances=(instance("hurt.0"),),
    endpoint=EndpointRecord(host="10.0.0.1", port=7100),
)
in_each_row = pytest.mark.parametrize("row", [*ROWS, "engine"])


class Stopping(SimRuntime):
    """Remembers what was destroyed; may be away."""

    def __init__(self) -> None:
        super().__init__(World(), Power())
        self.destroyed: list[str] = []

    def destroy_service(self, service: str) -> None:
        if self.world.runtime_down:
            raise RuntimeFailedError("the runtime does not answer")
        self.destroyed.append(service)


class Setting:
    """A store with the services `hurt` and `well`, and a daemon on it."""

    def __init__(self, path: Path) -> None:
        self.store = MemoryStore()
        self.runtime = Stopping()
        self.path = path
        self.daemon = self._daemon()
        for name in ("hurt", "well"):
            spec = Spec(name=name, engine="redis", instances=1, image="i", created_at=5)
            save_spec(self.store, spec, 0)
            save_secrets(self.store, name, {"password": SECRET}, 0)
            named = altered(RECORD, primary=f"{name}.0", instances=())
            save_record(self.store, name, named.with_instance(instance(f"{name}.0")), 0)

    def _daemon(self) -> Daemon:
        driver = SimDriver(World(), Power())
        driver.connection = FakeDriver("redis", capabilities()).connection  # type: ignore[method-assign]
        drivers = cast("dict[str, Driver]", {"redis": driver})
        runtime = cast(Runtime, self.runtime)
        file = EnvironmentFile(self.path)
        clock = SimClock()
        addresses = Addresses(self.store, MemoryEndpoint())
        me = Manager(name="m", incarnation=secrets.token_hex(4), place="here")
        leading = Leading(self.store, clock, me, alone=True)
        hosts = Hosts(self.store, runtime, clock, no_engine, list)
        return Daemon(self.store, drivers, runtime, addresses, clock, leading, file, hosts)

    def restart(self) -> None:
        self.daemon.stop()
        self.daemon = self._daemon()
        self.daemon.start()

    def damage(self, row: str, name: str = "hurt") -> None:
        """Cut the row's value short, or name an engine that there is not."""
        key = {**ROWS, "lock": lock_key, "engine": spec_key}[row](name)
        kept = self.store.get(key)
        assert kept is not None
        half = kept.value[: len(kept.value) // 2]
        changed = kept.value.replace('"redis"', '"foo"') if row == "engine" else half
        self.store.put(key, changed, kept.version)

    def everything(self) -> list[tuple[str, str]]:
        kept = ((key, self.store.get(key)) for key in self.store.keys(""))
        return [(key, value.value) for key, value in kept if value and not key.endswith("/lock")]

    def commands(self) -> list[Callable[[], object]]:
        do = self.daemon.commands
        return [
            lambda: do.create("hurt", "redis"),
            lambda: do.scale([ScaleRequest("well", 2, None), ScaleRequest("hurt", 2, None)]),
            lambda: do.restart("hurt.0"),
            lambda: do.change_settings("hurt", Settings(allow_drills=True)),
            lambda: do.pause("hurt", paused=True),
            lambda: do.order("hurt", OrderKind.SWITCHOVER),
            lambda: self.daemon.queries.probe("hurt"),
            lambda: self.daemon.queries.connection("hurt"),
            lambda: self.daemon.queries.shell("hurt", None),
        ]


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    made = Setting(tmp_path / "environment.json")
    yield made
    if made.daemon._scheduler.running:
        made.daemon.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def words(setting: Setting, row: str) -> str:
    if row == "engine":
        return "'hurt' is of the engine 'foo', which this hamanager does not know (redis)"
    kind = "secrets" if row == "secrets" else row
    return f"the {kind} of 'hurt' cannot be read, its row '{ROWS[row]('hurt')}' in the store"


@in_each_row
def test_a_daemon_starts_and_shows_what_is_wrong(
    setting: Setting, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hamanager")
    setting.daemon.start()
    setting.damage(row)
    setting.restart()
    for _ in range(3):
        setting.daemon.wake("hurt")
    hurt, well = setting.daemon.queries.views()
    assert hurt.state is ServiceState.UNMANAGED
    assert hurt.message.startswith(words(setting, row))
    assert "left as they are" in hurt.message
    assert "`hamanager destroy hurt`" in hurt.message
    assert well.state is not ServiceState.UNMANAGED
    table = services_text([hurt, well]).splitlines()
    assert [line.split()[0] for line in table[1:]] == ["hurt", "well"]
    assert "unmanaged" in table[1]
    assert hurt.message.split("'")[1] in info_text(hurt)
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("hurt: ")]
    assert told == [f"hurt: {hurt.message}"], "once, not with every tick"
    assert SECRET[:8] not in caplog.text + info_text(hurt)


@in_each_row
def test_a_running_daemon_leaves_it_alone_until_it_is_repaired(setting: Setting, row: str) -> None:
    setting.daemon.start()
    until(lambda: setting.daemon.queries.view("hurt").message != "")
    before = setting.everything()
    setting.damage(row)
    setting.daemon.wake("hurt")
    assert setting.daemon.queries.view("hurt").state is ServiceState.UNMANAGED
    until(lambda: "hurt" not in setting.daemon._workers)
    for key, value in before:
        kept = setting.store.get(key)
        if kept is not None and kept.value != value and "/hurt/" in key:
            setting.store.put(key, value, kept.version)
    until(lambda: setting.daemon.queries.view("hurt").state is not ServiceState.UNMANAGED)
    setting.daemon.wake("hurt")
    assert "hurt" in setting.daemon._workers


@in_each_row
def test_commands_say_one_sentence_and_change_nothing(setting: Setting, row: str) -> None:
    setting.damage(row)
    before = setting.everything()
    for command in setting.commands():
        with pytest.raises(HamanagerError) as caught:
            command()
        said = str(caught.value)
        assert "hurt" in said
        assert "\n" not in said
        assert SECRET[:8] not in said
    assert setting.everything() == before
    setting.daemon.queries.history("hurt")


@in_each_row
def test_it_can_be_destroyed(setting: Setting, row: str) -> None:
    setting.daemon.start()
    setting.damage(row)
    setting.runtime.world.runtime_down = True
    setting.daemon.commands.destroy("hurt")
    setting.daemon.commands.destroy("hurt")
    setting.daemon.wake("hurt")
    until(lambda: "does not answer" in setting.daemon.queries.view("hurt").message)
    assert setting.daemon.queries.view("hurt").destroying
    setting.runtime.world.runtime_down = False
    until(lambda: setting.runtime.destroyed == ["hurt"] and not setting.store.keys("services/hurt"))
    assert [view.name for view in setting.daemon.queries.views()] == ["well"]
    until(lambda: "HAMANAGER_HURT_" not in setting.path.read_text())
    assert "destroy hurt" in [e.text for e in setting.daemon.queries.history("hurt")]


def test_its_variables_stay(setting: Setting) -> None:
    """Its servers go on, and so do the applications that read them."""
    setting.daemon.start()
    written = json.loads(setting.path.read_text())
    assert "HAMANAGER_HURT_SIM_URL" in written or "HAMANAGER_HURT_REDIS_URL" in written
    setting.damage("record")
    setting.restart()
    assert json.loads(setting.path.read_text()) == written


def test_others_reserve_ports_all_the_same(setting: Setting) -> None:
    setting.damage("record")
    records = KeptRecords(setting.store, "well", *load_record(setting.store, "well"))
    assert records.taken_ports() == {7000, 7100}


def test_a_damaged_lock_runs_out(setting: Setting) -> None:
    clock = SimClock()
    other = manager(setting.store, clock, "other")
    assert other.lead("hurt")
    setting.damage("lock")
    me = manager(setting.store, clock, "m")
    lock = me.lock_of("hurt")
    assert not lock.take()
    assert "lock in the store ('services/hurt/lock') is damaged" in lock.refusal
    for second in range(5):
        other.beat()
        me.beat()
        me.look()
        assert not me.lead("hurt"), "the other one says that it leads"
        assert other.lock_of("hurt").is_held
        assert lock.take() is (second >= DEAD_SECONDS)
        clock.sleep(1)


def test_a_damaged_lock_is_taken_at_once_when_nobody_else_lives(setting: Setting) -> None:
    other = manager(setting.store, SimClock(), "other")
    assert other.lead("hurt")
    setting.damage("lock")
    assert manager(setting.store, SimClock(), "m", alone=True).lead("hurt")


def test_variables_that_cannot_be_written_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "away" / "environment.json"
    setting = Setting(path)
    setting.daemon.start()
    until(lambda: setting.daemon.queries.view("well").message != "")
    for _ in range(3):
        setting.daemon.wake("well")
    told = [r.getMessage() for r in caplog.records if "cannot be written" in r.getMessage()]
    assert len(told) == 1
    assert "No such file or directory" in told[0]
    path.parent.mkdir()
    until(lambda: path.is_file() and "HAMANAGER_WELL_" in path.read_text())
    path.write_text("{ damaged")
    setting.restart()
    assert "HAMANAGER_WELL_" in path.read_text()
    setting.daemon.stop()


def test_one_that_cannot_be_shown_hides_no_other(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = setting.store.get(secrets_key("hurt"))
    assert kept is not None
    setting.store.put(secrets_key("hurt"), "{}", kept.version)
    setting.daemon.start()
    hurt, well = setting.daemon.queries.views()
    assert "unexpectedly: KeyError('password')" in hurt.message
    assert well.state is not ServiceState.UNMANAGED


def test_the_sentence_does_not_tell_what_the_row_holds(setting: Setting) -> None:
    setting.damage("secrets")
    with pytest.raises(UnmanageableError) as caught:
        setting.daemon.queries.connection("hurt")
    assert caught.value.__cause__ is None
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(str, caught.value).result().count("s3cr3t") == 0


def test_nobody_waits_for_it(setting: Setting) -> None:
    class Asked:
        def view(self, name: str) -> ServiceView:
            return setting.daemon.queries.view(name)

    setting.damage("record")
    display = PlainDisplay(lambda line: None)
    with pytest.raises(HamanagerError, match=r"^the record of 'hurt' cannot be read"):
        wait_for(cast(Client, Asked()), {"hurt": complete}, display, 5)


def test_a_store_that_is_away_is_told_once(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise StoreError("the store is locked by another process")

    monkeypatch.setattr(setting.store, "keys", away)
    monkeypatch.setattr(setting.store, "get", away)
    monkeypatch.setattr(setting.store, "changed", away)
    for _ in range(3):
        setting.daemon._tick()
        setting.daemon.wake("hurt")
    told = [record.getMessage() for record in caplog.records]
    sentence = "the store is locked by another process"
    assert told == [sentence]
