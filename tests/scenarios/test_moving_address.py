"""Two machines with `hamanager proxy`, which follow a manager on a third one over TLS, and one IP
address that keepalived moves between them."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.clients import PLAIN, PlainWriter
from tests.support.images import image_of
from tests.support.keepalived import ADDRESSES, MOVING, configure
from tests.support.keepalived import why_not as why_no_keepalived
from tests.testbed import Host, Testbed
from tests.testbed import why_not as why_no_bed

REASON = why_no_bed() or why_no_keepalived()
pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(REASON), reason=REASON)]

MOVED_SECONDS = 20.0


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with closing(docker.from_env()) as here:
        images = [image_of(here, "haproxy")]
    with Testbed(hosts=2, images=images) as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(bed: Testbed) -> Iterator[Sandbox]:
    """The manager and the servers, on this machine."""
    with socket.socket() as probe:
        probe.bind((bed.gateway, 0))
        port = probe.getsockname()[1]
    made = Sandbox(serve_options=["--listen", f"{bed.gateway}:{port}"])
    made.environment["HAMANAGER_ADVERTISE_HOST"] = bed.gateway
    with made:
        made.command("create", "db", "--engine", "mysql", "--instances", "2")
        token = made.home / "proxies"
        printed = made.command("token", "create", "proxies", "--role", "read").split()
        token.write_text(printed[-1])
        (made.home / "ca.pem").write_text(made.command("ca", "show"))
        for host in bed.hosts:
            serve(host, made, f"https://{bed.gateway}:{port}")
        yield made


def serve(host: Host, sandbox: Sandbox, manager: str) -> None:
    """Both programs on that host."""
    environment = {
        **os.environ,
        "HAMANAGER_HOME": str(host.path("hamanager")),
        "HAMANAGER_MANAGER": manager,
        "HAMANAGER_TOKEN_FILE": str(sandbox.home / "proxies"),
        "HAMANAGER_CA": str(sandbox.home / "ca.pem"),
        "HAMANAGER_PROXY_LISTEN": "0.0.0.0",
    }
    host.unit("proxy", sys.executable, "-m", "hamanager", "proxy", environment=environment)
    network = host.address.rpartition(".")[0]
    changes = {
        "/var/lib/hamanager-proxy": str(host.path("hamanager")),
        ADDRESSES["one"]: f"{network}.11",
        ADDRESSES["two"]: f"{network}.12",
        MOVING: moving(host),
    }
    path = configure(host.directory, changes)
    words = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(path)]
    pids = ["--pid", "/run/keepalived.pid", "--vrrp_pid", "/run/vrrp.pid"]
    host.unit("keepalived", *words, *pids, "--config-id", "one" if host.name == "h1" else "two")


def moving(host: Host) -> str:
    return f"{host.address.rpartition('.')[0]}.100"


def has_it(host: Host) -> bool:
    return host.runs and f" {moving(host)}/24 " in host.call("ip", "address", "show", "eth0").stdout


def holder(bed: Testbed) -> Host:
    """Who has the address, alone."""

    def one_has() -> bool:
        return sum(map(has_it, bed.hosts)) == 1

    wait_for("one host to have the address", MOVED_SECONDS, one_has)
    return next(host for host in bed.hosts if has_it(host))


@pytest.fixture
def writer(bed: Testbed, sandbox: Sandbox) -> Iterator[PlainWriter]:
    url = sandbox.command("url", "db", "--at", moving(bed.hosts[0])).strip()
    sandbox.wait_for_state("db", "running", 60)
    for host in bed.hosts:
        configuration = host.path("hamanager", "proxy", "endpoint", "etc", "haproxy.cfg")
        wait_for(f"the proxy of {host.name}", 60, host.outside(configuration).exists)
    wait_for("an address that answers", 60, lambda: answers(url))
    made = PlainWriter("mysql", url)
    held = PLAIN["mysql"](url)
    held.prepare()
    made.begin_after(max(held.numbers(), default=0))
    held.close()
    made.start()
    wait_for("the first writes", 20, lambda: len(made.accepted) > 100)
    yield made
    made.stop()
    assert made.lost() == 0


def answers(url: str) -> bool:
    try:
        PLAIN["mysql"](url).close()
    except Exception:
        return False
    return True


def goes_on(writer: PlainWriter) -> None:
    moment = time.monotonic()
    wait_for("writes to go on", MOVED_SECONDS, lambda: writer.accepted[-1].at > moment)


def test_primary_killed_and_its_clients_are_led_on_from_other_machines(
    bed: Testbed, sandbox: Sandbox, writer: PlainWriter
) -> None:
    record = sandbox.record("db")
    sandbox.container(record.primary or "").kill()
    sandbox.wait_until_in_step("db", record.term, 60)
    goes_on(writer)
    assert not writer.turned_away


def test_machine_with_the_address_crashes_and_the_other_one_takes_it(
    bed: Testbed, sandbox: Sandbox, writer: PlainWriter
) -> None:
    before = holder(bed)
    before.crash()
    try:
        goes_on(writer)
        assert holder(bed) is not before
    finally:
        before.start()
    goes_on(writer)
    assert holder(bed) is not before, "it does not move back"


def test_proxy_ends_and_the_address_moves_to_a_machine_with_one(
    bed: Testbed, sandbox: Sandbox, writer: PlainWriter
) -> None:
    before = holder(bed)
    before.units["proxy"].process.kill()
    try:
        wait_for("the address to move", MOVED_SECONDS, lambda: not has_it(before))
        assert holder(bed) is not before
        goes_on(writer)
    finally:
        before.restart("proxy")
