"""Where clients are led, followed by other machines: on every store, straight and by a manager."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hamanager.chaos.sandbox import wait_for
from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.contracts.routes import Source, Told
from hamanager.contracts.store import Store
from hamanager.daemon.addresses import Addresses
from hamanager.errors import HamanagerError, StoreError
from hamanager.model.spec import Spec
from hamanager.routes.book import Book
from hamanager.routes.follower import Follower
from hamanager.routes.here import Here
from hamanager.routes.sources import StoreSource
from hamanager.stores.repository import forget_service, save_spec
from tests.contract.test_store import STORES, etcd
from tests.support.altered import altered
from tests.support.memory_endpoint import MemoryEndpoint

__all__ = ["etcd"]

SECONDS = 5.0
OWN = "10.0.0.7"


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](request, tmp_path)
    yield made
    made.close()


def listener(service: str, *instances: str) -> Listener:
    routes = tuple(Route(instance=found, host="10.0.0.1", port=20001) for found in instances)
    return Listener(
        name=service, kind=ListenerKind.PRIMARY, host="10.0.0.1", port=20000, routes=routes
    )


class Unsteady:
    """A source that fails, or hangs, when it is told to."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.name = inner.name
        self.fails = False

    def ask(self, after: int, seconds: float) -> Told:
        told = self._inner.ask(after, seconds)
        if self.fails:
            raise HamanagerError("nobody answers")
        return told


class Proxy:
    """What `hamanager proxy` is, with an endpoint in memory."""

    def __init__(self, *sources: Source, known: Told | None = None) -> None:
        self.local, self.book, self.kept = MemoryEndpoint(), Book(), []
        here = Here(self.local, self.book, OWN, alone=True)
        self.follower = Follower(here, self.book, sources, keep=self.kept.append)
        if known is not None:
            self.follower.take_over(known)
        self.follower.start()

    kept: list[Told]

    def is_led_to(self, service: str, *instances: str) -> None:
        wait_for(
            f"{service} to be led to {instances}",
            SECONDS,
            lambda: self.local.leads_to(service) == instances,
            pause_seconds=0.002,
        )


@pytest.fixture
def proxies() -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(*sources: Source, known: Told | None = None) -> Proxy:
        made.append(Proxy(*sources, known=known))
        return made[-1]

    yield make
    for proxy in made:
        proxy.follower.stop()


@pytest.fixture
def manager(store: Store) -> Iterator[Addresses]:
    made = Addresses(store, MemoryEndpoint())
    save_spec(store, Spec(name="db", engine="redis", instances=1, image="i", created_at=5), 0)
    made.begin(several=True)
    yield made
    made.close()


def publish(manager: Addresses, service: str, *instances: str) -> None:
    """As a pass of its leader does it: compared first, and again when it was not the last word."""
    manager.endpoint.published(service)
    manager.endpoint.publish(service, [listener(service, *instances)])


MakeProxy = Callable[..., Proxy]


def test_proxies_follow_the_store(store: Store, manager: Addresses, proxies: MakeProxy) -> None:
    made = [proxies(StoreSource(store, "the store")) for _ in range(2)]
    for led in (("db.0",), (), ("db.1",)):
        publish(manager, "db", *led)
        for proxy in made:
            proxy.is_led_to("db", *led)
    assert made[0].local.published("db")[0].host == OWN
    assert made[0].local.published("db")[0].port == 20000


def test_one_service_does_not_disturb_another(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    proxy = proxies(StoreSource(store, "the store"))
    publish(manager, "db", "db.0")
    publish(manager, "x", "x.0")
    proxy.is_led_to("x", "x.0")
    proxy.is_led_to("db", "db.0")
    forget_service(store, "db")
    proxy.is_led_to("db")
    wait_for("its address to be closed", SECONDS, lambda: proxy.local.services() == {"x"})


def test_two_managers_follow_each_other(store: Store, manager: Addresses) -> None:
    local = MemoryEndpoint()
    other = Addresses(store, local)
    other.begin(several=True)
    publish(manager, "db", "db.0")
    wait_for("the other one to hear", SECONDS, lambda: local.leads_to("db") == ("db.0",))
    publish(other, "db", "db.1")
    wait_for(
        "the first to follow",
        SECONDS,
        lambda: manager.endpoint._local.leads_to("db") == ("db.1",),  # type: ignore[attr-defined]
    )
    other.close()


def test_without_anybody_to_ask_it_goes_on_with_the_last_word_and_catches_up(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    source = Unsteady(StoreSource(store, "the store"))
    proxy = proxies(source)
    publish(manager, "db", "db.0")
    proxy.is_led_to("db", "db.0")
    source.fails = True
    publish(manager, "db", "db.1")
    time.sleep(0.2)  # what it would need to hear of it
    assert proxy.local.leads_to("db") == ("db.0",)
    source.fails = False
    proxy.is_led_to("db", "db.1")


def test_one_of_several_that_answers_is_enough(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    dead = Unsteady(StoreSource(store, "dead"))
    dead.fails = True
    proxy = proxies(dead, StoreSource(store, "living"))
    publish(manager, "db", "db.0")
    proxy.is_led_to("db", "db.0")


def test_one_that_is_behind_never_leads_back(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    publish(manager, "db", "db.0")
    old = StoreSource(store, "the store").ask(0, 0)

    class CutOff:
        """A manager that lost the store: it tells what it knew."""

        name = "cut off"
        asked = 0

        def ask(self, after: int, seconds: float) -> Told:
            self.asked += 1
            time.sleep(0.005)
            return altered(old, after=after, heard_seconds_ago=60.0)

    cut_off = CutOff()
    proxy = proxies(cut_off, StoreSource(store, "the store"))
    proxy.is_led_to("db", "db.0")
    publish(manager, "db", "db.1")
    proxy.is_led_to("db", "db.1")
    asked = cut_off.asked
    wait_for("the one that is behind to be asked again", SECONDS, lambda: cut_off.asked > asked + 1)
    assert proxy.local.leads_to("db") == ("db.1",)


def test_what_is_known_is_kept_and_led_by_after_a_restart(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    before = proxies(StoreSource(store, "the store"))
    publish(manager, "db", "db.1")
    before.is_led_to("db", "db.1")
    wait_for("it to be kept", SECONDS, lambda: bool(before.kept and "db" in before.kept[-1].words))
    nobody = Unsteady(StoreSource(store, "nobody"))
    nobody.fails = True
    after = proxies(nobody, known=before.kept[-1])
    after.is_led_to("db", "db.1")


def test_an_address_that_is_no_more_is_closed_after_a_restart(
    store: Store, manager: Addresses, proxies: MakeProxy
) -> None:
    publish(manager, "x", "x.0")
    proxy = proxies(StoreSource(store, "the store"))
    proxy.local.publish("gone", [listener("gone", "gone.0")])
    proxy.is_led_to("x", "x.0")
    wait_for("its end", SECONDS, lambda: proxy.local.services() == {"x"})


def test_a_store_that_cannot_be_read_ends_nothing(store: Store, proxies: MakeProxy) -> None:
    class Down:
        name = "down"

        def ask(self, after: int, seconds: float) -> Told:
            raise StoreError("the store cannot be used")

    proxy = proxies(Down())
    proxy.local.publish("db", [listener("db", "db.0")])
    proxy.follower.look_after()
    assert proxy.local.leads_to("db") == ("db.0",), "nobody has said that it is no more"
