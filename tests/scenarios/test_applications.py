"""The examples in docs/applications.md, as they stand there, while the primary is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
import redis

from hamanager.chaos.sandbox import Sandbox
from tests.scenarios.conftest import SIZES
from tests.support.clients import PlainMySQL

GUIDE = Path(__file__).parents[2] / "docs" / "applications.md"
EXAMPLES = {
    (engine, language): code
    for engine, language, code in re.findall(
        r"<!-- example: (\w+) (\w+) -->\n```\w+\n(.*?)```", GUIDE.read_text(), re.DOTALL
    )
}
ORDERS, KILL_AFTER = 300, 60
JDBC = Path("/usr/share/java/mariadb-java-client.jar")

ENDINGS = {
    "python": """
for number in range(1, {orders} + 1):
    {call}(number{amount})
    print(number, flush=True)
    time.sleep(0.005)
""",
    "php": """
for ($number = 1; $number <= {orders}; $number++) {{
    {call}($number{amount});
    echo "$number\\n";
    usleep(5000);
}}
""",
    "node": """
(async () => {{
  for (let number = 1; number <= {orders}; number++) {{
    await {call}(number{amount});
    console.log(number);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }}
  process.exit(0);
}})().catch((error) => {{ console.error(error); process.exit(1); }});
""",
    "java": """
public static void main(String[] arguments) throws Exception {{
    var pool = new org.mariadb.jdbc.MariaDbPoolDataSource(
        "jdbc:mariadb://" + System.getenv("HAMANAGER_DB_MYSQL_HOST")
        + ":" + System.getenv("HAMANAGER_DB_MYSQL_PORT") + "/"
        + System.getenv("HAMANAGER_DB_MYSQL_DATABASE")
        + "?allowPublicKeyRetrieval=true&connectTimeout=12000&socketTimeout=10000"
        + "&maxPoolSize=2&user="
        + System.getenv("HAMANAGER_DB_MYSQL_LOGIN")
        + "&password=" + System.getenv("HAMANAGER_DB_MYSQL_PASSWORD"));
    for (long number = 1; number <= {orders}; number++) {{
        {call}(pool, number{amount});
        System.out.println(number);
        Thread.sleep(5);
    }}
    System.exit(0);
}}
""",
}
JAVA = """
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import javax.sql.*;

public class Orders {{
{code}
}}
"""


@pytest.fixture(
    scope="module",
    params=[
        "mysql",
        pytest.param("redis", marks=pytest.mark.long),
        pytest.param("mongodb", marks=pytest.mark.long),
    ],
)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(engine: str) -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
        yield made


@pytest.mark.parametrize(
    "language",
    ["python", *(pytest.param(name, marks=pytest.mark.long) for name in ("php", "node", "java"))],
)
def test_every_order_is_there_once(sandbox: Sandbox, engine: str, language: str) -> None:
    code = EXAMPLES.get((engine, language))
    if code is None:
        pytest.skip("the guide has no example of it")
    sandbox.wait_for_state("db", "running", 60, SIZES[engine])
    environment = settings(sandbox)
    with tempfile.TemporaryDirectory() as directory:
        command = program(language, code, Path(directory))
        if command is None:
            pytest.skip(f"{language} is not installed, or its library for {engine} is not")
        begin(engine, url(sandbox))
        before = sandbox.primary("db")
        run_through_a_kill(sandbox, command, environment)
        assert sandbox.primary("db") != before
        assert orders(engine, url(sandbox)) == (ORDERS, ORDERS)


def program(language: str, code: str, directory: Path) -> list[str] | None:
    """The example with a loop around its function; None where it cannot be run."""
    names = ("place_order", "placeOrder", "count_order", "countOrder", "count")
    call = next(name for name in names if f"{name}(" in code)
    amount = "" if call.startswith("count") else ", 1"
    ending = ENDINGS[language].format(orders=ORDERS, call=call, amount=amount)
    if language == "python":
        return [sys.executable, "-c", code + ending]
    if language == "php":
        missing = shutil.which("php") is None
        return None if missing else ["php", "-r", code + ending]
    if language == "node":
        # Libraries are found through NODE_PATH.
        library = re.search(r"require\('([^']+)'\)", code)
        assert library is not None
        probe = ["node", "-e", library[0]]
        if shutil.which("node") is None:
            return None
        probed = subprocess.run(probe, capture_output=True, check=False, timeout=30)
        return None if probed.returncode else ["node", "-e", code + ending]
    if shutil.which("java") is None or not JDBC.exists():
        return None
    source = directory / "Orders.java"
    source.write_text(JAVA.format(code=code + ending))
    return ["java", "-cp", str(JDBC), str(source)]


def run_through_a_kill(sandbox: Sandbox, command: list[str], environment: dict[str, str]) -> None:
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(90, process.kill)
        watchdog.start()
        printed = []
        try:
            for line in process.stdout:
                printed.append(line.strip())
                if printed[-1] == str(KILL_AFTER):
                    sandbox.container(sandbox.primary("db").name).kill()
            code = process.wait(10)
        finally:
            watchdog.cancel()
            process.kill()
    assert code == 0, printed[-15:]
    assert [line for line in printed if line.isdigit()] == [str(n + 1) for n in range(ORDERS)]


def settings(sandbox: Sandbox) -> dict[str, str]:
    """What `hamanager env db` tells."""
    found: dict[str, str] = json.loads(sandbox.command("env", "db", "--format", "json"))
    return found


def url(sandbox: Sandbox) -> str:
    return sandbox.command("url", "db").strip()


def begin(engine: str, address: str) -> None:
    """Empty tables; what an earlier example left is gone."""
    if engine == "mysql":
        client = PlainMySQL(address)
        for statement in (
            "DROP TABLE IF EXISTS orders, account",
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)",
            "CREATE TABLE account (balance BIGINT NOT NULL)",
            "INSERT INTO account VALUES (0)",
        ):
            client.query(statement)
        client.close()
    elif engine == "redis":
        with redis.Redis.from_url(address, protocol=2) as cache:
            cache.delete("orders", "orders:seen")
    else:
        with pymongo.MongoClient[dict[str, int]](address) as mongo:
            mongo.get_default_database().drop_collection("orders")


def orders(engine: str, address: str) -> tuple[int, int]:
    """How many orders there are, and how often one was counted."""
    if engine == "mysql":
        client = PlainMySQL(address)
        [[placed]] = client.query("SELECT COUNT(*) FROM orders")
        [[balance]] = client.query("SELECT balance FROM account")
        client.close()
        return placed, -balance
    if engine == "redis":
        with redis.Redis.from_url(address, protocol=2) as cache:
            return cache.scard("orders:seen"), int(cache.get("orders") or 0)
    with pymongo.MongoClient[dict[str, int]](address) as mongo:
        collection = mongo.get_default_database()["orders"]
        return collection.count_documents({}), len(collection.distinct("_id"))
