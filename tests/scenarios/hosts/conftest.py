"""Three hosts with hamanager on them and a service of each engine, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import docker
import pytest

from tests.scenarios.hosts.harness import ENGINES, Standing
from tests.support.images import image_of
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import Fleet


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    """All engines' images are there."""
    if reason := why_not() or why_no_etcd():
        pytest.skip(reason)
    with closing(docker.from_env()) as here:
        images = [image_of(here, name) for name in (*ENGINES, "haproxy")]
    with Testbed(hosts=3, images=images) as bed, Fleet(bed) as running:
        yield running


@pytest.fixture(scope="package")
def services(fleet: Fleet) -> Standing:
    """They are destroyed with the hosts."""
    standing = Standing(fleet)
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        list(pool.map(standing.ready, ENGINES))
    return standing


@pytest.fixture
def standing(services: Standing, request: pytest.FixtureRequest) -> Iterator[Standing]:
    """The managers' logs are shown when the test failed."""
    yield services
    print(f"--- logs of {request.node.name}\n{services.fleet.logs()}")
