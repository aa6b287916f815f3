"""The driver contract: one body, every engine, real servers."""

from __future__ import annotations

import importlib
import select
import time
from collections.abc import Sequence

import pytest

from hamanager.act.context import needed
from hamanager.contracts.driver import Driver
from hamanager.errors import RefusedError, ServerError
from hamanager.model.snapshot import Relation, Role, ServerStatus
from tests.support.servers import Server, servers

ENGINES = {"mysql": "MySQLDriver", "redis": "RedisDriver", "mongodb": "MongoDBDriver"}


@pytest.fixture(params=sorted(ENGINES))
def driver(request: pytest.FixtureRequest) -> Driver:
    module = importlib.import_module(f"hamanager_drivers.{request.param}.driver")
    made: Driver = getattr(module, ENGINES[request.param])()
    return made


def test_life_of_a_service(driver: Driver) -> None:
    """Initialize, scale up, fail over, take the failed one back: only through the contract."""
    size = 3 if driver.capabilities.elects_itself else 2
    with servers(driver, size) as members:
        first, *others = members
        service = first.service

        first.wait(lambda status: status.role is Role.STANDBY)
        assert_refuses_writes(first)
        needed(driver.replication).initialize(service, first.target)
        needed(driver.replication).initialize(service, first.target)
        first.wait(lambda status: status.role is Role.PRIMARY)
        writer = needed(driver.workload).open_writer(service, first.target)
        writer.prepare()
        writer.fill(2_000_000)
        for number in range(50):
            writer.write(number)
        assert writer.numbers() == set(range(50))

        joined = [first]
        for server in others:
            joined.append(server)
            seen = make_full_standby(server, first, joined)
            assert seen.role is Role.STANDBY
            assert seen.lag_seconds is not None
            assert seen.lag_seconds < 2
            assert_refuses_writes(server)

        for number in range(50, 60):
            writer.write(number)
        writer.close()
        wait_for_same_position(driver, members)
        assert wait_until_proven(driver, others)[0] in {s.target.name for s in others}

        tripwire = needed(driver.open_tripwire(service, first.target))
        first.kill()
        assert select.select([tripwire], [], [], 5)[0], "the tripwire outlived the server"
        tripwire.close()
        with pytest.raises(RefusedError):
            driver.probe(service, first.target)

        standbys = {s.target.name: driver.probe(service, s.target) for s in others}
        best = next(
            s for s in others if s.target.name == needed(driver.replication).rank(standbys)[0]
        )
        rest = [s for s in others if s is not best]
        needed(driver.replication).drain(service, best.target)
        needed(driver.replication).promote(service, best.target, [s.target for s in rest], 0, 7)
        needed(driver.replication).promote(service, best.target, [s.target for s in rest], 0, 7)
        for _ in range(2 if driver.settling is not None else 0):
            needed(driver.settling).settle(service, best.target)
        assert driver.probe(service, best.target).role is Role.PRIMARY
        writer = needed(driver.workload).open_writer(service, best.target, timeout_seconds=5)
        writer.write(60)
        for server in rest:
            make_full_standby(server, best, members)
        for server in (best, *rest):
            told = driver.probe(service, server.target).term
            assert told == (None if driver.capabilities.elects_itself else 7)

        first.start_again()
        first.wait(lambda status: status.role is Role.STANDBY)
        make_full_standby(first, best, members)
        writer.write(61)
        assert writer.numbers() == set(range(62))
        writer.close()
        wait_for_same_position(driver, members)

        leaver = first
        needed(driver.replication).detach(service, leaver.target, best.target)
        needed(driver.replication).detach(service, leaver.target, best.target)
        assert driver.probe(service, best.target).role is Role.PRIMARY


def test_silence_and_refusal_are_told_apart(driver: Driver) -> None:
    with servers(driver, 1) as [server]:
        server.wait()
        needed(server.driver.replication).initialize(server.service, server.target)
        server.wait(lambda status: status.role is Role.PRIMARY)
        server.container.pause()
        began = time.monotonic()
        with pytest.raises(ServerError) as caught:
            driver.probe(server.service, server.target)
        assert not isinstance(caught.value, RefusedError)
        assert time.monotonic() - began < 3
        server.container.unpause()
        assert server.wait().role is Role.PRIMARY
        for secret in server.service.secrets.values():
            assert secret not in str(caught.value)


def test_a_restarted_server_takes_no_writes_by_itself(driver: Driver) -> None:
    if driver.capabilities.elects_itself:
        pytest.skip(f"{driver.engine} elects its primary by itself, a lone member at once")
    with servers(driver, 1) as [server]:
        server.wait()
        needed(driver.replication).initialize(server.service, server.target)
        server.wait(lambda status: status.role is Role.PRIMARY)
        server.kill()
        server.start_again()
        assert server.wait().role is Role.STANDBY
        assert_refuses_writes(server)


def test_secrets_stay_out_of_the_container_description(driver: Driver) -> None:
    with servers(driver, 1) as [server]:
        description = str(server.container.attrs)
        for secret in server.service.secrets.values():
            assert secret not in description
            assert secret not in driver.launch_spec(server.service, server.target).script
            assert secret not in repr(driver.launch_spec(server.service, server.target))
            assert secret not in repr(server.service)


def make_full_standby(
    server: Server[Driver], primary: Server[Driver], members: Sequence[Server[Driver]]
) -> ServerStatus:
    """What the loop does, by hand: look, relate, do the next thing."""
    driver, service = server.driver, server.service
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
        relation = needed(driver.replication).relate(
            server.target, own, primary.target, led, targets
        )
        if relation is Relation.ATTACHED and own.synchronized and own.lag_seconds is not None:
            return own
        if relation is Relation.EMPTY:
            needed(driver.replication).seed(service, server.target, primary.target)
        elif relation in (Relation.DETACHED, Relation.UNPROVEN):
            needed(driver.replication).attach(service, server.target, primary.target, targets)
        assert relation is not Relation.DIVERGED, own
        time.sleep(0.1)
    pytest.fail(f"{server.target.name} is not a full standby after 90 s: {relation}")


def wait_for_same_position(driver: Driver, members: Sequence[Server[Driver]]) -> None:
    """Until every member holds the same numbers as the first that accepts writes."""
    holding = {}
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for member in members:
            reader = needed(driver.workload).open_writer(
                member.service, member.target, timeout_seconds=5
            )
            holding[member.target.name] = reader.numbers()
            reader.close()
        if len({frozenset(numbers) for numbers in holding.values()}) == 1:
            return
        time.sleep(0.1)
    pytest.fail(f"members differ after 20 s: { {k: len(v) for k, v in holding.items()} }")


def wait_until_proven(driver: Driver, standbys: Sequence[Server[Driver]]) -> tuple[str, ...]:
    """The ranking of the standbys, once it names all of them."""
    ranked: tuple[str, ...] = ()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        statuses = {s.target.name: driver.probe(s.service, s.target) for s in standbys}
        ranked = needed(driver.replication).rank(statuses)
        if len(ranked) == len(standbys):
            return ranked
        time.sleep(0.1)
    pytest.fail(f"only {ranked} of {len(standbys)} standbys can be ranked after 10 s")


def assert_refuses_writes(server: Server[Driver]) -> None:
    with pytest.raises(ServerError):
        needed(server.driver.workload).open_writer(server.service, server.target).write(999_999)
