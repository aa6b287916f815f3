"""`host add`, `drain`, `remove`: what is refused in one sentence, with nothing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import pytest

from hamanager.contracts.runtime import Runtime
from hamanager.daemon import hosts as daemon_hosts
from hamanager.daemon.hosts import Hosts
from hamanager.errors import HamanagerError, RuntimeFailedError
from hamanager.model.host import EngineInfo, Host, HostSeen, HostTls, LeftBehind
from hamanager.model.record import ServiceRecord
from hamanager.model.spec import Spec
from hamanager.stores.repository import load_hosts, save_record, save_spec
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import NOW, FakeClock, FakeRuntime, instance

TLS = HostTls(ca="c", certificate="d", key="secret-key")


class Network:
    """Engines by their address, and who reaches whom."""

    def __init__(self) -> None:
        self.engines: dict[str, Engine] = {}
        self.unreachable: set[tuple[str, str]] = set()
        self.listening: dict[tuple[str, int], str] = {}

    def engine(self, host: Host) -> Engine:
        return self.engines.setdefault(host.docker, Engine(self, host))

    def answer(self, caller: str, address: str, port: int) -> str:
        if (caller, address) in self.unreachable:
            return ""
        return self.listening.get((address, port), "")


class Engine:
    """One Docker engine."""

    def __init__(self, network: Network, host: Host) -> None:
        self.network, self.host = network, host
        self.info = EngineInfo(f"id of {host.docker}", "20.10.24", 1 << 30, NOW)
        self.away = False
        self.addresses = {host.address}

    def look(self) -> EngineInfo:
        if self.away:
            raise RuntimeFailedError(f"the Docker engine does not answer at {self.host.docker}")
        return self.info

    def reserve_address(self, taken: frozenset[int]) -> tuple[str, int]:
        return self.host.address, 20000

    def listen(self, images: Sequence[str], address: str, port: int, word: str) -> None:
        if address not in self.addresses:
            raise RuntimeFailedError(f"{address} is not an address of that machine")
        self.network.listening[address, port] = word

    def call(self, images: Sequence[str], address: str, port: int) -> str:
        return self.network.answer(self.host.name, address, port)

    def end_reach(self) -> None:
        self.network.listening.clear()

    def close(self) -> None:
        return None


class Scene:
    def __init__(self) -> None:
        self.store, self.runtime, self.network = MemoryStore(), FakeRuntime(), Network()
        runtime = cast(Runtime, self.runtime)
        self.hosts = Hosts(self.store, runtime, FakeClock(), self.network.engine, lambda: ["image"])

    def add(self, name: str = "h1", last: int = 1) -> None:
        self.hosts.add(name, f"ssh://root@10.0.0.{last}", f"10.0.0.{last}")
        known = load_hosts(self.store)
        self.runtime.seen = tuple(HostSeen(host.name, host.address) for host in known)

    def place(self, *names: str, on: str, **fields: object) -> None:
        save_spec(self.store, Spec(name="db", engine="e", instances=1, image="i", created_at=0), 0)
        instances = tuple(instance(name, placed_on=on) for name in names)
        record = ServiceRecord.model_validate({"instances": instances, **fields})
        save_record(self.store, "db", record, 0)

    @contextmanager
    def refused(self, words: str) -> Iterator[None]:
        before = load_hosts(self.store)
        with pytest.raises(HamanagerError) as caught:
            yield
        assert words in str(caught.value)
        assert str(caught.value).endswith("nothing was changed")
        assert load_hosts(self.store) == before
        assert not self.network.listening


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene()

    def from_here(address: str, port: int) -> str:
        return made.network.answer("here", address, port)

    monkeypatch.setattr(daemon_hosts, "_call_from_here", from_here)
    return made


def test_it_is_put_on_record_with_its_engines_identity(scene: Scene) -> None:
    scene.add()
    [host] = load_hosts(scene.store)
    assert (host.name, host.address) == ("h1", "10.0.0.1")
    assert (host.engine_id, host.added_at) == ("id of ssh://root@10.0.0.1", NOW)
    scene.add("h2", 2)
    assert [view.name for view in scene.hosts.all()] == ["h1", "h2"]


@pytest.mark.parametrize(
    ("name", "docker", "address", "words"),
    [
        ("H1", "ssh://h", "10.0.0.1", "'H1' cannot be a host's name"),
        ("h/1", "ssh://h", "10.0.0.1", "cannot be a host's name"),
        ("h1", "http://h", "10.0.0.1", "is no place of a Docker engine"),
        ("h1", "tcp://h:2375", "10.0.0.1", "is root on its machine"),
        ("h1", "ssh://h", "h.example", "takes an IP address"),
        ("h1", "ssh://h", "127.0.0.1", "is no address by which others reach it"),
        ("h1", "ssh://h", "0.0.0.0", "is no address by which others reach it"),
    ],
)
def test_words_that_cannot_be(
    scene: Scene, name: str, docker: str, address: str, words: str
) -> None:
    with scene.refused(words):
        scene.hosts.add(name, docker, address)


def test_tcp_with_tls_or_by_an_operators_word(scene: Scene) -> None:
    scene.hosts.add("h1", "tcp://10.0.0.1:2376", "10.0.0.1", TLS)
    scene.hosts.add("h2", "tcp://10.0.0.2:2375", "10.0.0.2", without_tls=True)
    assert [host.tls for host in load_hosts(scene.store)] == [TLS, None]
    assert "secret-key" not in "".join(view.model_dump_json() for view in scene.hosts.all())


def test_its_engine_is_reached_in_another_way(scene: Scene) -> None:
    scene.add()
    engine = scene.network.engine(load_hosts(scene.store)[0])
    scene.network.engines["tcp://10.0.0.1:2376"] = engine
    scene.hosts.drain("h1", draining=True)
    scene.hosts.change("h1", "tcp://10.0.0.1:2376", TLS)
    [host] = load_hosts(scene.store)
    assert (host.docker, host.tls, host.draining) == ("tcp://10.0.0.1:2376", TLS, True)
    assert host.engine_id == "id of ssh://root@10.0.0.1"
    with scene.refused("that is not the Docker engine of h1"):
        scene.hosts.change("h1", "ssh://root@10.0.0.9")
    with scene.refused("is root on its machine"):
        scene.hosts.change("h1", "tcp://10.0.0.1:2376")
    with pytest.raises(HamanagerError, match="there is no host 'h2': there is h1"):
        scene.hosts.change("h2", "ssh://h")


def test_added_twice(scene: Scene) -> None:
    scene.add()
    with scene.refused("there is a host 'h1' already"):
        scene.hosts.add("h1", "ssh://other", "10.0.0.9")
    with scene.refused("10.0.0.1 is the address of h1 already"):
        scene.hosts.add("h2", "ssh://other", "10.0.0.1")
    asked = Host(name="h2", docker="ssh://alias", address="10.0.0.2")
    scene.network.engine(asked).info = scene.network.engines["ssh://root@10.0.0.1"].info
    with scene.refused("that is the Docker engine of h1"):
        scene.hosts.add("h2", "ssh://alias", "10.0.0.2")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (EngineInfo("i", "19.3.15", 1, NOW), "its Docker is 19.3.15, and 20.10 or later is needed"),
        (EngineInfo("i", "dev", 1, NOW), "its Docker is dev"),
        (EngineInfo("i", "20.10.0", 1, NOW - 300), "its clock is 300 s off"),
        (EngineInfo("i", "28.1", 1, NOW + 61), "its clock is 61 s off"),
    ],
)
def test_an_engine_that_is_of_no_use(scene: Scene, info: EngineInfo, words: str) -> None:
    scene.network.engine(Host(name="h1", docker="ssh://h", address="10.0.0.1")).info = info
    with scene.refused(words):
        scene.hosts.add("h1", "ssh://h", "10.0.0.1")


def test_an_engine_that_does_not_answer(scene: Scene) -> None:
    scene.network.engine(Host(name="h1", docker="ssh://h", address="10.0.0.1")).away = True
    with scene.refused("h1: the Docker engine does not answer at ssh://h"):
        scene.hosts.add("h1", "ssh://h", "10.0.0.1")


def test_an_address_that_is_not_its_own(scene: Scene) -> None:
    scene.network.engine(Host(name="h1", docker="ssh://h", address="10.0.0.1")).addresses = set()
    with scene.refused("10.0.0.1 is not an address of that machine"):
        scene.hosts.add("h1", "ssh://h", "10.0.0.1")


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (("here", "10.0.0.2"), "at 10.0.0.2 is not reached from this machine"),
        (("h1", "10.0.0.2"), "at 10.0.0.2 is not reached from h1"),
        (("h2", "10.0.0.1"), "it does not reach what is published at 10.0.0.1, the address of h1"),
    ],
)
def test_an_address_that_is_not_reached(scene: Scene, cut: tuple[str, str], words: str) -> None:
    scene.add()
    scene.network.unreachable.add(cut)
    with scene.refused(words):
        scene.hosts.add("h2", "ssh://h2", "10.0.0.2")


def test_one_that_does_not_answer_now_keeps_nobody_out(scene: Scene) -> None:
    scene.add()
    scene.network.engines["ssh://root@10.0.0.1"].away = True
    scene.runtime.seen = (HostSeen("h1", "10.0.0.1", silent_seconds=9.0),)
    scene.hosts.add("h2", "ssh://h2", "10.0.0.2")


def test_it_is_left_and_used_again(scene: Scene) -> None:
    scene.add()
    scene.add("h2", 2)
    scene.place("db.0", on="h1")
    assert scene.hosts.drain("h1", draining=True).draining
    assert load_hosts(scene.store)[0].draining
    scene.hosts.drain("h1", draining=True)
    assert not scene.hosts.drain("h1", draining=False).draining


def test_it_is_not_left_when_nothing_can_go_anywhere(scene: Scene) -> None:
    scene.add()
    scene.place("db.0", on="h1")
    with scene.refused("no other host answers that could take db.0"):
        scene.hosts.drain("h1", draining=True)


def test_it_is_removed_when_nothing_is_there(scene: Scene) -> None:
    scene.add()
    scene.place("db.0", on="h1")
    with scene.refused("h1 has db.0"):
        scene.hosts.remove("h1")
    with scene.refused("h1 answers, so it is not lost"):
        scene.hosts.remove("h1", lost=True)
    scene.runtime.seen = (HostSeen("h1", "10.0.0.1", silent_seconds=9.0),)
    scene.hosts.remove("h1", lost=True)
    assert load_hosts(scene.store) == []


def test_what_it_may_still_run_keeps_it_on_record(scene: Scene) -> None:
    scene.add()
    left = LeftBehind(
        instance="db.1", generation=2, placed_on="h1", serial=1, at=NOW, reason="it was silent"
    )
    scene.place("db.0", on="h2", left_behind=(left,))
    with scene.refused("h1 has what is left of db.1"):
        scene.hosts.remove("h1")


def test_one_that_is_not_there(scene: Scene) -> None:
    scene.add()
    with pytest.raises(HamanagerError, match=r"^there is no host 'h9': there is h1$"):
        scene.hosts.remove("h9")
    with pytest.raises(HamanagerError, match=r"^there is no host 'h9': there is h1$"):
        scene.hosts.drain("h9", draining=True)
