"""A running daemon for each engine's scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hamanager.chaos.sandbox import Sandbox

ENGINES = ("mysql", "redis", "mongodb")
SIZES = {"mysql": 2, "redis": 2, "mongodb": 3, "valkey": 2}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """A daemon with real containers, shared by the tests of a module."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """The daemon, without services before and after; its log is shown when the test failed."""
    yield running
    for service in running.ask("info") or []:
        running.command("destroy", service["name"], "--yes")
    print(f"--- daemon log of {request.node.name}\n{running.daemon_log()[-20_000:]}")
