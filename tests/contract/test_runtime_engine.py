"""The runtime contract on a real Docker engine: its events, and its failures."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.runtime import Container, InstanceRef, RuntimeEvent
from hamanager.errors import RuntimeFailedError
from hamanager.model.snapshot import Process
from hamanager.runtimes.docker.engine import DEFAULT_URL
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.runtimes import REF, SLEEP, wait_until

# --- Events --------------------------------------------------------------------------------------


def test_events_tell_the_life_and_end_when_told(
    runtime: DockerRuntime, container: Container, manager_id: str
) -> None:
    live: list[RuntimeEvent] = []
    stop = threading.Event()

    def follow() -> None:
        for event in runtime.events(stop.is_set):
            live.append(event)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not live:
            assert time.monotonic() < deadline, "no event ever came"
            runtime.start(REF, container)
            runtime.kill(REF)
        stranger = DockerRuntime(f"{manager_id}x")
        stranger.start(REF, replace(container, port=stranger.reserve_address(frozenset())[1]))
        stranger.destroy_service("db")
        stranger.close()
        wait_until(lambda: live[-1].what == "exited")
        live.clear()
        runtime.start(REF, container)
        runtime.kill(REF)
        wait_until(lambda: len(live) == 2)
        runtime.remove(REF, discard_data=True)
        wait_until(lambda: len(live) == 3)
        expected = [RuntimeEvent("db", "db.0", what) for what in ("started", "exited", "removed")]
        assert live == expected
    finally:
        stop.set()
        thread.join(1.0)
    assert not thread.is_alive()


def test_events_go_on_after_the_engine_came_back(
    container: Container, manager_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = WayToEngine(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{way.path}")
    runtime = DockerRuntime(manager_id)
    seen: queue.SimpleQueue[RuntimeEvent] = queue.SimpleQueue()
    stop = threading.Event()

    def follow() -> None:
        for event in runtime.events(stop.is_set):
            seen.put(event)

    thread = threading.Thread(target=follow)
    thread.start()

    def make_an_event() -> bool:
        runtime.start(REF, container)
        runtime.kill(REF)
        return not seen.empty()

    try:
        wait_until(make_an_event, 20)
        way.cut()
        assert runtime.process(InstanceRef("db", "db.7")) is Process.UNKNOWN
        with pytest.raises(RuntimeFailedError, match="does not answer"):
            runtime.start(REF, container)
        way.restore()
        while not seen.empty():
            seen.get()
        assert runtime.process(InstanceRef("db", "db.7")) is Process.MISSING
        wait_until(make_an_event, 20)
        runtime.destroy_service("db")
    finally:
        stop.set()
        thread.join(2.0)
        way.cut()
        runtime.close()


class WayToEngine:
    """A socket that leads to the engine and can be cut, as if the engine had ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        url = os.environ.get("DOCKER_HOST") or DEFAULT_URL
        if not url.startswith("unix://"):
            pytest.skip("the engine is not on this machine")
        self._engine = url.removeprefix("unix://")
        self._open: list[socket.socket] = []
        self.restore()

    def restore(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        self.path.unlink(missing_ok=True)
        ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                theirs, _ = listener.accept()
                ours = socket.socket(socket.AF_UNIX)
                ours.connect(self._engine)
                self._open += [theirs, ours]
                for pair in ((theirs, ours), (ours, theirs)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


# --- An engine that fails ------------------------------------------------------------------------


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    runtime = DockerRuntime("nobody")
    assert runtime.process(REF) is Process.UNKNOWN
    assert runtime.memory_used(REF) is None
    assert runtime.exit_descriptor(REF) is None
    container = Container(image, "127.0.0.1", 20_000, LaunchSpec(SLEEP, 6000))
    for change in (
        lambda: runtime.start(REF, container),
        lambda: runtime.kill(REF),
        lambda: runtime.destroy_service("db"),
        lambda: runtime.reserve_address(frozenset()),
        lambda: runtime.resolve_image("redis", "redis:8"),
    ):
        with pytest.raises(RuntimeFailedError) as failure:
            change()
        assert str(failure.value) == (
            "the Docker engine does not answer at unix:///nowhere/docker.sock;"
            " start it or set DOCKER_HOST"
        )
    runtime.close()


def test_an_engine_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    path = f"{tmp_path}/docker.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        runtime = DockerRuntime("nobody")
        began = time.monotonic()
        assert runtime.process(REF) is Process.UNKNOWN
        assert time.monotonic() - began < 2.5
        runtime.close()


def test_a_running_process_is_known_and_killed_while_the_engine_hangs(
    runtime: DockerRuntime, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.start(REF, container)
    descriptor = runtime.exit_descriptor(REF)
    if descriptor is None:
        pytest.skip("the engine's processes are not to be seen from here")
    os.close(descriptor)

    def hangs(*_: object) -> None:
        raise docker.errors.DockerException("no answer")

    with monkeypatch.context() as patched:
        patched.setattr("hamanager.runtimes.docker.engine.Engine.client", hangs)
        assert runtime.process(REF) is Process.RUNNING
        runtime.kill(REF)
        assert runtime.process(REF) is Process.EXITED
        time.sleep(1.1)  # past the time for which the handle alone is believed
        assert runtime.process(REF) is Process.EXITED


def test_an_image_that_is_not_there(runtime: DockerRuntime, container: Container) -> None:
    absent = replace(container, image="hamanager-nowhere/nothing:none")
    with pytest.raises(RuntimeFailedError, match="the image hamanager-nowhere/nothing:none"):
        runtime.start(REF, absent)
    with pytest.raises(RuntimeFailedError, match="oracle has no image of its own"):
        runtime.resolve_image("oracle", "")
