"""Servers made to stand where a test wants them, by what the manager's loop does, by hand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import pytest

from hamanager.contracts.driver import Driver
from hamanager.contracts.replication import Replication
from hamanager.contracts.workload import Workload, Writer
from hamanager.errors import ServerError
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_testing.servers import Server, servers


def replication_of(driver: Driver) -> Replication:
    """Skips the test of a driver that has none."""
    if driver.replication is None:
        pytest.skip(f"{driver.engine} has no replication")
    return driver.replication


def workload_of(driver: Driver) -> Workload:
    """Skips the test of a driver that has none."""
    if driver.workload is None:
        pytest.skip(f"{driver.engine} has no test workload")
    return driver.workload


@contextlib.contextmanager
def client(server: Server[Driver]) -> Iterator[Writer]:
    """A patient one."""
    workload = workload_of(server.driver)
    writer = workload.open_writer(server.service, server.target, timeout_seconds=5)
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def primary_of(driver: Driver) -> Iterator[Server[Driver]]:
    """One server that leads."""
    replication = replication_of(driver)
    with servers(driver, 1) as [server]:
        server.wait()
        replication.initialize(server.service, server.target)
        server.wait(lambda status: status.role is Role.PRIMARY)
        yield server


@contextlib.contextmanager
def whole(driver: Driver, rows: int = 50) -> Iterator[tuple[Server[Driver], list[Server[Driver]]]]:
    """A primary with rows and ballast, and as many full standbys as an election takes, or one."""
    replication = replication_of(driver)
    with servers(driver, 3 if driver.election is not None else 2) as members:
        first, *others = members
        first.wait()
        replication.initialize(first.service, first.target)
        first.wait(lambda status: status.role is Role.PRIMARY)
        with client(first) as writer:
            writer.prepare()
            writer.fill(2_000_000)
            for number in range(rows):
                writer.write(number)
        for count, server in enumerate(others, 2):
            make_full_standby(server, first, members[:count])
        wait_for_same_rows(members)
        yield first, others


def make_full_standby(
    server: Server[Driver], primary: Server[Driver], members: Sequence[Server[Driver]]
) -> ServerStatus:
    """Look, relate, do the next thing."""
    driver, service = server.driver, server.service
    replication = replication_of(driver)
    targets = [member.target for member in members]
    deadline = time.monotonic() + 90
    relation = None
    while time.monotonic() < deadline:
        server.container.reload()
        if server.container.status == "exited":
            server.start_again()
        try:
            own = driver.probe(service, server.target)
            led = driver.probe(service, primary.target)
        except ServerError:
            time.sleep(0.1)
            continue
        relation = replication.relate(server.target, own, primary.target, led, targets)
        if relation is Relation.ATTACHED and own.synchronized and own.lag_seconds is not None:
            return own
        if relation is Relation.EMPTY:
            replication.seed(service, server.target, primary.target)
        elif relation in (Relation.DETACHED, Relation.UNPROVEN):
            replication.attach(service, server.target, primary.target, targets)
        assert relation is not Relation.DIVERGED, own
        time.sleep(0.1)
    pytest.fail(f"{server.target.name} is not a full standby after 90 s: {relation}")


def rows(server: Server[Driver]) -> set[int]:
    """What it holds."""
    with client(server) as reader:
        return reader.numbers()


def wait_for_same_rows(members: Sequence[Server[Driver]]) -> None:
    """Until every member holds the same."""
    deadline = time.monotonic() + 20
    while True:
        holding = {member.target.name: frozenset(rows(member)) for member in members}
        if len(set(holding.values())) == 1:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"members differ after 20 s: { {k: len(v) for k, v in holding.items()} }")
        time.sleep(0.1)


def ranked(driver: Driver, standbys: Sequence[Server[Driver]]) -> tuple[str, ...]:
    """Once all of them are."""
    found: tuple[str, ...] = ()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        statuses = {s.target.name: driver.probe(s.service, s.target) for s in standbys}
        found = replication_of(driver).rank(statuses)
        if len(found) == len(standbys):
            return found
        time.sleep(0.1)
    pytest.fail(f"only {found} of {len(standbys)} standbys can be ranked after 10 s")


def assert_refuses_writes(server: Server[Driver]) -> None:
    """A client is told so, or not let in."""
    with pytest.raises(ServerError), client(server) as writer:
        writer.write(999_999)
