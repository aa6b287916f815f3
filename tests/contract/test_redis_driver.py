"""What is particular to Redis, on real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hamanager.errors import ServerError
from hamanager.model.snapshot import Relation, Role
from hamanager_drivers.redis import config
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.redis.writer import RedisWorkload
from hamanager_testing.servers import TERMS, Server, servers
from hamanager_testing.standing import make_full_standby

RedisServer = Server[RedisDriver]


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary with some rows and a standby that follows it."""
    driver = RedisDriver()
    with servers(driver, 2) as [primary, standby]:
        primary.wait()
        standby.wait()
        driver.replication.initialize(primary.service, primary.target)
        make_full_standby(standby, primary, [primary, standby])
        yield primary, standby


def test_a_hand_over_loses_nothing(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    writer = driver.workload.open_writer(service, primary.target)
    for number in range(500):
        writer.write(number)
    driver.replication.hand_over(service, standby.target, primary.target, TERMS)
    assert driver.probe(service, standby.target).role is Role.PRIMARY
    assert driver.probe(service, primary.target).role is Role.STANDBY
    with pytest.raises(ServerError):
        writer.write(500)
    reader = driver.workload.open_writer(service, standby.target)
    assert reader.numbers() == set(range(500))
    make_full_standby(primary, standby, [primary, standby])


def test_a_write_that_no_standby_confirms_does_not_count_for_a_client_that_asks(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, standby = pair
    careful = RedisWorkload(confirmed_by=1).open_writer(primary.service, primary.target)
    careful.write(1)
    standby.kill()
    with pytest.raises(ServerError, match="0 of 1"):
        careful.write(2)
    usual = primary.driver.workload.open_writer(primary.service, primary.target)
    usual.write(3)


@pytest.mark.parametrize("zeros", [1, 5, 4096, 70_000])
def test_starts_again_when_a_loss_of_power_has_left_zeros_at_the_end_of_its_log(
    pair: tuple[RedisServer, RedisServer], zeros: int
) -> None:
    primary, _ = pair
    writer = primary.driver.workload.open_writer(primary.service, primary.target)
    for number in range(50):
        writer.write(number)
    time.sleep(1.5)  # its log is on the disk then
    log = "/hamanager/data/appendonlydir/*.incr.aof"
    size = ["/bin/sh", "-c", f"stat -c %s {log}"]
    before = primary.container.exec_run(size).output
    torn = primary.container.exec_run(["/bin/sh", "-c", f"truncate -s +{zeros} {log}"])
    assert torn.exit_code == 0
    primary.kill()
    primary.start_again()
    primary.wait()
    reader = primary.driver.workload.open_writer(primary.service, primary.target)
    assert reader.numbers() == set(range(50))
    assert primary.container.exec_run(size).output == before


def test_an_empty_restarted_primary_is_not_followed(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """The old trap: an empty primary comes back by itself and its standby copies the emptiness."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    writer = driver.workload.open_writer(service, primary.target)
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
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.workload.open_writer(service, primary.target).write(1)
    primary.kill()
    driver.replication.promote(service, standby.target, [], 0)
    primary.start_again()
    own = primary.wait(lambda status: status.position["loading"] == "0")
    led = standby.wait()
    related = driver.replication.relate(
        primary.target, own, standby.target, led, [primary.target, standby.target]
    )
    assert related is Relation.UNPROVEN


def test_writes_are_refused_without_a_standby_where_that_is_asked_for(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    assert driver.probe(service, primary.target).required_acks == 0
    driver.required_acks.set_required_acks(service, primary.target, 1)
    assert driver.probe(service, primary.target).required_acks == 1
    writer = driver.workload.open_writer(service, primary.target)
    writer.write(1)
    standby.kill()

    def go_on_writing() -> None:
        deadline = time.monotonic() + config.MAX_LAG_SECONDS + 3
        while time.monotonic() < deadline:
            writer.write(2)
            time.sleep(0.05)

    with pytest.raises(ServerError, match="NOREPLICAS"):
        go_on_writing()
    driver.required_acks.set_required_acks(service, primary.target, 0)
    writer.write(3)
    writer.close()


def test_what_a_woken_primary_alone_has_is_told_in_bytes(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    old, new = pair
    driver, service = old.driver, old.service
    driver.replication.demote(service, new.target)  # it receives nothing any more
    writer = driver.workload.open_writer(service, old.target)
    for number in range(20):
        writer.write(number)
    writer.close()
    seen = driver.probe(service, old.target)
    lacks = driver.replication.missing_writes(driver.probe(service, new.target), seen)
    assert lacks.startswith("at least ")
    driver.replication.promote(service, new.target, [], 0)
    driver.replication.demote(service, old.target)
    alone = driver.replication.errant_writes(
        driver.probe(service, old.target), driver.probe(service, new.target)
    )
    assert alone == lacks.removeprefix("at least ").replace("the replication", "its replication")


def test_a_primary_refuses_writes_in_time_after_the_last_word_of_a_standby(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """Whose end it does not hear of, either."""
    primary, standby = pair
    primary.driver.required_acks.set_required_acks(primary.service, primary.target, 1)
    writer = primary.driver.workload.open_writer(primary.service, primary.target)
    standby.container.pause()

    def go_on_writing() -> None:
        deadline = time.monotonic() + config.REFUSES_ALONE_SECONDS
        while time.monotonic() < deadline:
            writer.write(1)
            time.sleep(0.01)

    with pytest.raises(ServerError, match="NOREPLICAS"):
        go_on_writing()
    standby.container.unpause()
