"""The fixtures, and what a failed test's report has of what happened.

One installation serves the whole session, of all of xdist's workers; a service is made when the
first test asks for it. One test at a time has a service, with empty data: whatever it breaks
disturbs no other.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_hamanager.service import Service
    from pytest_hamanager.shared import Shared

_BEGAN = pytest.StashKey[float]()
_SERVICES = pytest.StashKey["list[Service]"]()


@pytest.fixture(scope="session")
def ha_installation(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shared]:
    """The manager, with a state directory of its own; everything is removed at the end."""
    from pytest_hamanager.shared import Shared

    base = tmp_path_factory.getbasetemp()
    is_worker = hasattr(request.config, "workerinput")  # of xdist, each with a directory below
    with Shared.joined(base.parent if is_worker else base) as shared:
        yield shared


@pytest.fixture
def ha_mysql(ha_installation: Shared, request: pytest.FixtureRequest) -> Iterator[Service]:
    """MySQL with a primary and a standby."""
    yield from _service(ha_installation, request, "mysql")


@pytest.fixture
def ha_redis(ha_installation: Shared, request: pytest.FixtureRequest) -> Iterator[Service]:
    """Redis with a primary and a standby."""
    yield from _service(ha_installation, request, "redis")


@pytest.fixture
def ha_mongodb(ha_installation: Shared, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A MongoDB replica set of three."""
    yield from _service(ha_installation, request, "mongodb")


def _service(shared: Shared, request: pytest.FixtureRequest, engine: str) -> Iterator[Service]:
    with shared.service(engine) as service:
        request.node.stash.setdefault(_BEGAN, time.time())
        request.node.stash.setdefault(_SERVICES, []).append(service)
        yield service


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed tells what happened to its services meanwhile."""
    report = yield
    if report.when == "call" and report.failed:
        since = item.stash.get(_BEGAN, 0.0)
        for service in item.stash.get(_SERVICES, []):
            title = f"what happened to {service.name} (seconds since the test began)"
            report.sections.append((title, service.timeline(since)))
    return report
