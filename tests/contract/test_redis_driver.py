"""What is particular to Redis, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hamanager.errors import ServerError
from hamanager.values.snapshot import Relation, Role
from hamanager_drivers.redis.driver import RedisDriver
from tests.contract.test_driver import make_full_standby
from tests.support.servers import TERMS, Server, servers


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary with some rows and a standby that follows it."""
    driver = RedisDriver()
    with servers(driver, 2) as [primary, standby]:
        primary.wait()
        standby.wait()
        driver.initialize(primary.service, primary.target)
        make_full_standby(standby, primary, [primary, standby])
        yield primary, standby


def test_a_hand_over_loses_nothing(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    writer = driver.open_writer(service, primary.target)
    for number in range(500):
        writer.write(number)
    driver.hand_over(service, standby.target, primary.target, TERMS)
    assert driver.probe(service, standby.target).role is Role.PRIMARY
    assert driver.probe(service, primary.target).role is Role.STANDBY
    with pytest.raises(ServerError):
        writer.write(500)
    reader = driver.open_writer(service, standby.target)
    assert reader.numbers() == set(range(500))
    make_full_standby(primary, standby, [primary, standby])


def test_an_empty_restarted_primary_is_not_followed(pair: tuple[Server, Server]) -> None:
    """The old trap: an empty primary comes back by itself and its standby copies the emptiness."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    writer = driver.open_writer(service, primary.target)
    writer.write(1)
    standby.wait(lambda status: status.position["keys"] == "1")
    primary.container.exec_run(["/bin/sh", "-c", "rm -rf /hamanager/data/*"])
    primary.kill()
    primary.start_again()
    assert primary.wait().role is Role.STANDBY
    assert primary.wait().position["keys"] == "0"
    kept = standby.wait(lambda status: status.link_up is False)
    assert kept.position["keys"] == "1"


def test_a_killed_primary_that_returns_is_not_overwritten_unasked(
    pair: tuple[Server, Server],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.open_writer(service, primary.target).write(1)
    primary.kill()
    driver.promote(service, standby.target, [], 0)
    primary.start_again()
    own = primary.wait(lambda status: status.position["loading"] == "0")
    led = standby.wait()
    related = driver.relate(
        primary.target, own, standby.target, led, [primary.target, standby.target]
    )
    assert related is Relation.UNPROVEN
