"""Acknowledgements of real MySQL servers: who waits for whom, and what an acknowledgement means."""

from __future__ import annotations

import contextlib
import pkgutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pymysql
import pytest

from hamanager.errors import ServerError, WritesWaitError
from hamanager.model.snapshot import Relation, Role
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.mysql.semisync import LONG_LOG_BYTES, MOST_PROMPTS, end_of_log, prompt
from hamanager_drivers.mysql.writer import ROWS
from hamanager_testing.servers import servers
from hamanager_testing.standing import make_full_standby
from tests.contract.test_mysql_driver import (
    MySQLServer,
    application,
    make_primary,
    manager,
    wait_for,
)

INSERT = f"INSERT INTO {ROWS} VALUES"


@pytest.fixture
def pair() -> Iterator[tuple[MySQLServer, MySQLServer]]:
    """A primary that waits for its standby."""
    with servers(MySQLDriver(), 2) as [primary, standby]:
        make_primary(primary)
        make_full_standby(standby, primary, [primary, standby])
        synchronize(primary, standby)
        yield primary, standby


def synchronize(primary: MySQLServer, standby: MySQLServer) -> None:
    driver, service = primary.driver, primary.service
    driver.semisync.set_semisync_replica(service, standby.target, wanted=True)
    driver.required_acks.set_required_acks(service, primary.target, 1)
    driver.semisync.wait_until_caught_up(service, standby.target, primary.target)


def test_a_write_is_acknowledged_when_the_standby_has_it(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    assert driver.probe(service, primary.target).required_acks == 1
    assert driver.probe(service, standby.target).acknowledges
    with application(primary) as client:
        client.run(f"{INSERT} (1)")
    driver.semisync.set_semisync_replica(service, standby.target, wanted=False)
    assert not driver.probe(service, standby.target).acknowledges
    with application(primary, seconds=0.7) as client, pytest.raises(pymysql.MySQLError):
        client.run(f"{INSERT} (2)")
    driver.required_acks.set_required_acks(service, primary.target, 0)
    with application(primary) as client:
        client.run(f"{INSERT} (3)")
    assert driver.probe(service, primary.target).required_acks == 0


def test_what_was_acknowledged_survives_the_standby_and_the_primary(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("STOP REPLICA SQL_THREAD")
    with application(primary) as client:
        for number in range(50):
            client.run(f"{INSERT} ({number})")
    standby.kill()
    primary.kill()
    standby.start_again()
    standby.wait()
    driver.replication.apply_received(service, standby.target)
    driver.replication.promote(service, standby.target, [], 0)
    reader = driver.workload.open_writer(service, standby.target, timeout_seconds=5)
    assert reader.numbers() == set(range(50))
    reader.close()


def test_nobody_is_told_of_a_write_that_waited_when_its_primary_is_demoted(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("STOP REPLICA IO_THREAD")
    outcomes: list[str] = []

    def write(number: int) -> None:
        try:
            with application(primary, seconds=20) as client:
                client.run(f"{INSERT} ({number})")
            outcomes.append(f"{number} acknowledged")
        except pymysql.MySQLError:
            outcomes.append("refused")

    writers = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for writer in writers:
        writer.start()
    with manager(primary) as session:
        wait_for(
            lambda: bool(
                session.rows(
                    "SELECT 1 FROM performance_schema.processlist WHERE STATE LIKE %s",
                    "Waiting for semi-sync%",
                )
            )
        )
    began = time.monotonic()
    driver.replication.demote(service, primary.target)
    assert time.monotonic() - began < 2
    for writer in writers:
        writer.join(10)
    assert outcomes == ["refused"] * 5
    assert driver.probe(service, primary.target).role is Role.STANDBY
    assert driver.replication.errant_writes(
        driver.probe(service, primary.target), driver.probe(service, standby.target)
    )


def test_a_standby_is_not_confirmed_before_it_has_applied_everything(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("STOP REPLICA SQL_THREAD")
    with application(primary) as client:
        client.run(f"{INSERT} (1)")
    with pytest.raises(ServerError, match="1 transactions are left to apply"):
        driver.semisync.wait_until_caught_up(service, standby.target, primary.target)
    with manager(standby) as session:
        session.run("START REPLICA SQL_THREAD")
    driver.semisync.wait_until_caught_up(service, standby.target, primary.target)


def test_nobody_waits_for_the_confirmation_of_one_whose_link_has_ended(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.required_acks.set_required_acks(service, primary.target, 0)
    with manager(standby) as session:
        session.run("STOP REPLICA IO_THREAD")
    with application(primary) as client:
        client.run(f"{INSERT} (1)")
    with pytest.raises(ServerError, match="has lost its link to the primary"):
        driver.semisync.wait_until_caught_up(service, standby.target, primary.target)


def test_a_restarted_primary_waits_again_before_it_takes_writes(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, _ = pair
    driver, service = primary.driver, primary.service
    primary.kill()
    primary.start_again()
    primary.wait()
    driver.replication.promote(service, primary.target, [], 1)
    assert driver.probe(service, primary.target).required_acks == 1
    with application(primary) as client:
        client.run(f"{INSERT} (1)")


def test_clients_who_all_come_at_once_find_a_server_that_remembers_their_password(
    pair: tuple[MySQLServer, MySQLServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is promoted has seen the application before, and so has one that resumes."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    in_full: list[str] = []
    encrypt = "pymysql._auth.sha2_rsa_encrypt"
    original = pkgutil.resolve_name(encrypt)

    def noted(*words: bytes) -> bytes:
        in_full.append("sent")
        return bytes(original(*words))

    monkeypatch.setattr(encrypt, noted)

    def is_known_on(server: MySQLServer) -> bool:
        in_full.clear()
        with application(server):
            return not in_full

    assert is_known_on(standby)
    primary.kill()
    primary.start_again()
    primary.wait()
    driver.replication.promote(service, primary.target, [], 1)
    assert is_known_on(primary)


def test_one_that_was_told_to_cease_does_not_begin_again_when_its_link_is_back(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("STOP REPLICA IO_THREAD")
    assert not driver.probe(service, standby.target).acknowledges
    driver.semisync.set_semisync_replica(service, standby.target, wanted=False)
    with manager(standby) as session:
        session.run("START REPLICA IO_THREAD")
    standby.wait(lambda s: s.link_up is True)
    assert not driver.probe(service, standby.target).acknowledges


def test_one_that_was_half_told_to_cease_ceases(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """The setting alone changes nothing while its receiver is connected."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("SET GLOBAL rpl_semi_sync_replica_enabled = OFF")
    assert driver.probe(service, standby.target).acknowledges
    driver.semisync.set_semisync_replica(service, standby.target, wanted=False)
    assert not driver.probe(service, standby.target).acknowledges


def test_one_that_was_half_told_to_acknowledge_does_so_from_its_disk(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with manager(standby) as session:
        session.run("SET GLOBAL sync_relay_log = 10000")
    assert not driver.probe(service, standby.target).acknowledges_from_disk
    driver.semisync.set_semisync_replica(service, standby.target, wanted=True)
    status = driver.probe(service, standby.target)
    assert status.acknowledges
    assert status.acknowledges_from_disk


def test_what_a_standby_has_not_received_is_not_confirmed(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.required_acks.set_required_acks(service, primary.target, 0)
    with manager(standby) as session:
        session.run("STOP REPLICA SQL_THREAD")
        with application(primary) as client:
            client.run(f"{INSERT} (1)")
        driver.semisync.wait_until_received(service, standby.target, primary.target)
        session.run("STOP REPLICA IO_THREAD")
    with application(primary) as client:
        client.run(f"{INSERT} (2)")
    with pytest.raises(ServerError, match="has lost its link to the primary"):
        driver.semisync.wait_until_received(service, standby.target, primary.target)


def start_waiting(primary: MySQLServer) -> tuple[threading.Thread, threading.Event]:
    """A client whose write waits, and whether it was told that it succeeded."""
    told = threading.Event()

    def write() -> None:
        with contextlib.suppress(pymysql.MySQLError), application(primary, seconds=20) as client:
            client.run(f"{INSERT} (1)")
            told.set()

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: primary.driver.probe(primary.service, primary.target).waiting_seconds > 0)
    return writer, told


def test_what_a_standby_has_unasked_is_acknowledged_with_the_next_write(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """It received it while it acknowledged nothing, and its link was made anew. A source of 9.7
    skips what the receiver has and counts that for nothing."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.semisync.set_semisync_replica(service, standby.target, wanted=False)
    writer, told = start_waiting(primary)
    driver.semisync.wait_until_received(service, standby.target, primary.target)
    driver.semisync.set_semisync_replica(service, standby.target, wanted=True)
    driver.semisync.wait_until_received(service, standby.target, primary.target)
    driver.semisync.prompt(service, primary.target)
    assert told.wait(10)
    writer.join()
    assert driver.probe(service, primary.target).waiting_seconds == 0


@pytest.mark.long
def test_few_writes_of_the_managers_own_wait_at_most(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """Nobody acknowledges, and a client waits before them: they wait behind its commit."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    driver.semisync.set_semisync_replica(service, standby.target, wanted=False)
    writer, told = start_waiting(primary)
    driver.semisync.prompt(service, primary.target)
    with pytest.raises(ServerError, match="had one write more a moment ago"):
        driver.semisync.prompt(service, primary.target)
    for _ in range(MOST_PROMPTS - 1):
        prompt(service, primary.target)
    with pytest.raises(WritesWaitError, match="which wait as well"):
        driver.semisync.prompt(service, primary.target)
    assert driver.probe(service, primary.target).role is Role.PRIMARY
    driver.semisync.end_waiting(service, primary.target, 1)
    writer.join(10)
    assert not writer.is_alive()
    assert not told.is_set()
    assert driver.probe(service, primary.target).waiting_seconds == 0


@pytest.mark.long
def test_a_standby_that_is_to_acknowledge_does_not_connect_to_a_long_log(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """The source would read all of it for the receiver while writes wait."""
    primary, standby = pair
    driver, service = primary.driver, primary.service

    def log() -> str:
        with manager(primary) as session:
            return end_of_log(session)[0]

    with application(primary) as client:
        client.run("CREATE TABLE wide (id INT PRIMARY KEY, text LONGTEXT)")
        client.run(f"INSERT INTO wide VALUES (1, REPEAT('x', {2 * LONG_LOG_BYTES}))")
    before = log()
    driver.semisync.wait_until_received(service, standby.target, primary.target)
    assert log() == before, "a new log begins while a write might wait"
    driver.required_acks.set_required_acks(service, primary.target, 0)
    driver.semisync.wait_until_received(service, standby.target, primary.target)
    assert log() != before
    after = log()
    driver.semisync.wait_until_received(service, standby.target, primary.target)
    assert log() == after


def test_one_whose_stepping_down_was_cut_short_takes_clients_when_promoted(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, _ = pair
    driver, service = primary.driver, primary.service
    driver.replication.demote(service, primary.target)
    with manager(primary) as session:
        session.run("SET GLOBAL offline_mode = ON")
    driver.replication.promote(service, primary.target, [], 0)
    with application(primary) as client:
        client.run(f"{INSERT} (1)")


def test_a_planned_stop_shuts_the_server_down(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, _ = pair
    primary.driver.shutdown.shut_down(primary.service, primary.target)
    ended = primary.container.wait(timeout=30)
    assert ended["StatusCode"] == 0


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGQUIT"])
def test_a_signal_ends_it_by_force(pair: tuple[MySQLServer, MySQLServer], signal: str) -> None:
    """A clean shutdown would tell waiting clients that their writes succeeded."""
    primary, _ = pair
    primary.container.kill(signal=signal)
    ended = primary.container.wait(timeout=10)
    assert ended["StatusCode"] == 137


def test_one_that_is_shut_out_acknowledges_nothing_until_it_is_attached_again(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """By the primary's word alone, whatever the standby was told."""
    primary, standby = pair
    driver, service = primary.driver, primary.service
    elsewhere = replace(standby.target, placed_on="h2")

    def attached() -> None:
        driver.replication.attach(service, elsewhere, primary.target, [])
        wait_for(lambda: bool(driver.probe(service, elsewhere).link_up))

    def relation() -> Relation:
        seen, led = driver.probe(service, elsewhere), driver.probe(service, primary.target)
        return driver.replication.relate(elsewhere, seen, primary.target, led, [])

    attached()
    driver.semisync.wait_until_caught_up(service, elsewhere, primary.target)
    with application(primary) as client:
        client.run(f"{INSERT} (1)")
    driver.semisync.shut_out(service, primary.target, elsewhere.serial)
    driver.semisync.shut_out(service, primary.target, elsewhere.serial)
    with application(primary, seconds=2.5) as client, pytest.raises(pymysql.MySQLError):
        client.run(f"{INSERT} (2)")
    wait_for(lambda: relation() is Relation.DETACHED)
    attached()
    with application(primary) as client:
        client.run(f"{INSERT} (3)")
    wait_for(lambda: relation() is Relation.ATTACHED)
