"""Three hosts with hamanager on them, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from tests.scenarios.hosts.harness import recover
from tests.support.images import image_of
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import Fleet

ENGINES = ("mysql", "redis", "mongodb")


@pytest.fixture(scope="module")
def running() -> Iterator[Fleet]:
    """All engines' images are there."""
    if reason := why_not() or why_no_etcd():
        pytest.skip(reason)
    with closing(docker.from_env()) as here:
        images = [image_of(here, name) for name in (*ENGINES, "haproxy")]
    with Testbed(hosts=3, images=images) as bed, Fleet(bed) as fleet:
        yield fleet


@pytest.fixture
def fleet(running: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Without services before and after, and all hosts well."""
    recover(running)
    yield running
    for service in running.ask("info") or []:
        running.run("destroy", service["name"], "--yes")
    print(f"--- logs of {request.node.name}\n{running.logs()}")
