"""A proxy that hangs, and a manager that cannot ask: only the first is HAProxy's fault."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind
from hamanager.contracts.runtime import Runtime, Sidecar
from hamanager.daemon.process import raise_descriptor_limit
from hamanager.endpoints.haproxy import control as haproxy_control
from hamanager.endpoints.haproxy import endpoint as haproxy
from hamanager.endpoints.haproxy.control import CannotAskError
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import EndpointFailedError

LISTENER = Listener(name="db", kind=ListenerKind.PRIMARY, host="127.0.0.1", port=20000, capacity=3)


class CountingRuntime:
    """It starts nothing; what was asked for is counted."""

    def __init__(self) -> None:
        self.ended = self.started = 0

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        return "haproxy"

    def start_sidecar(self, sidecar: Sidecar) -> None:
        self.started += 1

    def remove_sidecar(self, name: str) -> None:
        self.ended += 1


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> CountingRuntime:
    monkeypatch.setattr(haproxy, "UP_SECONDS", -1.0)
    monkeypatch.setattr(haproxy_control, "ANSWER_SECONDS", 0.01)
    return CountingRuntime()


@pytest.fixture
def endpoint(runtime: CountingRuntime, tmp_path: Path) -> HaproxyEndpoint:
    made = HaproxyEndpoint(tmp_path / "endpoint", cast(Runtime, runtime), lambda host: host)
    with suppress(EndpointFailedError):
        made.publish("db", [LISTENER])
    runtime.started = 0
    return made


def checks(endpoint: HaproxyEndpoint, number: int) -> None:
    for _ in range(number):
        with pytest.raises(EndpointFailedError):
            endpoint.check()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    filled: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        with suppress(OSError):
            while True:
                filled.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for descriptor in filled:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors_the_proxy_is_left_alone(
    endpoint: HaproxyEndpoint, runtime: CountingRuntime
) -> None:
    with no_descriptor_left():
        for _ in range(10):
            with pytest.raises(CannotAskError, match="left as it is"):
                endpoint.check()
    assert (runtime.ended, runtime.started) == (0, 0)


@pytest.mark.parametrize("number", sorted(haproxy_control.LOCAL), ids=errno.errorcode.get)
def test_no_error_of_ours_counts_as_its_silence(
    endpoint: HaproxyEndpoint,
    runtime: CountingRuntime,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hamanager.endpoints.haproxy.control.socket.socket", fails)
    checks(endpoint, 5)
    with pytest.raises(CannotAskError):
        endpoint.publish("db", [LISTENER])
    assert (runtime.ended, runtime.started) == (0, 0)


@pytest.fixture
def hung(endpoint: HaproxyEndpoint, tmp_path: Path) -> Iterator[None]:
    """Connections are accepted by the kernel, and nobody answers."""
    with socket.socket(socket.AF_UNIX) as listening:
        directory = os.open(tmp_path / "endpoint/run", os.O_PATH)
        listening.bind(f"/proc/self/fd/{directory}/control.sock")
        os.close(directory)
        listening.listen(128)
        yield


@pytest.mark.usefixtures("hung")
def test_a_hung_proxy_is_not_made_anew_again_and_again(
    endpoint: HaproxyEndpoint, runtime: CountingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("hamanager.endpoints.haproxy.endpoint.time.monotonic", lambda: now[0])
    monkeypatch.setattr("hamanager.endpoints.haproxy.endpoint.time.sleep", lambda _: None)
    ends = []
    for _ in range(200):
        before = runtime.ended
        checks(endpoint, 1)
        if runtime.ended > before:
            ends.append(now[0])
        now[0] += 1.0
    pauses = [later - earlier for earlier, later in pairwise(ends)]
    assert pauses == [15.0, 30.0, 60.0]


def test_the_limit_of_open_files_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = max(256, threading.active_count()) if hard > 256 else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
        with caplog.at_level(logging.DEBUG, "hamanager"):
            raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert f"was {lowered} and is {hard} now" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
