"""Real servers on several hosts, each a Docker engine of its own on the test bed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.images import image_of
from tests.testbed import Host, Testbed, why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.long,
    pytest.mark.timeout(900),
]

ENGINES = ("mysql", "redis")
SECONDS = 120.0


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with closing(docker.from_env()) as here:
        images = [image_of(here, engine) for engine in ENGINES]
    with Testbed(hosts=4, images=images) as made:
        yield made


@pytest.fixture
def sandbox(bed: Testbed) -> Iterator[Sandbox]:
    """A daemon on this machine, with all hosts on record."""
    for host in bed.hosts:
        if not host.runs:
            host.start()
        host.heal()
    with Sandbox() as running:
        for host in bed.hosts:
            add(running, host)
        yield running
        for host in bed.hosts:
            if not host.runs:
                host.start()
            host.heal()
        print(running.daemon_log()[-20_000:])
        for service in running.ask("info") or []:
            running.command("destroy", service["name"], "--yes")


def add(sandbox: Sandbox, host: Host) -> None:
    url = ("--docker", host.docker_url, "--address", host.address, "--without-tls")
    sandbox.command("host", "add", host.name, *url)


def host_of(sandbox: Sandbox, bed: Testbed, instance: str) -> Host:
    found = {i["name"]: i["host"] for i in sandbox.ask("info", "db")["instances"]}
    return next(host for host in bed.hosts if host.name == found[instance])


def test_what_cannot_be_a_host_is_refused(sandbox: Sandbox, bed: Testbed) -> None:
    first = bed.hosts[0]
    url = ("--docker", first.docker_url, "--without-tls")
    for words, told in (
        (
            ("host", "add", "again", *url, "--address", "10.9.9.9"),
            "that is the Docker engine of h1",
        ),
        (("host", "add", "h1", *url, "--address", "10.9.9.9"), "there is a host 'h1' already"),
    ):
        refused = sandbox.run(*words)
        assert refused.returncode == 1
        assert told in refused.stderr
    sandbox.command("host", "remove", "h4")
    fourth = bed.hosts[3]
    url = ("--docker", fourth.docker_url, "--without-tls")
    refused = sandbox.run("host", "add", "h4", *url, "--address", "10.9.9.9")
    assert "10.9.9.9 is not an address of that machine" in refused.stderr
    fourth.cut_off_from(bed.hosts[1])
    refused = sandbox.run("host", "add", "h4", *url, "--address", fourth.address)
    assert "is not reached from h2" in refused.stderr
    fourth.heal()
    add(sandbox, fourth)


def test_mysql_goes_on_without_the_standbys_host_and_then_without_the_primarys(
    sandbox: Sandbox, bed: Testbed
) -> None:
    sandbox.command("create", "db", "--engine", "mysql", "--instances", "3", "--memory", "512M")
    sandbox.wait_for_state("db", "running", SECONDS)
    view = sandbox.ask("info", "db")
    assert len({i["host"] for i in view["instances"]}) == 3
    standby = next(i["name"] for i in view["instances"] if i["name"] != view["primary"])
    writer = sandbox.start_writer("db", 0.01)
    time.sleep(2)
    lost_host = host_of(sandbox, bed, standby)
    lost_host.cut_off()
    began = time.monotonic()
    time.sleep(10)
    assert writer.acknowledged()[-1].at > began + 8, "writes go on with the other standby"
    sandbox.command("replace", standby)
    wait_for(
        "it to be in step elsewhere",
        SECONDS,
        lambda: sandbox.ask("info", "db")["state"] == "running",
    )
    assert host_of(sandbox, bed, standby) is not lost_host
    primary = sandbox.ask("info", "db")["primary"]
    crashed = host_of(sandbox, bed, primary)
    crashed.crash()
    failed_at = time.monotonic()
    first = writer.wait_for_write(after=failed_at, not_on=primary, timeout_seconds=60)
    assert first is not None
    print(f"MEASURED: {first.at - failed_at:.2f} s from the crash of the host to the first write")
    lost_host.heal()
    crashed.start()
    wait_for("all to be well", SECONDS, lambda: sandbox.ask("info", "db")["state"] == "running")
    writer.stop()
    assert sandbox.lost("db", writer) == 0
    with closing(lost_host.client()) as engine:
        wait_for("what was left to be ended", 30, lambda: not engine.api.containers(all=True))


def test_redis_is_passed_over_when_it_refuses_writes_and_not_before(
    sandbox: Sandbox, bed: Testbed
) -> None:
    sandbox.command("create", "db", "--engine", "redis", "--instances", "2")
    sandbox.wait_for_state("db", "running", SECONDS)
    primary = sandbox.ask("info", "db")["primary"]
    host = host_of(sandbox, bed, primary)
    host.cut_off()
    time.sleep(25)
    view = sandbox.ask("info", "db")
    assert view["primary"] == primary
    assert "failover db --to" in view["message"]
    host.plug_in()
    sandbox.wait_for_state("db", "running", SECONDS)
    sandbox.command("set", "db", "--durability", "strict")
    time.sleep(5)
    host.cut_off()
    began = time.monotonic()
    wait_for("another one to lead", 60, lambda: sandbox.ask("info", "db")["primary"] != primary)
    print(f"MEASURED: {time.monotonic() - began:.1f} s until another one led")
    host.plug_in()
    sandbox.wait_for_state("db", "running", SECONDS)


def test_a_host_is_drained(sandbox: Sandbox, bed: Testbed) -> None:
    sandbox.command("create", "db", "--engine", "redis", "--instances", "2")
    sandbox.wait_for_state("db", "running", SECONDS)
    host = host_of(sandbox, bed, sandbox.ask("info", "db")["primary"])
    sandbox.command("host", "drain", host.name)

    def left() -> bool:
        view = sandbox.ask("info", "db")
        there = [i["name"] for i in view["instances"] if i["host"] == host.name]
        return not there and view["state"] == "running"

    wait_for("it to be left", SECONDS, left)
    sandbox.command("host", "remove", host.name)
