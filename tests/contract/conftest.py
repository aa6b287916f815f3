"""Fixtures of the Docker runtime's tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import docker
import pytest

from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.runtime import Container
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.images import image_of
from tests.support.runtimes import SLEEP


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = docker.from_env(timeout=30)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> str:
    return image_of(client, "redis")


@pytest.fixture
def manager_id() -> str:
    return f"test{uuid.uuid4().hex[:8]}"


@pytest.fixture
def runtime(manager_id: str) -> Iterator[DockerRuntime]:
    made = DockerRuntime(manager_id)
    yield made
    made.destroy_service("db")
    made.destroy_service("other")
    made.close()


@pytest.fixture
def container(runtime: DockerRuntime, image: str) -> Container:
    host, port = runtime.reserve_address(frozenset())
    return Container(image, host, port, LaunchSpec(SLEEP, 6000))


@pytest.fixture(params=["handles", "engine"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With process handles, and as it is with a remote engine, which has none here."""
    if request.param == "engine":
        monkeypatch.setattr(os, "pidfd_open", lambda _: (_ for _ in ()).throw(OSError()))
    return str(request.param)
