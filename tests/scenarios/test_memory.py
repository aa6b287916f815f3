"""Memory limits that change under load, without a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hamanager.act.context import needed
from hamanager.chaos.sandbox import Sandbox
from hamanager.model.service import Target
from hamanager_drivers.mysql.config import connections
from tests.scenarios.conftest import SIZES

MB = 1024**2
BEGIN = {"mysql": "512M", "redis": "128M", "mongodb": "512M"}
LARGER = {"mysql": "1G", "redis": "256M", "mongodb": "1G"}
TOO_SMALL = {"mysql": "352M", "redis": "32M", "mongodb": "416M"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("mysql", marks=pytest.mark.long),
        "redis",
        pytest.param("mongodb", marks=pytest.mark.long),
    ],
)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(engine: str) -> Iterator[Sandbox]:
    with Sandbox() as made:
        words = ["--instances", str(SIZES[engine]), "--memory", BEGIN[engine]]
        made.command("create", "db", "--engine", engine, *words)
        yield made


def processes(sandbox: Sandbox) -> dict[str, tuple[int, str]]:
    """Per instance its process and since when it runs."""
    found = {}
    for member in sandbox.members("db"):
        container = sandbox.container(member.name)
        state = container.attrs["State"]
        found[member.name] = (state["Pid"], state["StartedAt"])
    return found


def own_limit(sandbox: Sandbox, member: Target) -> int:
    """What the engine itself says."""
    driver = sandbox.driver("db")
    service = sandbox.context("db")
    if driver.engine == "redis":
        from hamanager_drivers.redis.config import MANAGER
        from hamanager_drivers.redis.connections import connect

        client = connect(service, member, MANAGER, service.secrets["manager_password"], 2)
        return int(str(client.config_get("maxmemory")["maxmemory"]))
    if driver.engine == "mysql":
        from hamanager_drivers.mysql.connections import Connections

        with Connections().session(service, member) as session:
            row = session.row("SELECT @@GLOBAL.innodb_buffer_pool_size AS size")
            return int(row["size"])
    from hamanager_drivers.mongodb.connections import Connections as MongoConnections

    answer = MongoConnections().command(service, member, {"serverStatus": 1})
    return int(answer["wiredTiger"]["cache"]["maximum bytes configured"])


def clients_limit(sandbox: Sandbox, member: Target) -> int:
    """How many MySQL's clients may be connected."""
    from hamanager_drivers.mysql.connections import Connections

    with Connections().session(sandbox.context("db"), member) as session:
        return int(session.row("SELECT @@GLOBAL.max_connections AS clients")["clients"])


def test_memory_grown_and_shrunk_under_load_without_a_restart(
    sandbox: Sandbox, engine: str
) -> None:
    sandbox.fill("db", 40 * MB)
    driver = sandbox.driver("db")
    writer = sandbox.start_writer("db")
    try:
        before = processes(sandbox)
        for size in (LARGER[engine], BEGIN[engine]):
            sandbox.command("scale", f"db:memory={size}", "--timeout", "120")
            view = sandbox.ask("info", "db")
            wanted = view["desired"]["memory_bytes"]
            limit = needed(driver.cache).cache_limit_bytes(wanted)
            for member in sandbox.members("db"):
                assert own_limit(sandbox, member) == limit
                if engine == "mysql":
                    assert clients_limit(sandbox, member) == connections(wanted)
                host = sandbox.container(member.name).attrs["HostConfig"]
                assert host["Memory"] == wanted
            for instance in view["instances"]:
                memory = instance["memory"]
                assert memory["reserved_bytes"] == wanted
                assert 0 < memory["cache_bytes"] <= memory["used_bytes"] < wanted
        assert processes(sandbox) == before, "nothing was restarted"
    finally:
        writer.stop()
    assert sandbox.lost("db", writer) == 0
    order = [
        e["text"]
        for e in sandbox.ask("history", "db")
        if e["kind"] == "outcome" and e["playbook"] == "set memory"
    ]
    assert order[0] != "set memory db.0: done", "standbys grow first"
    assert "set memory db.0: done" in order[: len(order) // 2], "then the primary"
    assert order[len(order) // 2] == "set memory db.0: done", "which shrinks first"


def test_memory_too_small_or_too_large_is_refused(sandbox: Sandbox, engine: str) -> None:
    spec = sandbox.specs()
    small = sandbox.run("scale", f"db:memory={TOO_SMALL[engine]}")
    large = sandbox.run("scale", "db:memory=8G")
    assert small.returncode in (1, 2)
    assert large.returncode == 2
    for refusal in (small, large):
        assert refusal.stderr.count("\n") == 1
        assert "nothing was changed" in refusal.stderr
    assert "--allow-large" in large.stderr
    assert sandbox.specs() == spec


def test_info_tells_used_reserved_and_cache(sandbox: Sandbox) -> None:
    text = sandbox.command("info", "db")
    assert "cache portion:" in text
    assert "total used:" in text
