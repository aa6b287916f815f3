"""sysbench's OLTP read-write load on the one address of a MySQL service: `make sysbench`.

The primary is killed in the middle. sysbench goes on by itself: a connection that ends is opened
anew, and the transaction that was in flight is begun again. Afterwards the tables are checked, and
compared between primary and standby. Without `--quick` the proxy's cost is measured as well: the
same load on the address and on the primary itself, as a ratio.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.model.service import Target
from hamanager.runtimes.docker import names
from hamanager_drivers.mysql.connections import Session, connect
from hamanager_drivers.naming import APPLICATION
from hamanager_testing.servers import free_port

TABLES, ROWS, THREADS = 4, 10_000, 8
SCRIPT = Path(__file__).with_name("reconnecting.lua")
BEGUN_AGAIN = "1205,1213,3100"
"""A lock was waited for too long, a deadlock, rolled back by the server's own doing."""
SETTLED_SECONDS = 90.0
TURNS, TURN_SECONDS = 4, 10


@dataclass(frozen=True)
class Load:
    """What sysbench told of a run."""

    transactions: int
    transactions_per_second: float
    p95_ms: float
    reconnects: int
    connect_attempts: int
    per_second: tuple[float, ...]
    """Transactions in each second."""


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--quick", action="store_true", help="without the proxy's cost")
    chosen = parser.parse_args()
    with Sandbox() as sandbox:
        sandbox.command("create", "db", "--engine", "mysql", "--instances", "2", "--memory", "1G")
        prepare(sandbox)
        if not chosen.quick:
            _print_ratio(sandbox)
        load = run_with_a_kill(sandbox, chosen.seconds)
        print(
            f"{chosen.seconds} s with a kill in the middle: {load.transactions} transactions,"
            f" {load.transactions_per_second:.0f}/s, p95 {load.p95_ms:.1f} ms,"
            f" {load.reconnects} reconnects in {load.connect_attempts} attempts,"
            f" {sum(rate == 0 for rate in load.per_second)} seconds without any"
        )
        compare(sandbox)
        print("tables checked, and equal on primary and standby")
    return 0


def run_with_a_kill(sandbox: Sandbox, seconds: int) -> Load:
    """The load on the address, and `docker kill` of the primary half-way."""
    host, port = _address(sandbox)
    process = subprocess.Popen(
        _command(sandbox, host, port, seconds, "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(seconds / 2)
    sandbox.container(sandbox.primary("db").name).kill()
    printed, _ = process.communicate(timeout=seconds + 60)
    assert process.returncode == 0, f"sysbench ended with {process.returncode}: {printed[-2000:]}"
    sandbox.wait_for_state("db", "running", SETTLED_SECONDS, instances=2)
    return _load(printed)


def prepare(sandbox: Sandbox) -> None:
    """Make its tables, through the address."""
    host, port = _address(sandbox)
    done = subprocess.run(
        _command(sandbox, host, port, 0, "prepare"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def compare(sandbox: Sandbox) -> None:
    """Every table whole, with all of its rows, and the same on all instances."""
    primary, *standbys = sorted(sandbox.members("db"), key=lambda t: t != sandbox.primary("db"))
    tables = [f"sbtest{number}" for number in range(1, TABLES + 1)]
    expected = _sums(sandbox, primary, tables)
    for table in tables:
        assert expected[table][0] == ROWS, f"{table} has {expected[table][0]} rows, not {ROWS}"
    for standby in standbys:
        wait_for(
            f"{standby.name} to be the same",
            20,
            lambda standby=standby: _sums(sandbox, standby, tables) == expected,  # type: ignore[misc]
        )


def _sums(sandbox: Sandbox, target: Target, tables: list[str]) -> dict[str, tuple[int, int]]:
    """Rows and checksum of each table, which is checked as well."""
    connection = connect(target, APPLICATION, sandbox.context("db").secrets["password"], 60)
    try:
        connection.select_db("db")
        session = Session(connection)
        found = {}
        for table in tables:
            checked = session.rows(f"CHECK TABLE {table}")
            assert checked[-1]["Msg_text"] == "OK", checked
            rows = session.row(f"SELECT COUNT(*) AS n FROM {table}")
            checksum = session.row(f"CHECKSUM TABLE {table}")
            found[table] = (int(rows["n"]), int(checksum["Checksum"]))
        return found
    finally:
        connection.close()


def _print_ratio(sandbox: Sandbox) -> None:
    """In turns, as a server's speed changes with what is in its cache and what it has to flush; and
    beside a HAProxy of a few lines, which is what any proxy costs on this machine."""
    primary = sandbox.primary("db")
    loads: dict[str, list[Load]] = {}
    with _bare_proxy(sandbox, primary) as bare:
        ways = {
            "directly": (primary.host, primary.port),
            "through the address": _address(sandbox),
            "through a bare HAProxy": bare,
        }
        for turn in range(TURNS):
            for name in sorted(ways, reverse=turn % 2 == 1):
                command = _command(sandbox, *ways[name], TURN_SECONDS, "run")
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                loads.setdefault(name, []).append(_load(done.stdout))
    direct = loads["directly"]
    for name, of in loads.items():
        rates = [load.transactions_per_second for load in of]
        latency = median(load.p95_ms for load in of)
        throughput = median(rates) / median(load.transactions_per_second for load in direct)
        print(
            f"{name}: {', '.join(f'{rate:.0f}' for rate in rates)} transactions/s,"
            f" p95 {latency:.1f} ms: {throughput:.2f} of the direct throughput,"
            f" {latency / median(load.p95_ms for load in direct):.2f} of the p95 latency"
        )


@contextmanager
def _bare_proxy(sandbox: Sandbox, primary: Target) -> Iterator[tuple[str, int]]:
    """Made from the same image, and without anything that the product's configuration adds."""
    host, port = primary.host, free_port(primary.host)
    [own] = sandbox.docker.containers.list(
        filters={"name": f"{sandbox.manager_id}.haproxy", "status": "running"}
    )
    configuration = f"""\
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bare
    bind {host}:{port}
    server primary {primary.host}:{primary.port}
"""
    script = f"cat > /tmp/bare.cfg <<'END'\n{configuration}END\nexec haproxy -f /tmp/bare.cfg"
    proxy = sandbox.docker.containers.run(
        own.attrs["Image"],
        ["sh", "-c", script],
        network_mode="host",
        detach=True,
        labels={names.MANAGER: sandbox.manager_id},
    )
    try:
        wait_for("the bare HAProxy", 10, lambda: _listens(host, port))
        yield host, port
    finally:
        proxy.remove(force=True)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def _address(sandbox: Sandbox) -> tuple[str, int]:
    parts = urlsplit(sandbox.command("url", "db").strip())
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _command(sandbox: Sandbox, host: str, port: int, seconds: int, what: str) -> list[str]:
    secret = sandbox.home / "sysbench.conf"  # process lists show what is on the command line
    secret.touch(mode=0o600)
    secret.write_text(f"mysql-password={sandbox.context('db').secrets['password']}\n")
    return [
        "sysbench",
        str(SCRIPT),
        f"--config-file={secret}",
        "--db-driver=mysql",
        f"--mysql-host={host}",
        f"--mysql-port={port}",
        f"--mysql-user={APPLICATION}",
        "--mysql-db=db",
        f"--mysql-ignore-errors={BEGUN_AGAIN}",
        f"--tables={TABLES}",
        f"--table-size={ROWS}",
        f"--threads={THREADS}",
        f"--time={seconds}",
        "--report-interval=1",
        what,
    ]


def _load(printed: str) -> Load:
    def number(pattern: str) -> float:
        match = re.search(pattern, printed)
        assert match is not None, f"sysbench told no {pattern}: {printed[-1000:]}"
        return float(match[1])

    return Load(
        transactions=int(number(r"transactions:\s+(\d+)")),
        transactions_per_second=number(r"transactions:\s+\d+\s+\(([\d.]+) per sec"),
        p95_ms=number(r"95th percentile:\s+([\d.]+)"),
        reconnects=len(re.findall("opened a new connection", printed)),
        connect_attempts=sum(int(n) for n in re.findall(r"attempt (\d+)", printed)),
        per_second=tuple(float(rate) for rate in re.findall(r"tps: ([\d.]+)", printed)),
    )


if __name__ == "__main__":
    raise SystemExit(main())
