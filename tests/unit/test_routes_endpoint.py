"""What is published goes into the store when somebody follows; while nobody does, nowhere else."""

from __future__ import annotations

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.errors import EndpointFailedError, StaleVersionError, StoreError
from hamanager.model.spec import Spec
from hamanager.routes.book import Book
from hamanager.routes.endpoint import RoutedEndpoint
from hamanager.routes.here import Here
from hamanager.stores.repository import (
    forget_service,
    load_routes,
    read_routes,
    routes_key,
    save_spec,
)
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore

RECORDED, OWN = "10.0.0.1", "10.0.0.7"


def listener(*instances: str, name: str = "db", host: str = RECORDED) -> Listener:
    routes = tuple(Route(instance=found, host="10.0.0.1", port=20001) for found in instances)
    return Listener(name=name, kind=ListenerKind.PRIMARY, host=host, port=20000, routes=routes)


class FullStore(MemoryStore):
    """Can be read, and not written, when it is full."""

    full = False
    puts = 0

    def put(self, key: str, value: str, expected: int) -> int:
        if self.full:
            raise StoreError("the store is full")
        self.puts += 1
        return super().put(key, value, expected)


class Machine:
    """A manager's endpoint, and this machine's own below it."""

    def __init__(self, store: MemoryStore, address: str | None = None) -> None:
        self.store, self.local, self.book = store, MemoryEndpoint(), Book()
        self.here = Here(self.local, self.book, address)
        self.follows = 0
        self.endpoint = RoutedEndpoint(self.here, self.book, store, self._follow)

    def _follow(self) -> None:
        self.follows += 1

    def hear(self) -> None:
        """What its follower does."""
        for service in self.book.hear(read_routes(self.store, self.book.version, 0)):
            self.here.bring(service)

    def publish(self, *listeners: Listener, service: str = "db") -> None:
        """As a pass does it: compared first."""
        self.endpoint.published(service)
        self.endpoint.publish(service, listeners)


@pytest.fixture
def store() -> FullStore:
    made = FullStore()
    save_spec(made, Spec(name="db", engine="redis", instances=1, image="i", created_at=5), 0)
    return made


@pytest.fixture
def machine(store: FullStore) -> Machine:
    return Machine(store)


def test_alone_nothing_is_written_and_nothing_followed(machine: Machine, store: FullStore) -> None:
    machine.endpoint.begin()
    before = store.puts
    machine.publish(listener("db.0"))
    assert machine.endpoint.published("db") == (listener("db.0"),)
    assert machine.local.leads_to("db") == ("db.0",)
    assert (store.puts, machine.follows) == (before, 0)
    assert load_routes(store, "db") is None


def test_from_the_first_follower_on_it_is_written(machine: Machine, store: FullStore) -> None:
    machine.publish(listener("db.0"))
    assert machine.endpoint.share()
    assert not machine.endpoint.share()
    assert machine.follows == 1
    assert machine.endpoint.published("db") == (), "so that the next pass publishes it"
    assert machine.local.leads_to("db") == ("db.0",), "it goes on meanwhile"
    machine.publish(listener("db.0"))
    word = load_routes(store, "db")
    assert word is not None
    assert word.listeners == (listener("db.0"),)
    again = Machine(store)
    again.endpoint.begin()
    assert again.endpoint.is_shared, "it is known to the next daemon that somebody follows"
    assert again.endpoint.published("db") == (listener("db.0"),)


def test_what_is_there_is_not_written_again(machine: Machine, store: FullStore) -> None:
    machine.endpoint.share()
    machine.publish(listener("db.0"))
    before = store.puts
    machine.publish(listener("db.0"))
    assert store.puts == before


def test_every_machine_follows_at_its_own_address(store: FullStore) -> None:
    leader, other = Machine(store), Machine(store, OWN)
    leader.endpoint.share()
    other.endpoint.share()
    leader.publish(listener("db.0"))
    other.hear()
    assert leader.local.published("db") == (listener("db.0"),)
    assert other.local.published("db") == (listener("db.0", host=OWN),)
    assert other.endpoint.published("db") == (listener("db.0"),), "as it is written down"


def test_a_manager_that_takes_over_publishes_for_all(store: FullStore) -> None:
    first, second = Machine(store), Machine(store, OWN)
    for machine in (first, second):
        machine.endpoint.share()
    first.publish(listener("db.0"))
    second.hear()
    second.publish(listener("db.1"))
    first.hear()
    assert first.local.leads_to("db") == second.local.leads_to("db") == ("db.1",)


def test_one_that_was_overtaken_leads_nobody_anywhere(store: FullStore) -> None:
    """It was suspended between its look and its word, and did not hear what was said meanwhile."""
    first, second = Machine(store), Machine(store)
    for machine in (first, second):
        machine.endpoint.share()
    first.publish(listener("db.0"))
    second.hear()
    first.endpoint.published("db")
    second.publish(listener("db.1"))
    with pytest.raises(StaleVersionError, match="another manager has said since"):
        first.endpoint.publish("db", [listener()])
    first.hear()
    with pytest.raises(StaleVersionError):
        first.endpoint.publish("db", [listener("db.0")])
    assert first.local.leads_to("db") == ("db.1",)
    first.publish(listener("db.0"))
    assert first.local.leads_to("db") == ("db.0",), "with the next look it may, if it still leads"


def test_when_nothing_can_be_written_nobody_is_led_elsewhere(
    machine: Machine, store: FullStore
) -> None:
    machine.endpoint.share()
    machine.publish(listener("db.0"))
    store.full = True
    with pytest.raises(StoreError):
        machine.publish(listener("db.1"))
    assert machine.local.leads_to("db") == ("db.0",)


def test_it_settles_to_what_is_written(store: FullStore) -> None:
    first, second = Machine(store), Machine(store)
    for machine in (first, second):
        machine.endpoint.share()
    first.publish(listener("db.0"))
    second.book.hear(read_routes(store, 0, 0))
    second.endpoint.settle("db")
    assert second.local.leads_to("db") == ("db.0",)


def test_an_older_word_is_never_told_to_the_endpoint(store: FullStore) -> None:
    """The follower has heard of one, and brings it when the leader has said the next already."""
    machine = Machine(store)
    machine.endpoint.share()
    machine.publish(listener("db.0"))
    machine.book.hear(read_routes(store, 0, 0))
    machine.publish(listener("db.1"))
    machine.here.bring("db")
    assert machine.local.leads_to("db") == ("db.1",)
    assert machine.here.differing() == []


def test_a_service_that_was_destroyed_has_no_address_anywhere(store: FullStore) -> None:
    leader, other = Machine(store), Machine(store)
    for machine in (leader, other):
        machine.endpoint.share()
    leader.publish(listener("db.0"))
    other.hear()
    leader.publish()
    forget_service(store, "db")
    assert store.get(routes_key("db")) is None
    leader.hear()
    other.hear()
    assert (leader.local.services(), other.local.services()) == (frozenset(), frozenset())
    save_spec(store, Spec(name="db", engine="redis", instances=1, image="i", created_at=6), 0)
    leader.publish(listener("db.0"))
    other.hear()
    assert other.local.leads_to("db") == ("db.0",), "and another one of that name has"


def test_one_that_was_destroyed_while_the_manager_was_away_is_closed(store: FullStore) -> None:
    machine = Machine(store)
    machine.local.publish("gone", [listener("gone.0", name="gone")])
    machine.local.publish("db", [listener("db.0")])
    machine.endpoint.share()
    assert machine.local.services() == {"db"}


def test_a_damaged_row_leads_nobody_elsewhere_and_is_written_anew(store: FullStore) -> None:
    leader, other = Machine(store), Machine(store)
    for machine in (leader, other):
        machine.endpoint.share()
    leader.publish(listener("db.0"))
    other.hear()
    kept = store.get(routes_key("db"))
    assert kept is not None
    store.put(routes_key("db"), kept.value[:20], kept.version)
    other.hear()
    assert other.local.leads_to("db") == ("db.0",)
    late = Machine(store)
    late.endpoint.share()
    late.publish(listener("db.1"))
    other.hear()
    assert other.local.leads_to("db") == ("db.1",)


def test_an_endpoint_that_fails_is_told_of_again(store: FullStore) -> None:
    class Failing(MemoryEndpoint):
        fails = False

        def publish(self, service: str, listeners: object, *, cut: bool = True) -> None:
            if self.fails:
                raise EndpointFailedError("the disk is full")
            super().publish(service, listeners, cut=cut)  # type: ignore[arg-type]

    machine = Machine(store)
    machine.here.endpoint = failing = Failing()
    leader = Machine(store)
    for one in (leader, machine):
        one.endpoint.share()
    leader.publish(listener("db.0"))
    failing.fails = True
    with pytest.raises(EndpointFailedError):
        machine.hear()
    assert machine.here.differing() == ["db"]
    failing.fails = False
    machine.here.bring("db")
    assert failing.leads_to("db") == ("db.0",)
