"""A load balancer of somebody else's, that asks the health paths and nothing else; and what is
scraped while it does. The document's own example is what it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.etcd_cluster import free_ports
from tests.support.images import image_of

DOCUMENT = Path(__file__).parents[2] / "docs/monitoring.md"
FOLLOWED_SECONDS = 20.0
FRONTEND = """
defaults
    mode tcp
    timeout connect 1s
    timeout client 1m
    timeout server 1m
frontend writes
    bind 127.0.0.1:{port}
    default_backend db-primary
"""


@pytest.fixture(scope="module")
def web() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture(scope="module")
def sandbox(web: str) -> Iterator[Sandbox]:
    with Sandbox(serve_options=["--web", web]) as made:
        made.command("create", "db", "--engine", "redis", "--instances", "2")
        made.wait_for_state("db", "running", 60, 2)
        yield made


@pytest.fixture
def address(sandbox: Sandbox, web: str) -> Iterator[tuple[str, int]]:
    """Where the load balancer leads to the primary."""
    [port] = free_ports(1)
    config = FRONTEND.format(port=port) + backend(sandbox, web)
    directory = sandbox.home / "balancer"
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "haproxy.cfg").write_text(config)
    container = sandbox.docker.containers.run(
        image_of(sandbox.docker, "haproxy"),
        ["haproxy", "-db", "-f", "/balancer/haproxy.cfg"],
        detach=True,
        network_mode="host",
        volumes={str(directory): {"bind": "/balancer", "mode": "ro"}},
        labels={"hamanager.manager": sandbox.manager_id},
    )
    try:
        yield "127.0.0.1", port
    finally:
        print(container.logs().decode())
        container.remove(force=True)


def backend(sandbox: Sandbox, web: str) -> str:
    """The document's, with this service's servers and this manager's port."""
    [text] = re.findall(r"( {4}backend db-primary\n(?: {8}.*\n)+)", DOCUMENT.read_text())
    text = re.sub(r"^ {4}", "", text, flags=re.MULTILINE)
    text = re.sub(r"port \d+$", f"port {web.rpartition(':')[2]}", text, flags=re.MULTILINE)
    for member in sandbox.members("db"):
        text = re.sub(rf"server {member.name} \S+", f"server {member.name} {member.address}", text)
    return text


def takes_writes(sandbox: Sandbox, address: tuple[str, int]) -> bool:
    """Whether somebody does there."""
    password = sandbox.context("db").secrets["password"]
    host, port = address
    client = redis.Redis(host=host, port=port, password=password, socket_timeout=1.0)
    try:
        return bool(client.set("written", "there"))
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def test_it_follows_a_failover(sandbox: Sandbox, address: tuple[str, int]) -> None:
    wait_for("a write", FOLLOWED_SECONDS, lambda: takes_writes(sandbox, address))
    term = sandbox.record("db").term
    # The killed one refuses writes when it is back: who takes one is another.
    sandbox.container(sandbox.primary("db").name).kill()
    wait_for("a write", FOLLOWED_SECONDS, lambda: takes_writes(sandbox, address))
    sandbox.wait_until_in_step("db", term, 60)
    assert sandbox.record("db").term == term + 1


def test_what_is_scraped_tells_of_it(sandbox: Sandbox, web: str) -> None:
    families = text_string_to_metric_families(httpx.get(f"http://{web}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    leads = {
        sample.labels["instance"]
        for sample in samples
        if sample.name == "hamanager_instance_role"
        and sample.labels["role"] == "primary"
        and sample.value
    }
    assert leads == {sandbox.primary("db").name}
    done = [s.value for s in samples if s.name == "hamanager_failovers_total"]
    assert done == [1.0]
    assert httpx.get(f"http://{web}/health/ready").status_code == 200
