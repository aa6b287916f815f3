"""The certificates of encrypted services: when they are made anew, and that servers get them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hamanager.authority.authority import Authority
from hamanager.authority.certificates import described
from hamanager.contracts.driver import Driver, FileContent, LaunchSpec
from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.daemon.certificates import Certificates
from hamanager.daemon.succession import SETTLE_SECONDS, Succession
from hamanager.errors import RefusedError, UnmanageableError
from hamanager.model.encryption import Encryption
from hamanager.model.host import Host
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Contact, Observation, Process, Snapshot
from hamanager.stores.repository import (
    encryption_key,
    host_key,
    load_context,
    load_encryption,
    load_spec,
    load_whole,
)
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, FakeClock, FakeManager, FakeRuntime, commands, standby_seen

DAY = 86400.0


class Clock(FakeClock):
    """Can be put forward."""

    present = NOW

    def now(self) -> float:
        return self.present

    def monotonic(self) -> float:
        return self.present


class EncryptingDriver:
    """As much of a driver as this takes."""

    file_names = frozenset(("ca.pem", "server.key"))
    refuses = False

    def __init__(self) -> None:
        self.certificates = self
        self.reloaded: list[str] = []

    def launch_spec(self, service: ServiceContext, target: Target) -> LaunchSpec:
        assert service.encryption is not None
        files = {
            "ca.pem": FileContent(service.encryption.trusted),
            "server.key": FileContent(service.encryption.key),
            "my.cnf": FileContent("port = 1"),
        }
        return LaunchSpec("exec server", 1, files=files)

    def reload_certificates(self, service: ServiceContext, target: Target) -> None:
        if self.refuses:
            raise RefusedError("nothing answers")
        self.reloaded.append(target.name)


class Files(FakeRuntime):
    """Notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, dict[str, str]]] = []

    def rewrite_files(self, ref: InstanceRef, launch: LaunchSpec) -> None:
        self.written.append((ref.instance, {n: f.text for n, f in launch.files.items()}))


def add_host(store: MemoryStore, name: str, address: str) -> None:
    """A machine on record."""
    host = Host(name=name, docker=f"tcp://{address}:2376", address=address)
    store.put(host_key(name), host.model_dump_json(), 0)


class World:
    """An encrypted service `db` of two instances, and whoever looks after its certificate."""

    def __init__(self) -> None:
        self.manager = FakeManager()
        self.store = self.manager.store
        self.clock = Clock()
        self.authority = Authority(self.store, self.clock)
        add_host(self.store, "h1", "10.0.0.1")
        self.driver, self.runtime = EncryptingDriver(), Files()
        made = commands(self.store)
        cast("Any", made)._drivers["redis"].certificates = self.driver
        made.create("db", "redis", instances=2)
        self.manager.fulfil("db")
        self.certificates = Certificates(self.store, self.authority, self.clock)
        self.seen = {"db.0": standby_seen(), "db.1": standby_seen()}

    def look(self) -> Encryption:
        """As after a pass; what is kept then."""
        self.certificates.look(
            "db",
            cast("Driver", self.driver),
            cast("Runtime", self.runtime),
            Snapshot(NOW, self.seen),
        )
        return self.kept()

    def kept(self) -> Encryption:
        found, _ = load_encryption(self.store, "db")
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_a_service_made_with_hosts_on_record_is_encrypted_from_its_first_start(
    world: World,
) -> None:
    loaded = load_spec(world.store, "db")
    assert loaded is not None
    assert loaded[0].encrypted
    found = load_context(world.store, loaded[0]).encryption
    assert found is not None
    assert described(found.certificate).hosts == (
        "db.hamanager", "10.0.0.1", "localhost", "127.0.0.1",
    )  # fmt: skip
    assert found.key not in repr(found)


def test_a_service_made_without_hosts_stays_as_it_is() -> None:
    store = MemoryStore()
    commands(store).create("db", "redis")
    loaded = load_spec(store, "db")
    assert loaded is not None
    assert not loaded[0].encrypted
    assert load_context(store, loaded[0]).encryption is None
    assert store.keys("ca/") == []


def test_servers_are_told_once_and_only_their_certificate_files_are_written(world: World) -> None:
    first = world.look()
    assert first.spread == first.fingerprint
    assert [name for name, _ in world.runtime.written] == ["db.0", "db.1"]
    assert set(world.runtime.written[0][1]) == {"ca.pem", "server.key"}
    assert world.driver.reloaded == ["db.0", "db.1"]
    assert world.look() == first
    assert len(world.runtime.written) == 2


def test_it_is_made_anew_in_time(world: World) -> None:
    first = world.look()
    world.clock.present += 230 * DAY
    assert world.look().certificate == first.certificate
    world.clock.present += 20 * DAY
    second = world.look()
    assert second.certificate != first.certificate
    assert second.trusted == first.trusted
    assert len(world.runtime.written) == 4


def test_a_new_host_is_in_it(world: World) -> None:
    world.look()
    add_host(world.store, "h2", "10.0.0.2")
    assert "10.0.0.2" in described(world.look().certificate).hosts


def test_one_that_does_not_answer_is_told_later_and_one_that_is_gone_when_it_starts(
    world: World,
) -> None:
    world.seen["db.1"] = Observation(Process.RUNNING, Contact.SILENT, None)
    assert world.look().spread == ""
    world.seen["db.1"] = Observation(Process.EXITED, Contact.REFUSED, None)
    found = world.look()
    assert found.spread == found.fingerprint
    assert world.driver.reloaded == ["db.0"]


def test_one_that_refuses_is_told_again(world: World) -> None:
    world.driver.refuses = True
    assert world.look().spread == ""
    world.driver.refuses = False
    found = world.look()
    assert found.spread == found.fingerprint


def test_a_change_of_authority_goes_through_all_servers_and_leaves_nobody_out(
    world: World,
) -> None:
    succession = Succession(world.authority, world.clock, lambda: not world.certificates.behind())
    first = world.look()
    world.authority.begin_rotation()
    succession.look()
    world.clock.present += SETTLE_SECONDS + 1
    world.driver.refuses = True
    world.look()
    succession.look()
    assert world.authority.trust().upcoming is not None, "a server does not trust it yet"
    world.driver.refuses = False
    both = world.look()
    assert both.certificate == first.certificate
    assert both.trusted == world.authority.trust().bundle != first.trusted
    succession.look()
    assert world.authority.trust().upcoming is None
    assert world.certificates.behind() == ["db"], "its certificate is still the former one's"
    signed = world.look()
    assert world.certificates.behind() == []
    assert signed.certificate != first.certificate
    assert world.authority.signs(signed.certificate)
    assert world.look() == signed
    world.authority.finish_rotation()
    last = world.look()
    assert last.certificate == signed.certificate
    assert last.trusted == world.authority.trust().bundle
    assert world.certificates.behind() == []


def test_a_lost_row_starts_no_server_in_clear(world: World) -> None:
    loaded = load_spec(world.store, "db")
    kept = world.store.get(encryption_key("db"))
    assert loaded is not None
    assert kept is not None
    world.store.delete(encryption_key("db"), kept.version)
    with pytest.raises(UnmanageableError, match="'services/db/encryption' in the store is damaged"):
        load_context(world.store, loaded[0])
    with pytest.raises(UnmanageableError):
        load_whole(world.store, "db", ["redis"])
    assert load_context(world.store, loaded[0].destroyed()).encryption is None
    world.store.put(encryption_key("db"), kept.value[:-9], 0)
    with pytest.raises(UnmanageableError) as caught:
        load_context(world.store, loaded[0])
    assert "PRIVATE" not in str(caught.value)
