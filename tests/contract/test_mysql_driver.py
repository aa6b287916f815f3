"""What only MySQL does, against real servers: copies, divergence, locks, half transactions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pymysql
import pytest

from hamanager.errors import RefusedError, ServerError, SilentError
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_drivers.mysql.config import REPLICATOR, database
from hamanager_drivers.mysql.connections import Connections, Session, connect
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.mysql.memory import limit_connections
from hamanager_drivers.mysql.writer import BALLAST, ROWS
from hamanager_drivers.naming import APPLICATION
from hamanager_testing.servers import TERMS, Server, servers
from hamanager_testing.standing import make_full_standby

MySQLServer = Server[MySQLDriver]


@contextlib.contextmanager
def manager(server: MySQLServer) -> Iterator[Session]:
    connections = Connections()
    with connections.session(server.service, server.target) as session:
        yield session
    connections.forget(server.target)


@contextlib.contextmanager
def application(
    server: MySQLServer, seconds: float = 5, *, database_exists: bool = True
) -> Iterator[Session]:
    password = server.service.secrets["password"]
    connection = connect(server.target, APPLICATION, password, seconds)
    if database_exists:
        connection.select_db(database(server.service))
    try:
        yield Session(connection)
    finally:
        connection.close()


def relation(standby: MySQLServer, primary: MySQLServer) -> Relation:
    driver, service = standby.driver, standby.service
    seen = driver.probe(service, standby.target)
    led = driver.probe(service, primary.target)
    return driver.replication.relate(standby.target, seen, primary.target, led, [])


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.02)


def make_primary(server: MySQLServer) -> None:
    server.wait()
    server.driver.replication.initialize(server.service, server.target)
    writer = server.driver.workload.open_writer(server.service, server.target, timeout_seconds=5)
    writer.prepare()
    writer.close()


@pytest.fixture
def pair() -> Iterator[tuple[MySQLServer, MySQLServer]]:
    """A primary and a full standby of it."""
    with servers(MySQLDriver(), 2) as [primary, standby]:
        make_primary(primary)
        make_full_standby(standby, primary, [primary, standby])
        yield primary, standby


def test_a_copy_shows_its_progress_and_begins_anew_when_it_was_cut_off() -> None:
    with servers(MySQLDriver(), 2) as [primary, standby]:
        make_primary(primary)
        driver, service = standby.driver, standby.service
        writer = driver.workload.open_writer(service, primary.target)
        writer.fill(300_000_000)
        writer.close()
        standby.wait()
        with pytest.raises(ServerError, match="holds data already"):
            driver.replication.seed(service, primary.target, standby.target)

        driver.replication.seed(service, standby.target, primary.target)
        driver.replication.seed(service, standby.target, primary.target)
        assert relation_of_copy(standby, primary).sync is not None
        with (
            application(standby, database_exists=False) as client,
            pytest.raises(pymysql.MySQLError, match="read-only"),
        ):
            client.run(f"CREATE DATABASE {database(service)}")
        with manager(standby) as session:
            shown = session.rows("SELECT INFO FROM performance_schema.processlist")
            shown += session.rows(
                "SELECT SQL_TEXT FROM performance_schema.events_statements_history"
            )
        for secret in service.secrets.values():
            assert secret not in str(shown)
        standby.kill()
        standby.start_again()
        standby.wait()
        assert relation(standby, primary) is Relation.EMPTY
        make_full_standby(standby, primary, [primary, standby])


def relation_of_copy(standby: MySQLServer, primary: MySQLServer) -> ServerStatus:
    """Once some of the files have been copied; checks what is said meanwhile."""
    seen = standby.wait(lambda s: s.sync is not None and s.sync.stage == "file copy")
    assert seen.sync is not None
    assert seen.sync.bytes_total is not None
    assert seen.sync.bytes_total > 300_000_000
    assert seen.role is Role.STANDBY
    assert not seen.synchronized
    assert relation(standby, primary) is Relation.SEEDING
    return seen


def test_a_kill_while_the_data_directory_is_made_leaves_nothing_behind() -> None:
    with servers(MySQLDriver(), 1) as [server]:
        wait_for(lambda: b"initializing of server in progress" in server.container.logs())
        server.kill()
        server.start_again()
        server.wait()
        found = server.container.exec_run("ls /hamanager/data").output.split()  # type: ignore[union-attr]
        assert sorted(found) == [b"mysql", b"run", b"scratch"]


def test_what_the_application_may_not_do(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    with application(primary) as client:
        for statement in (
            "SET GLOBAL read_only = OFF",
            "SET SESSION sql_log_bin = 0",
            "STOP REPLICA",
            "RESET REPLICA",
            "ALTER USER hamanager IDENTIFIED BY 'x'",
            "DROP USER hamanager",
            "CREATE USER 'hamanager'@'172.17.0.1' IDENTIFIED BY 'x'",
            "SELECT User_password FROM mysql.slave_master_info",
            "INSTALL PLUGIN x SONAME 'semisync_source.so'",
            "CREATE TABLE other (n INT) ENGINE = MyISAM",
            "CREATE DATABASE shop",
            "CREATE TABLE hamanager.mine (n INT)",
            "GRANT SELECT ON t.* TO hamanager",
            "SHOW BINARY LOG STATUS",
        ):
            with pytest.raises(pymysql.MySQLError):
                client.run(statement)
        client.run(
            "CREATE TABLE item (n INT PRIMARY KEY)",
            "CREATE FUNCTION one() RETURNS INT DETERMINISTIC RETURN 1",
            "CREATE TRIGGER more BEFORE INSERT ON item FOR EACH ROW SET NEW.n = NEW.n + 1",
            "CREATE EVENT daily ON SCHEDULE EVERY 1 DAY DO DELETE FROM item",
        )
    with application(standby) as client, pytest.raises(pymysql.MySQLError):
        client.run("INSERT INTO item VALUES (1)")


def test_data_that_cannot_be_joined_again_is_called_diverged(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    assert relation(standby, primary) is Relation.ATTACHED

    # Somebody changed the standby outside the binary log: the applier meets a conflict.
    with manager(standby) as session:
        session.run(
            "SET GLOBAL super_read_only = OFF",
            "SET SESSION sql_log_bin = 0",
            "CREATE TABLE hamanager.other (n INT PRIMARY KEY)",
            "SET GLOBAL super_read_only = ON",
        )
    with manager(primary) as session:
        session.run("CREATE TABLE hamanager.other (n INT PRIMARY KEY)")
    wait_for(lambda: relation(standby, primary) is Relation.DIVERGED)

    # A standby that lacks what the primary has purged.
    driver.replication.detach(service, standby.target, primary.target)
    with manager(standby) as session:
        session.run(
            "SET SESSION sql_log_bin = 0",
            "SET GLOBAL super_read_only = OFF",
            "DROP TABLE hamanager.other",
            "SET GLOBAL super_read_only = ON",
            "START REPLICA SQL_THREAD",
        )
    wait_for(lambda: relation(standby, primary) is Relation.DETACHED)
    with manager(primary) as session:
        session.run("DROP TABLE hamanager.other", "SET GLOBAL binlog_expire_logs_seconds = 1")

    def purged() -> bool:
        with manager(primary) as session:
            session.run("FLUSH BINARY LOGS")
        return relation(standby, primary) is Relation.DIVERGED

    wait_for(purged)

    # A standby that somebody wrote to.
    with manager(standby) as session:
        session.run(
            "SET GLOBAL super_read_only = OFF",
            "CREATE TABLE hamanager.errant (n INT PRIMARY KEY)",
            "SET GLOBAL super_read_only = ON",
        )
    assert relation(standby, primary) is Relation.DIVERGED


def test_clients_with_locks_do_not_stop_a_demotion(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    primary, standby = pair
    driver, service = primary.driver, primary.service
    with application(primary) as locker, application(primary) as reader:
        locker.run(f"LOCK TABLES {ROWS} WRITE")
        reader.run("BEGIN", f"SELECT COUNT(*) FROM {BALLAST}")
        began = time.monotonic()
        driver.replication.demote(service, primary.target)
        assert time.monotonic() - began < 2
        with pytest.raises(pymysql.MySQLError):
            locker.run("SELECT 1")
    assert driver.probe(service, primary.target).role is Role.STANDBY
    assert standby.wait(lambda s: s.link_up is True).synchronized
    driver.replication.promote(service, primary.target, [], 0)
    driver.workload.open_writer(service, primary.target).write(1)


def test_a_hand_over_loses_nothing_and_is_undone_when_it_cannot_end(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    old, new = pair
    driver, service = old.driver, old.service
    writer = driver.workload.open_writer(service, old.target)
    with application(new, 20) as blocker:
        blocker.run(f"LOCK TABLES {ROWS} READ")
        writer.write(1)
        with pytest.raises(ServerError, match="did not catch up"):
            driver.replication.hand_over(service, new.target, old.target, TERMS)
    assert driver.probe(service, old.target).role is Role.PRIMARY
    assert driver.probe(service, new.target).role is Role.STANDBY
    make_full_standby(new, old, [old, new])

    acknowledged: set[int] = set()

    def write() -> None:
        client = driver.workload.open_writer(service, old.target, timeout_seconds=5)
        with contextlib.suppress(ServerError):
            for number in range(100, 1_000_000):
                client.write(number)
                acknowledged.add(number)

    thread = threading.Thread(target=write)
    thread.start()
    wait_for(lambda: len(acknowledged) > 100)
    driver.replication.hand_over(service, new.target, old.target, TERMS)
    thread.join(10)
    assert (
        driver.replication.hand_over(service, new.target, old.target, TERMS)
        == "t.1 took over already"
    )
    assert driver.probe(service, old.target).role is Role.STANDBY
    assert (
        acknowledged
        <= driver.workload.open_writer(service, new.target, timeout_seconds=5).numbers()
    )
    assert relation(old, new) is Relation.DETACHED
    make_full_standby(old, new, [old, new])


def test_half_a_transaction_does_not_hold_up_a_fail_over(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """The primary stops in the middle of sending: its rest never comes."""
    old, new = pair
    driver, service = old.driver, old.service

    def write_much() -> None:
        writer = driver.workload.open_writer(service, old.target, timeout_seconds=5)
        with contextlib.suppress(ServerError):
            writer.fill(400_000_000)

    threads = [threading.Thread(target=write_much) for _ in range(2)]
    for thread in threads:
        thread.start()
    with manager(new) as session:
        queue = (
            "SELECT QUEUEING_TRANSACTION q FROM performance_schema.replication_connection_status"
        )
        wait_for(lambda: bool(session.row(queue)["q"]))
    old.container.pause()
    began = time.monotonic()
    driver.replication.apply_received(service, new.target)
    driver.replication.promote(service, new.target, [], 0)
    assert time.monotonic() - began < 10
    driver.workload.open_writer(service, new.target, timeout_seconds=5).write(1)
    old.container.unpause()
    for thread in threads:
        thread.join(60)


def test_a_hung_primary_is_left_in_time(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """Its standby's receiver is trying to connect by then, and gets no greeting."""
    old, new = pair
    driver, service = old.driver, old.service
    old.container.pause()
    new.wait(lambda s: s.link_up is False and s.position["receiver"] == "CONNECTING")
    time.sleep(1)
    began = time.monotonic()
    driver.replication.apply_received(service, new.target)
    driver.replication.promote(service, new.target, [], 0)
    assert time.monotonic() - began < 3
    with pytest.raises(SilentError):
        driver.probe(service, old.target)
    old.container.unpause()


def test_what_a_promotion_leaves_is_cleared_away_on_a_primary_only(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """On a standby it would throw away what was acknowledged and not applied yet."""
    old, new = pair
    driver, service = old.driver, old.service
    driver.settling.settle(service, new.target)
    assert new.wait(lambda s: s.synchronized).source == old.target.replication_address
    driver.replication.apply_received(service, new.target)
    driver.replication.promote(service, new.target, [], 0)
    driver.settling.settle(service, new.target)
    with manager(new) as session:
        assert not session.rows("SHOW REPLICA STATUS")


TOO_MANY_CONNECTIONS = 1040


def test_clients_that_hold_every_connection_keep_neither_manager_nor_standby_out() -> None:
    with servers(MySQLDriver(), 1) as [server]:
        make_primary(server)
        with manager(server) as session:
            limit_connections(session, 200)
        server.driver.forget(server.target)
        with contextlib.ExitStack() as clients:
            turned_away = False
            try:
                for _ in range(300):
                    clients.enter_context(application(server))
            except pymysql.MySQLError as error:
                turned_away = error.args[0] == TOO_MANY_CONNECTIONS
            assert turned_away
            driver, service, target = server.driver, server.service, server.target
            assert driver.probe(service, target).role is Role.PRIMARY
            driver.open_tripwire(service, target).close()
            password = service.secrets["replication_password"]
            connect(target, REPLICATOR, password, 5).close()
            driver.replication.demote(service, target)


def test_a_standby_whose_relay_log_is_behind_follows_another_primary_without_loss() -> None:
    """Received and not applied when its primary died: applied before it is told to follow."""
    with servers(MySQLDriver(), 3) as [first, second, third]:
        members = [first, second, third]
        make_primary(first)
        make_full_standby(second, first, members)
        make_full_standby(third, first, members)
        driver, service = first.driver, first.service
        with manager(third) as session:
            session.run("STOP REPLICA SQL_THREAD")
        writer = driver.workload.open_writer(service, first.target)
        for number in range(20):
            writer.write(number)
        wait_for(lambda: driver.probe(service, third.target).facts["to apply"] == "20")
        wait_for(lambda: driver.probe(service, second.target).facts["to apply"] == "0")
        first.kill()
        with pytest.raises(RefusedError):
            driver.probe(service, first.target)
        standbys = {s.target.name: driver.probe(service, s.target) for s in (second, third)}
        assert driver.replication.rank(standbys) == ("t.1", "t.2")
        driver.replication.apply_received(service, second.target)
        driver.replication.promote(service, second.target, [third.target], 0)
        make_full_standby(third, second, members)
        assert driver.workload.open_writer(service, third.target).numbers() == set(range(20))
