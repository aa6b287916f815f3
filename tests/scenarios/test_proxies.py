"""The same addresses on several machines: each `hamanager proxy` leads its clients to the primary,
at the same moment and whatever becomes of it, the managers or the store."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.clients import PLAIN, PlainWriter, answers
from tests.support.proxies import ADDRESSES, HEARD_SECONDS, Proxy, goes_on

SIZES = {"mysql": 2, "redis": 2}
PROXY_BACK_SECONDS = 10.0
SETTLED_SECONDS = 90.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


@pytest.fixture(scope="module")
def proxies(sandbox: Sandbox) -> Iterator[tuple[Proxy, ...]]:
    made = tuple(Proxy(sandbox, address) for address in ADDRESSES)
    try:
        for proxy in made:
            proxy.start()
        yield made
    finally:
        for proxy in made:
            proxy.close()


@pytest.fixture(scope="module", params=["redis", pytest.param("mysql", marks=pytest.mark.long)])
def service(request: pytest.FixtureRequest, sandbox: Sandbox, proxies: tuple[Proxy, ...]) -> str:
    """Named after its engine."""
    engine = str(request.param)
    sandbox.command("create", engine, "--engine", engine, "--instances", str(SIZES[engine]))
    for proxy in proxies:
        what = f"{engine} at {proxy.address}"
        wait_for(what, HEARD_SECONDS, partial(answers, engine, proxy.url(engine)))
    return engine


@contextlib.contextmanager
def writing(
    sandbox: Sandbox, service: str, proxies: Sequence[Proxy]
) -> Iterator[list[PlainWriter]]:
    """A client at each address that writes throughout; nothing it was told is missing then."""
    sandbox.wait_for_state(service, "running", 60)
    writers = [PlainWriter(service, proxy.url(service)) for proxy in proxies]
    held = PLAIN[service](proxies[0].url(service))
    held.prepare()
    last = max(held.numbers(), default=0)
    held.close()
    for number, writer in enumerate(writers):
        # Far apart: what one was told is not what another one wrote.
        writer.begin_after(last + 1 + number * 10_000_000)
        writer.start()
    try:
        for writer in writers:
            wait_for("the first writes", HEARD_SECONDS, partial(has_written, writer))
        yield writers
        for writer in writers:
            goes_on(writer)
    finally:
        for writer in writers:
            writer.stop()
    sandbox.wait_for_state(service, "running", 60)
    if service == "mysql":  # of Redis a failover may lose the last moment's
        assert [writer.lost() for writer in writers] == [0] * len(writers)


def fail_over(sandbox: Sandbox, service: str) -> None:
    """Kill the primary and wait until all is well."""
    record = sandbox.record(service)
    sandbox.container(record.primary or "").kill()
    sandbox.wait_until_in_step(service, record.term, SETTLED_SECONDS)
    sandbox.wait_for_state(service, "running", SETTLED_SECONDS)


def test_primary_killed_and_no_client_of_any_address_is_turned_away(
    sandbox: Sandbox, proxies: tuple[Proxy, ...], service: str
) -> None:
    with writing(sandbox, service, proxies) as writers:
        for _ in range(2):
            fail_over(sandbox, service)
            time.sleep(0.5)
        assert [writer.turned_away for writer in writers] == [[], []]


def test_planned_change_and_no_client_of_any_address_is_turned_away(
    sandbox: Sandbox, proxies: tuple[Proxy, ...], service: str
) -> None:
    with writing(sandbox, service, proxies) as writers:
        sandbox.command("switchover", service)
        time.sleep(0.5)
        assert [writer.turned_away for writer in writers] == [[], []]


def test_proxy_suspended_during_the_failover_catches_up(
    sandbox: Sandbox, proxies: tuple[Proxy, ...], service: str
) -> None:
    """Its clients have no primary until then: a former one takes no writes."""
    late = proxies[1]
    with writing(sandbox, service, proxies) as writers:
        late.send(signal.SIGSTOP)
        try:
            fail_over(sandbox, service)
            goes_on(writers[0])
            assert not writers[0].turned_away
        finally:
            late.send(signal.SIGCONT)
        goes_on(writers[1])


def test_manager_away_and_every_address_goes_on(
    sandbox: Sandbox, proxies: tuple[Proxy, ...], service: str
) -> None:
    with writing(sandbox, service, proxies) as writers:
        sandbox.kill_daemon()
        try:
            for proxy in proxies:
                proxy.kill()
                proxy.start()  # and knows what it knew
            for writer in writers:
                goes_on(writer)
            heard = [proxy.times_heard() for proxy in proxies]
        finally:
            sandbox.start_daemon()
        for proxy, before in zip(proxies, heard, strict=True):
            follows = partial(lambda proxy, before: proxy.times_heard() > before, proxy, before)
            wait_for(f"{proxy.address} to follow again", HEARD_SECONDS, follows)
        assert [writer.cut for writer in writers] == [0, 0]
        assert [writer.turned_away for writer in writers] == [[], []]
        fail_over(sandbox, service)
        assert [writer.turned_away for writer in writers] == [[], []], "they follow it again"


def test_haproxy_killed_and_the_address_is_back_by_itself(
    sandbox: Sandbox, proxies: tuple[Proxy, ...], service: str
) -> None:
    with writing(sandbox, service, proxies) as writers:
        proxies[0].kill_haproxy()
        goes_on(writers[0], PROXY_BACK_SECONDS)
        assert writers[1].cut == 0, "the other one is not disturbed"


def test_address_of_a_destroyed_service_is_closed_everywhere(
    sandbox: Sandbox, proxies: tuple[Proxy, ...]
) -> None:
    sandbox.command("create", "gone", "--engine", "redis")
    for proxy in proxies:
        wait_for("the address", HEARD_SECONDS, partial(serves, proxy, "gone"))
    sandbox.command("destroy", "gone", "--yes")
    for proxy in proxies:
        wait_for("its end", HEARD_SECONDS, partial(serves_not, proxy, "gone"))


def has_written(writer: PlainWriter) -> bool:
    return len(writer.accepted) > 100


def serves(proxy: Proxy, service: str) -> bool:
    configuration = Path(proxy.state, "endpoint", "etc", "haproxy.cfg").read_text()
    return f"listen {service}\n" in configuration


def serves_not(proxy: Proxy, service: str) -> bool:
    return not serves(proxy, service)
