"""What a MySQL server's answers mean: relations, lag, progress, errors, files."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from hamanager.contracts.driver import LaunchSpec
from hamanager.errors import BusyError, RefusedError, ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, Role
from hamanager_drivers.mysql import config
from hamanager_drivers.mysql.connections import in_words
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.mysql.status import relate, server_status

A = "aaaaaaaa-71ca-11e1-9e33-c80aa9429562"
B = "bbbbbbbb-71ca-11e1-9e33-c80aa9429562"
PRIMARY = Target("db.0", "10.0.0.1", 3306, 0)
STANDBY = Target("db.1", "10.0.0.1", 3307, 1)
SERVICE = ServiceContext("db", "mysql", None, MySQLDriver().new_secrets())

LED: dict[str, Any] = {
    "read_only": 0,
    "super_read_only": 0,
    "executed": f"{A}:1-10",
    "purged": "",
    "uuid": A,
    "version": "9.7.4",
    "source_host": None,
    "source_port": None,
    "receiver": None,
    "received": None,
    "receiver_error": None,
    "queueing": None,
    "link_age_us": None,
    "receive_delay_us": None,
    "newest_us": None,
    "applier": None,
    "applying_us": None,
    "worker_error": None,
    "coordinator_error": None,
    "required_acks": 0,
    "acknowledges": None,
    "from_disk": 0,
    "offline": 0,
    "crowded": 0,
}
FOLLOWING: dict[str, Any] = {
    **LED,
    "read_only": 1,
    "super_read_only": 1,
    "uuid": B,
    "source_host": PRIMARY.host,
    "source_port": PRIMARY.port,
    "receiver": "ON",
    "received": f"{A}:5-10",
    "receiver_error": 0,
    "queueing": 0,
    "link_age_us": 200_000,
    "receive_delay_us": 900,
    "newest_us": 5_000_000,
    "applier": "ON",
    "worker_error": 0,
    "coordinator_error": 0,
    "required_acks": 0,
    "acknowledges": 0,
}
ALONE: dict[str, Any] = {**LED, "read_only": 1, "super_read_only": 1, "uuid": B}
COPYING = [
    {"running": 1, "error": 0, "message": "", "stage": stage, "state": state,
     "estimate": estimate, "data": data, "speed": speed}
    for stage, state, estimate, data, speed in (
        ("DROP DATA", "Completed", 0, 0, 0),
        ("FILE COPY", "In Progress", 1000, 250, 50),
        ("PAGE COPY", "Not Started", 0, 0, 0),
    )
]  # fmt: skip


def related(standby: dict[str, Any], primary: dict[str, Any], copy: Any = ()) -> Relation:
    return relate(server_status(standby, copy), PRIMARY, server_status(primary, []))


@pytest.mark.parametrize(
    ("standby", "primary", "expected"),
    [
        (FOLLOWING, LED, Relation.ATTACHED),
        # It received what the primary wrote after the primary's own reading: no false alarm.
        ({**FOLLOWING, "executed": f"{A}:1-12"}, LED, Relation.ATTACHED),
        ({**FOLLOWING, "received": f"{A}:5-15"}, LED, Relation.ATTACHED),
        ({**FOLLOWING, "receiver": "CONNECTING"}, LED, Relation.ATTACHED),
        ({**FOLLOWING, "receiver": "OFF"}, LED, Relation.DETACHED),
        ({**FOLLOWING, "applier": "OFF"}, LED, Relation.DETACHED),
        ({**FOLLOWING, "source_port": 9999}, LED, Relation.DETACHED),
        ({**FOLLOWING, "source_port": 9999, "received": f"{A}:5-11"}, LED, Relation.DIVERGED),
        ({**FOLLOWING, "executed": f"{A}:1-10,{B}:1"}, LED, Relation.DIVERGED),
        # A hole in what the primary has written cannot come from the primary as it is now.
        ({**FOLLOWING, "executed": f"{A}:1-10"}, {**LED, "executed": f"{A}:1-8:10"},
         Relation.DIVERGED),
        # The source says that this server has more than itself.
        ({**FOLLOWING, "executed": f"{A}:1-12", "receiver": "OFF", "receiver_error": 13114}, LED,
         Relation.DIVERGED),
        ({**FOLLOWING, "applier": "OFF", "worker_error": 1062}, LED, Relation.DIVERGED),
        ({**FOLLOWING, "applier": "OFF", "worker_error": 1114}, LED, Relation.DETACHED),
        ({**FOLLOWING, "uuid": A}, LED, Relation.DIVERGED),
        ({**ALONE, "executed": ""}, LED, Relation.EMPTY),
        ({**ALONE, "executed": f"{A}:1-7"}, LED, Relation.DETACHED),
        ({**ALONE, "executed": f"{A}:1-7"}, {**LED, "purged": f"{A}:1-8"}, Relation.DIVERGED),
        ({**ALONE, "executed": f"{A}:1-8"}, {**LED, "purged": f"{A}:1-8"}, Relation.DETACHED),
        ({**ALONE, "executed": f"{A}:1-11"}, LED, Relation.DIVERGED),
    ],
)  # fmt: skip
def test_relations(standby: dict[str, Any], primary: dict[str, Any], expected: Relation) -> None:
    assert related(standby, primary) is expected


def test_a_copy_under_way() -> None:
    status = server_status({**ALONE, "executed": ""}, COPYING)
    assert related({**ALONE, "executed": ""}, LED, COPYING) is Relation.SEEDING
    assert status.sync is not None
    assert (status.sync.stage, status.sync.percent) == ("file copy", 25.0)
    assert (status.sync.bytes_done, status.sync.bytes_total) == (250, 1000)
    assert status.sync.eta_seconds == 15.0


def test_a_copy_that_was_cut_off_is_no_copy() -> None:
    cut_off = [
        {**stage, "running": 0, "error": 1317, "message": "interrupted"} for stage in COPYING
    ]
    assert related({**ALONE, "executed": ""}, LED, cut_off) is Relation.EMPTY
    facts = server_status({**ALONE, "executed": ""}, cut_off).facts
    assert facts["last copy"] == "failed: interrupted"


@pytest.mark.parametrize(
    ("changes", "link_up", "lag", "synchronized"),
    [
        ({}, True, 0.0009, True),
        ({"receive_delay_us": 0}, True, 0.0, True),
        # Received in time and not applied yet: it will be, before a promotion.
        ({"received": f"{A}:5-20", "applying_us": 4_000_000}, True, 4.0, True),
        ({"received": f"{A}:5-20"}, True, 5.0, True),
        # Still fetching what was written long ago.
        ({"receive_delay_us": 60_000_000}, True, 60.0, False),
        ({"link_age_us": 1_600_000}, False, None, False),
        ({"link_age_us": None}, False, None, False),
        ({"link_age_us": 1_900_000, "queueing": 1}, True, 0.0009, True),
        ({"receiver": "CONNECTING"}, False, None, False),
        ({"applier": "OFF"}, True, None, False),
    ],
)
def test_lag_and_link(
    changes: dict[str, Any], link_up: bool, lag: float | None, synchronized: bool
) -> None:
    status = server_status({**FOLLOWING, **changes}, [])
    assert status.role is Role.STANDBY
    assert (status.link_up, status.lag_seconds) == (link_up, lag)
    assert status.synchronized is synchronized


def test_ranking_is_by_what_reached_the_disk_and_leaves_out_what_cannot_be_compared() -> None:
    rank = MySQLDriver().replication.rank
    near = server_status({**FOLLOWING, "received": f"{A}:5-11"}, [])
    far = server_status({**FOLLOWING, "executed": f"{A}:1-4", "received": f"{A}:5-20"}, [])
    other = server_status({**ALONE, "executed": f"{A}:1-9,{B}:1"}, [])
    assert rank({"db.1": near, "db.2": far}) == ("db.2", "db.1")
    assert rank({"db.1": near, "db.2": far, "db.3": other}) == ()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pymysql.OperationalError(1040, "Too many connections"), BusyError),
        (pymysql.OperationalError(1053, "Server shutdown in progress"), BusyError),
        (pymysql.OperationalError(2013, "Lost connection"), RefusedError),
        (pymysql.InterfaceError(0, ""), RefusedError),
        (pymysql.OperationalError(1045, "Access denied"), ServerError),
        (pymysql.OperationalError(1290, "read-only"), ServerError),
        (pymysql.ProgrammingError(1064, "near 'x'"), ServerError),
    ],
)
def test_errors_in_words(error: pymysql.MySQLError, expected: type[ServerError]) -> None:
    assert type(in_words(STANDBY, SERVICE, error)) is expected


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (TimeoutError(), SilentError),
        (OSError(113, "No route to host"), SilentError),
        (ConnectionRefusedError(111, "refused"), RefusedError),
        (ConnectionResetError(104, "reset"), RefusedError),
    ],
)
def test_a_lost_connection_is_told_apart_by_its_cause(
    cause: OSError, expected: type[ServerError]
) -> None:
    error = pymysql.OperationalError(2013, "Lost connection")
    error.__context__ = cause
    assert type(in_words(STANDBY, SERVICE, error)) is expected


def test_no_secret_gets_into_an_error() -> None:
    secret = SERVICE.secrets["replication_password"]
    error = pymysql.ProgrammingError(1064, f"near 'IDENTIFIED BY '{secret}'")
    assert secret not in str(in_words(STANDBY, SERVICE, error))


def spec_of(memory_bytes: int | None) -> LaunchSpec:
    service = ServiceContext("db", "mysql", memory_bytes, SERVICE.secrets)
    return MySQLDriver().launch_spec(service, STANDBY)


def test_secrets_are_in_one_file_only() -> None:
    launch = spec_of(None)
    for secret in SERVICE.secrets.values():
        assert len(secret) <= 32, "a source's password has at most 32 characters"
        assert secret not in launch.script
        assert secret not in launch.files["my.cnf"].text
        assert secret in launch.files["accounts.sql"].text
    assert launch.files["accounts.sql"].mode == 0o400


@pytest.mark.parametrize(
    ("memory_mib", "pool_mib"),
    [(None, 128), (64, 32), (384, 64), (512, 128), (1024, 384), (4096, 1920)],
)
def test_the_buffer_pool_follows_the_memory_limit(memory_mib: int | None, pool_mib: int) -> None:
    text = spec_of(memory_mib * config.MIB if memory_mib else None).files["my.cnf"].text
    assert f"innodb-buffer-pool-size = {pool_mib * config.MIB}\n" in text


@pytest.mark.parametrize(
    ("memory_mib", "clients"),
    [(None, 2000), (384, 200), (512, 256), (1024, 768), (2048, 1792), (65536, 10_000)],
)
def test_a_thousand_clients_may_connect_where_memory_allows(
    memory_mib: int | None, clients: int
) -> None:
    text = spec_of(memory_mib * config.MIB if memory_mib else None).files["my.cnf"].text
    assert f"max-connections = {clients}\n" in text
    assert "back-log = 4096\n" in text


def test_every_server_starts_harmless_and_has_a_number_of_its_own() -> None:
    text = spec_of(None).files["my.cnf"].text
    for line in ("super-read-only = ON", "loose-skip-replica-start = ON", "gtid-mode = ON",
                 "server-id = 2", "report-host = 10.0.0.1", "report-port = 3307"):  # fmt: skip
        assert f"{line}\n" in text
