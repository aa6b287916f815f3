"""The second address: standbys close enough behind, never a writable server while there is one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pymysql
import pytest
import redis

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.clients import FAILURES, PLAIN

MAX_LAG_SECONDS = 2
NOTICED_SECONDS = 15
ANSWER_SECONDS = 5


@pytest.fixture(scope="module", params=["mysql", "redis"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(engine: str) -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.command("create", "db", "--engine", engine, "--instances", "2")
        made.wait_for_state("db", "running", 60, 2)
        lag = str(MAX_LAG_SECONDS)
        made.command("set", "db", "--reads", "--reads-max-lag", lag)
        wait_for("the second address", 10, lambda: made.run("url", "db", "--reads").stdout != "")
        yield made


@pytest.fixture
def reads(sandbox: Sandbox) -> str:
    sandbox.wait_for_state("db", "running", 60, 2)
    return sandbox.command("url", "db", "--reads").strip()


def role(engine: str, url: str) -> str:
    """What the server that answers there takes itself for; '' when none answers."""
    parts = urlsplit(url)
    try:
        if engine == "redis":
            client = redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS, protocol=2)
            with client:
                return {"master": "primary", "slave": "standby"}[client.info("replication")["role"]]
        connection = pymysql.connect(
            host=parts.hostname or "",
            port=parts.port or 0,
            user=parts.username,
            password=parts.password or "",
            connect_timeout=ANSWER_SECONDS,
            read_timeout=ANSWER_SECONDS,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.read_only")
            [[read_only]] = cursor.fetchall()
            return "standby" if read_only else "primary"
    except FAILURES:
        return ""


def standby(sandbox: Sandbox) -> str:
    return next(t.name for t in sandbox.members("db") if t != sandbox.primary("db"))


def test_address_for_reads_leads_to_a_standby_that_refuses_writes(
    sandbox: Sandbox, engine: str, reads: str
) -> None:
    writer = PLAIN[engine](sandbox.command("url", "db").strip())
    writer.prepare()
    writer.write(1)
    writer.close()
    wait_for("the standby to answer", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")
    reader = PLAIN[engine](reads)
    wait_for("the write to arrive", 5, lambda: reader.numbers() == {1})
    with pytest.raises(FAILURES):
        reader.write(2)
    reader.close()


def test_a_standby_that_lags_is_left_out_of_the_address_for_reads(
    sandbox: Sandbox, engine: str, reads: str
) -> None:
    if engine != "mysql":
        pytest.skip("this engine applies as it receives: see the frozen standby")
    from hamanager_drivers.mysql.connections import Connections

    target = next(t for t in sandbox.members("db") if t.name == standby(sandbox))
    wait_for("the standby to answer", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")
    writer = sandbox.start_writer("db", pause_seconds=0.01)
    try:
        with Connections().session(sandbox.context("db"), target) as session:
            session.run("FLUSH TABLES WITH READ LOCK")
            wait_for("it to be left out", NOTICED_SECONDS, lambda: role(engine, reads) == "primary")
            session.run("UNLOCK TABLES")
        wait_for("it to be back", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")
    finally:
        writer.stop()


def test_a_frozen_standby_is_left_out_of_the_address_for_reads(
    sandbox: Sandbox, engine: str, reads: str
) -> None:
    wait_for("the standby to answer", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")
    container = sandbox.container(standby(sandbox))
    container.pause()
    try:
        wait_for("the primary instead", NOTICED_SECONDS, lambda: role(engine, reads) == "primary")
    finally:
        container.unpause()
    wait_for("the standby again", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")


def test_after_a_failover_the_address_for_reads_leads_to_the_new_standby(
    sandbox: Sandbox, engine: str, reads: str
) -> None:
    promoted = standby(sandbox)
    sandbox.container(sandbox.primary("db").name).kill()
    wait_for("the failover", 20, lambda: sandbox.primary("db").name == promoted)
    sandbox.wait_for_state("db", "running", 60, 2)
    wait_for("the new standby", NOTICED_SECONDS, lambda: role(engine, reads) == "standby")
    assert sandbox.command("url", "db", "--reads").strip() == reads
