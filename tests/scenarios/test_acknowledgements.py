"""Nobody is told that a write succeeded which the next primary may lack (MySQL)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pymysql
import pytest

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.model.service import Target
from hamanager.stores.repository import load_record, save_record
from hamanager_drivers.mysql.config import database
from hamanager_drivers.mysql.connections import Connections, Row, connect
from hamanager_drivers.naming import APPLICATION
from tests.support.altered import altered

STRICT = ("--durability", "strict")
WAITING = "SELECT COUNT(*) AS n FROM performance_schema.processlist WHERE STATE LIKE %s"
SEMI_SYNC = "Waiting for semi-sync%"
FEW_CONNECTIONS = "SET GLOBAL max_connections = 200"
CLIENTS = 210
"""More than a server has connections for them then."""


class Service:
    """A MySQL service, its faults, and clients with the application's account."""

    def __init__(self, sandbox: Sandbox, faults: Faults) -> None:
        self.sandbox, self.faults = sandbox, faults
        self._context = sandbox.context("db")

    @property
    def primary(self) -> str:
        return self.sandbox.primary("db").name

    @property
    def members(self) -> tuple[str, ...]:
        """Of the sync set."""
        return self.sandbox.record("db").sync_set

    def target(self, instance: str) -> Target:
        return next(t for t in self.sandbox.members("db") if t.name == instance)

    def ports(self, instance: str) -> set[int]:
        return {self.target(instance).port, self.target(instance).replication_port}

    def ask(self, instance: str, statement: str, *arguments: object) -> list[Row]:
        """With the manager's rights."""
        connections, target = Connections(), self.target(instance)
        with connections.session(self._context, target) as session:
            rows = session.rows(statement, *arguments)
        connections.forget(target)
        return rows

    def client(self, instance: str, seconds: float) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A connection of the application's that gives up after that time."""
        password = self._context.secrets["password"]
        connection = connect(self.target(instance), APPLICATION, password, seconds)
        connection.select_db(database(self._context))
        return connection

    def run(self, instance: str, statement: str, seconds: float = 10) -> list[tuple[object, ...]]:
        with (
            contextlib.closing(self.client(instance, seconds)) as client,
            client.cursor() as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall())

    def wait_whole(self, instances: int, seconds: float = 120) -> None:
        self.sandbox.wait_for_state("db", "running", seconds, instances)
        wait_for("the sync set", 30, lambda: len(self.members) == instances - 1)


@contextlib.contextmanager
def service(sandbox: Sandbox, instances: int, *options: str) -> Iterator[Service]:
    sandbox.command("create", "db", "--engine", "mysql", "--instances", str(instances), *options)
    with Faults(sandbox.docker, sandbox.manager_id) as faults:
        made = Service(sandbox, faults)
        made.wait_whole(instances, 180)
        made.run(made.primary, "CREATE TABLE told (n INT PRIMARY KEY)")
        yield made


class Waiting:
    """A client whose write waits."""

    def __init__(self, of: Service, number: int) -> None:
        self._of, self._number, self._on = of, number, of.primary
        self.told = False
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        wait_for("the write to wait", 10, lambda: self._waits() or self.told)
        assert not self.told, "it did not wait"

    def _write(self) -> None:
        with contextlib.suppress(pymysql.MySQLError):
            self._of.run(self._on, f"INSERT INTO told VALUES ({self._number})", 60)
            self.told = True

    def _waits(self) -> bool:
        return bool(self._of.ask(self._on, WAITING, SEMI_SYNC)[0]["n"])

    def assert_not_lost(self) -> None:
        """Either the client was not told, or the primary has it."""
        self._thread.join(90)
        assert not self._thread.is_alive()
        held = self._of.run(self._of.primary, f"SELECT n FROM told WHERE n = {self._number}")
        assert held or not self.told, "the client was told that its write succeeded, and it is gone"


def test_what_a_departed_standby_had_acknowledged_counts_for_nobody(sandbox: Sandbox) -> None:
    """Of two members one hears nothing and the other acknowledges and dies. When the primary is
    told to wait for one less it counts the dead one's stored acknowledgement."""
    with service(sandbox, 3, *STRICT) as db:
        old, (deaf, dies) = db.primary, db.members
        db.faults.deafen(deaf, *db.ports(old))
        write = Waiting(db, 1)
        wait_for(f"{dies} to have it", 10, lambda: received(db, dies))
        db.faults.kill(dies)
        wait_for(f"{dies} to leave the sync set", 20, lambda: dies not in db.members)
        time.sleep(2)  # for whatever the manager might do about it
        db.faults.kill(old)
        wait_for("a failover", 30, lambda: db.primary != old)
        db.faults.heal()
        db.wait_whole(3)
        write.assert_not_lost()


def received(db: Service, instance: str) -> bool:
    """Whether it has received all that the primary has in its log."""
    [log] = db.ask(db.primary, "SHOW BINARY LOG STATUS")
    [link] = db.ask(instance, "SHOW REPLICA STATUS")
    there = (link["Source_Log_File"], link["Read_Source_Log_Pos"])
    return bool(there >= (log["File"], log["Position"]))


def test_a_log_that_is_being_changed_while_a_write_waits_stops_nobody(sandbox: Sandbox) -> None:
    """A new binary log begins when none of the old one's writes waits, and until then nobody is
    told where the log ends, and no other write goes on. One does wait, for a member that died."""
    with service(sandbox, 3) as db:
        primary, (dies, lives) = db.primary, db.members
        write = write_with_rotating_log(db, dies)
        wait_for(f"{dies} to leave the sync set", 20, lambda: db.members == (lives,))
        wait_for("a write", 20, lambda: writes(db, primary))
        assert db.primary == primary
        db.wait_whole(3)
        write.assert_not_lost()


@pytest.mark.long
def test_a_log_that_is_being_changed_keeps_no_standby_out(sandbox: Sandbox) -> None:
    """As above; nobody else could acknowledge the write than the one that comes back. Perhaps it
    is ended, but no later one waits."""
    with service(sandbox, 2, *STRICT) as db:
        [dies] = db.members
        write = write_with_rotating_log(db, dies)
        db.wait_whole(2)
        wait_for("a write", 20, lambda: writes(db, db.primary))
        write.assert_not_lost()


def test_a_write_whose_acknowledgement_was_lost_is_told_all_the_same(sandbox: Sandbox) -> None:
    """Its standby received it unasked, and acknowledges since it connected anew: the primary does
    not ask it about what it has. Nobody else writes."""
    with service(sandbox, 2) as db:
        [standby] = db.members
        sandbox.suspend_daemon()
        try:
            acknowledge(db, standby, wanted=False)
            write = Waiting(db, 1)
            wait_for("the standby to have it", 10, lambda: received(db, standby))
            acknowledge(db, standby, wanted=True)
        finally:
            sandbox.continue_daemon()
        wait_for("the client to be told", 10, lambda: write.told)
        assert "prompt acknowledgements" in str(sandbox.ask("history", "db"))
        write.assert_not_lost()


@pytest.mark.long
def test_a_write_that_waits_for_a_standby_is_told_when_that_is_back(sandbox: Sandbox) -> None:
    """The only one of the only client: the standby receives it before it is to acknowledge."""
    with service(sandbox, 2, *STRICT) as db:
        [dies] = db.members
        sandbox.suspend_daemon()
        try:
            db.faults.kill(dies)
            write = Waiting(db, 1)
        finally:
            sandbox.continue_daemon()
        wait_for("the client to be told", 30, lambda: write.told)
        db.wait_whole(2)
        write.assert_not_lost()


def acknowledge(db: Service, instance: str, *, wanted: bool) -> None:
    db.ask(instance, f"SET GLOBAL rpl_semi_sync_replica_enabled = {'ON' if wanted else 'OFF'}")
    for statement in ("STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD"):
        db.ask(instance, statement)


def write_with_rotating_log(db: Service, dies: str) -> Waiting:
    """A write that waits for a member that died, and a log that waits for the write; the manager
    sees it afterwards."""
    primary = db.primary
    db.sandbox.suspend_daemon()
    try:
        db.faults.kill(dies)
        write = Waiting(db, 1)
        threading.Thread(target=rotate, args=(db, primary), daemon=True).start()
        wait_for("the log to wait", 10, lambda: rotates(db, primary))
    finally:
        db.sandbox.continue_daemon()
    return write


def rotate(db: Service, instance: str) -> None:
    with contextlib.suppress(Exception):
        db.ask(instance, "FLUSH BINARY LOGS")


def rotates(db: Service, instance: str) -> bool:
    asked = "SELECT COUNT(*) AS n FROM performance_schema.processlist WHERE INFO LIKE 'FLUSH B%'"
    return bool(db.ask(instance, asked)[0]["n"])


def writes(db: Service, instance: str) -> bool:
    try:
        db.run(instance, "REPLACE INTO told VALUES (2)", 3)
    except pymysql.MySQLError:
        return False
    return True


@pytest.mark.parametrize("how", [pytest.param("docker stop", marks=pytest.mark.long), "SIGTERM"])
def test_a_clean_shutdown_by_somebody_else_tells_waiting_clients_nothing(
    sandbox: Sandbox, how: str
) -> None:
    """The standby is away, a write waits, and the primary is asked to end."""
    with service(sandbox, 2, *STRICT) as db:
        old, [standby] = db.primary, db.members
        sandbox.command("pause", "db")
        db.faults.kill(standby)
        write = Waiting(db, 1)
        if how == "docker stop":
            db.faults.stop(old)
        else:
            db.faults.terminate(old)
            wait_for("its end", 60, lambda: sandbox.container(old).status == "exited")
        sandbox.container(standby).start()
        sandbox.command("resume", "db")
        db.wait_whole(2)
        write.assert_not_lost()


@pytest.mark.parametrize(
    "durability", ["strict", pytest.param("availability", marks=pytest.mark.long)]
)
def test_clients_cannot_keep_a_standby_out(sandbox: Sandbox, durability: str) -> None:
    """They hold every connection that there is, waiting or idle, and go on trying."""
    with service(sandbox, 2, "--durability", durability) as db:
        db.ask(db.primary, FEW_CONNECTIONS)
        ending = threading.Event()
        crowd = write_again_and_again if durability == "strict" else hold_connections
        [standby] = db.members
        clients = [
            threading.Thread(target=crowd, args=(db, number, ending), daemon=True)
            for number in range(CLIENTS)
        ]
        sandbox.command("pause", "db")
        db.faults.kill(standby)
        for client in clients:
            client.start()
        wait_for("the clients to take every connection", 60, lambda: turned_away(db))
        sandbox.command("resume", "db")
        try:
            wait_for("the standby to be back", 60, lambda: back(db, standby))
        finally:
            ending.set()
            for client in clients:
                client.join(30)
        db.wait_whole(2)


def back(db: Service, standby: str) -> bool:
    seen = db.sandbox.ask("info", "db")
    return bool(seen["state"] == "running" and standby in db.members)


def turned_away(db: Service) -> bool:
    try:
        db.client(db.primary, 5).close()
    except pymysql.MySQLError as error:
        return error.args[0] in (1040, 1203, 1226)
    return False


def write_again_and_again(db: Service, number: int, ending: threading.Event) -> None:
    primary = db.primary
    while not ending.is_set():
        with contextlib.suppress(pymysql.MySQLError):
            db.run(primary, f"REPLACE INTO told VALUES ({1000 + number})", 2)
        ending.wait(0.1)


def hold_connections(db: Service, number: int, ending: threading.Event) -> None:
    primary = db.primary
    while not ending.is_set():
        with (
            contextlib.suppress(pymysql.MySQLError),
            contextlib.closing(db.client(primary, 5)),
        ):
            ending.wait()
        ending.wait(0.1)


def test_standby_half_silenced_by_a_dead_manager_is_silenced_by_the_next_one(
    sandbox: Sandbox,
) -> None:
    """A manager died between telling a standby to acknowledge nothing and its receiver's restart:
    it goes on acknowledging. And the other way round: a member whose relay log is not synced."""
    with service(sandbox, 3) as db:
        first, second = db.members
        sandbox.kill_daemon()
        db.ask(second, "SET GLOBAL rpl_semi_sync_replica_enabled = OFF")
        db.ask(first, "SET GLOBAL sync_relay_log = 10000")
        record, version = load_record(sandbox.store, "db")
        without = altered(record, sync_set=(first,))
        save_record(sandbox.store, "db", without, version)
        sandbox.start_daemon()
        wait_for("both to be members", 30, lambda: len(db.members) == 2)
        wait_for("writes to wait for both", 30, lambda: complete(db))
        sandbox.command("restart", second)
        db.wait_whole(3)


def complete(db: Service) -> bool:
    settings = "SELECT @@GLOBAL.sync_relay_log = 1 AND @@GLOBAL.rpl_semi_sync_replica_enabled AS s"
    count = "SELECT @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count AS n"
    return bool(
        all(db.ask(name, settings)[0]["s"] for name in db.members)
        and db.ask(db.primary, count)[0]["n"] == 2
    )


@pytest.mark.long
def test_clients_that_wait_or_are_gone_do_not_keep_readers_out(sandbox: Sandbox) -> None:
    """No standby acknowledges for long: a server does not notice that a waiting client is gone."""
    with service(sandbox, 2, *STRICT) as db:
        db.ask(db.primary, FEW_CONNECTIONS)
        [standby] = db.members
        ending = threading.Event()
        clients = [
            threading.Thread(target=write_again_and_again, args=(db, n, ending), daemon=True)
            for n in range(CLIENTS)
        ]
        db.faults.hang(standby)
        for client in clients:
            client.start()
        wait_for("the clients to take every connection", 60, lambda: turned_away(db))
        ending.set()
        for client in clients:
            client.join(30)
        wait_for("others to be let in", 30, lambda: not turned_away(db))
        db.faults.wake(standby)
        db.wait_whole(2)
        assert "acknowledging none" in str(sandbox.ask("history", "db"))
