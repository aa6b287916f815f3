"""Several hosts behind one runtime: whom a call goes to; one that hangs delays nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

from hamanager.contracts.runtime import InstanceRef, RuntimeEvent
from hamanager.errors import RuntimeFailedError, StoreError
from hamanager.model.host import EngineInfo, Host
from hamanager.model.image import PinnedImage
from hamanager.model.snapshot import Process
from hamanager.runtimes.hosts.member import HostRuntime, Member
from hamanager.runtimes.hosts.runtime import HostsRuntime
from tests.support.altered import altered

H1 = Host(name="h1", docker="tcp://10.0.0.1:2375", address="10.0.0.1", engine_id="e-10.0.0.1")
H2 = Host(name="h2", docker="tcp://10.0.0.2:2375", address="10.0.0.2", engine_id="e-10.0.0.2")


class FakeEngine:
    """One engine, which may be away or hang."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []
        self.away = False
        self.hangs = threading.Event()
        self.hangs.set()
        """Answers wait for it."""
        self.images = {"image"}
        self.happened: list[RuntimeEvent] = []
        self.closed = False

    def ping(self) -> None:
        self._ask("ping")

    def look(self) -> EngineInfo:
        self._ask("look")
        return EngineInfo(f"e-{self.name}", "20.10.24", 1 << 30, 0.0)

    def process(self, ref: InstanceRef) -> Process:
        self._ask(f"process {ref.instance}")
        return Process.RUNNING

    def kill(self, ref: InstanceRef) -> None:
        self._ask(f"kill {ref.instance}")

    def destroy_service(self, service: str) -> None:
        self._ask(f"destroy {service}")

    def reserve_address(self, taken: frozenset[int], placed_on: str = "") -> tuple[str, int]:
        self._ask("reserve")
        return self.name, 20000

    def pin_image(self, image: str) -> PinnedImage:
        self._ask("pin")
        if image not in self.images:
            raise RuntimeFailedError(f"there is no {image} on {self.name}")
        return PinnedImage(id=f"{image} of {self.name}")

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        yield from self.happened

    def close(self) -> None:
        self.closed = True

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise RuntimeFailedError("it does not answer")
        assert self.hangs.wait(20)


class Hosts:
    """Two hosts on record, and this machine's own engine."""

    def __init__(self) -> None:
        self.record: Sequence[Host] = [H1, H2]
        self.store_is_away = False
        self.here = FakeEngine("here")
        self.engines = {host.name: FakeEngine(host.address) for host in (H1, H2)}
        self.connected: list[Host] = []

    def load(self) -> Sequence[Host]:
        if self.store_is_away:
            raise StoreError("the store does not answer")
        return self.record

    def connect(self, host: Host) -> HostRuntime:
        self.connected.append(host)
        return cast("HostRuntime", self.engine(host.name))

    def engine(self, name: str) -> Any:
        return self.engines[name]

    def runtime(self, on: str = "") -> HostsRuntime:
        here = self.engine(on) if on else self.here
        made = HostsRuntime(cast("HostRuntime", here), self.load, self.connect, on)
        made.read()
        return made


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    for engine in made.engines.values():
        engine.hangs.set()


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are asked when a test says so."""
    monkeypatch.setattr(Member, "begin", lambda member: member.beat())


def on(name: str, instance: str = "db.0") -> InstanceRef:
    return InstanceRef("db", instance, placed_on=name)


def members(runtime: HostsRuntime) -> dict[str, Member]:
    return dict(runtime._members)


def test_each_call_goes_to_the_host_that_the_instance_is_placed_on(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    runtime.kill(on("h1"))
    runtime.kill(on("h2"))
    runtime.kill(on(""))
    for engine in (*hosts.engines.values(), hosts.here):
        assert engine.asked.count("kill db.0") == 1
    assert runtime.reserve_address(frozenset(), "h2") == ("10.0.0.2", 20000)
    assert runtime.reserve_address(frozenset()) == ("here", 20000)


def test_the_host_that_the_manager_runs_on_is_reached_here(hosts: Hosts) -> None:
    runtime = hosts.runtime(on="h2")
    runtime.kill(on("h2"))
    assert [host.name for host in hosts.connected] == ["h1"]
    assert "kill db.0" in hosts.engines["h2"].asked
    assert runtime.reserve_address(frozenset()) == ("10.0.0.2", 20000)


def test_of_a_host_that_is_not_on_record_nothing_is_known(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    assert runtime.process(on("h9")) is Process.UNKNOWN
    with pytest.raises(RuntimeFailedError, match=r"there is no host 'h9' on record") as caught:
        runtime.kill(on("h9"))
    assert caught.value.permanent


def test_hosts_come_and_go_while_it_runs(hosts: Hosts) -> None:
    hosts.record = [H1]
    runtime = hosts.runtime()
    hosts.record = [H1, H2]
    runtime.read()
    assert [seen.name for seen in runtime.hosts()] == ["h1", "h2"]
    hosts.record = [H2.drained(True)]
    runtime.read()
    assert [(seen.name, seen.draining) for seen in runtime.hosts()] == [("h2", True)]
    assert hosts.connected == [H1, H2], "one that is to be left is connected as before"
    assert hosts.engines["h1"].closed
    hosts.record = [altered(H2, docker="tcp://10.0.0.3:2375")]
    runtime.read()
    assert hosts.connected[-1].docker == "tcp://10.0.0.3:2375"


def test_while_the_store_is_away_hosts_are_what_they_were(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    hosts.store_is_away = True
    runtime.read()
    assert [seen.name for seen in runtime.hosts()] == ["h1", "h2"]


def test_a_silent_host_is_asked_for_nothing_and_told_of(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    hosts.engines["h1"].away = True
    members(runtime)["h1"].beat()
    assert runtime.process(on("h1")) is Process.UNKNOWN
    with pytest.raises(RuntimeFailedError, match=r"host h1 has not answered for .* s: it does not"):
        runtime.kill(on("h1"))
    assert "kill db.0" not in hosts.engines["h1"].asked
    seen = {host.name: host.answers for host in runtime.hosts()}
    assert seen == {"h1": False, "h2": True}
    hosts.engines["h1"].away = False
    members(runtime)["h1"].beat()
    runtime.kill(on("h1"))


def test_a_question_that_hangs_keeps_no_other_one_waiting(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamanager.runtimes.hosts.member.STUCK_SECONDS", 0.0)
    runtime = hosts.runtime()
    engine = hosts.engines["h1"]
    engine.hangs.clear()
    first = threading.Thread(target=runtime.process, args=(on("h1"),), daemon=True)
    first.start()
    while "process db.0" not in engine.asked:
        first.join(0.01)
    assert runtime.process(on("h1", "db.1")) is Process.UNKNOWN
    assert "process db.1" not in engine.asked
    assert runtime.process(on("h2", "db.1")) is Process.RUNNING
    engine.hangs.set()
    first.join(10)
    assert runtime.process(on("h1", "db.1")) is Process.RUNNING


def test_a_change_ends_when_its_host_falls_silent(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamanager.runtimes.hosts.member.PATIENCE_SECONDS", 0.0)
    runtime = hosts.runtime()
    engine, member = hosts.engines["h1"], members(runtime)["h1"]
    engine.hangs.clear()
    caught: list[Exception] = []

    def kill() -> None:
        try:
            runtime.kill(on("h1"))
        except RuntimeFailedError as error:
            caught.append(error)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    while "kill db.0" not in engine.asked:
        killer.join(0.01)
    beat = threading.Thread(target=member.beat, daemon=True)
    beat.start()
    killer.join(10)
    assert len(caught) == 1
    assert not killer.is_alive()


def test_the_error_of_a_change_is_its_own(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    hosts.engines["h1"].away = True
    with pytest.raises(RuntimeFailedError, match=r"^it does not answer$"):
        runtime.kill(on("h1"))


def test_another_engine_at_the_same_place_is_not_the_host(hosts: Hosts) -> None:
    hosts.engines["h1"].name = "10.0.0.9"
    runtime = hosts.runtime()
    seen = runtime.hosts()[0]
    assert not seen.answers
    assert seen.problem.startswith("another Docker engine answers at tcp://10.0.0.1:2375")


def test_an_image_is_looked_for_on_every_host(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    hosts.engines["h1"].images.clear()
    assert runtime.pin_image("image").id == "image of 10.0.0.2"
    hosts.engines["h2"].images.clear()
    with pytest.raises(RuntimeFailedError, match=r"no image on 10\.0\.0\.1"):
        runtime.pin_image("image")


def test_a_service_is_removed_from_every_host_that_answers(hosts: Hosts) -> None:
    runtime = hosts.runtime()
    hosts.engines["h1"].away = True
    with pytest.raises(RuntimeFailedError):
        runtime.destroy_service("db")
    assert "destroy db" in hosts.engines["h2"].asked
    assert "destroy db" in hosts.here.asked
    hosts.engines["h1"].away = False
    runtime.destroy_service("db")


def test_events_of_every_host_are_followed(hosts: Hosts) -> None:
    for name, engine in hosts.engines.items():
        engine.happened = [RuntimeEvent("db", name, "exited")]
    hosts.here.happened = [RuntimeEvent("db", "here", "exited")]
    hosts.record = [H1]
    runtime = hosts.runtime()
    found: dict[str, str] = {}
    for event in runtime.events(lambda: len(found) == 3):
        found[event.placed_on] = event.instance
        if len(found) == 2:
            hosts.record = [H1, H2]
            runtime.read()
    assert found == {"": "here", "h1": "h1", "h2": "h2"}
