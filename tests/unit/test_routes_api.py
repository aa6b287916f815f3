"""What a manager tells of where clients are led, and who asks it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import uvicorn

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.daemon.http import make_app
from hamanager.errors import HamanagerError
from hamanager.routes.sources import ManagerSource
from hamanager.stores.repository import load_routes
from tests.unit.fakes import FakeManager

LISTENER = Listener(
    name="db",
    kind=ListenerKind.PRIMARY,
    host="10.0.0.1",
    port=20000,
    routes=(Route(instance="db.0", host="10.0.0.1", port=20001),),
)


class Plain:
    """Straight to an address, with nothing between."""

    def __init__(self, port: int) -> None:
        self.place = f"127.0.0.1:{port}"

    def request(
        self, method: str, path: str, body: object, timeout_seconds: float
    ) -> httpx.Response:
        try:
            return httpx.request(method, f"http://{self.place}/v1{path}", timeout=timeout_seconds)
        except httpx.TransportError as error:
            raise HamanagerError(f"nobody answers ({error})") from error

    def close(self) -> None:
        pass


@pytest.fixture
def manager() -> Iterator[FakeManager]:
    made = FakeManager()
    yield made
    made.addresses.close()


@pytest.fixture
def source(manager: FakeManager) -> Iterator[ManagerSource]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(make_app(manager), log_level="error", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield ManagerSource(partial(Plain, listener.getsockname()[1]))
        server.should_exit = True
        thread.join()


def publish(manager: FakeManager, *listeners: Listener) -> None:
    manager.addresses.endpoint.published("db")
    manager.addresses.endpoint.publish("db", listeners)


def test_who_asks_makes_the_manager_write_it_down(
    manager: FakeManager, source: ManagerSource
) -> None:
    manager.commands.create("db", "redis", 1, None, None)
    publish(manager, LISTENER)
    assert load_routes(manager.store, "db") is None
    assert source.ask(0, 0).words == {}
    assert manager.woken == ["db"], "so that its next pass publishes it"
    publish(manager, LISTENER)
    assert source.ask(0, 5).words["db"].listeners == (LISTENER,)
    assert manager.woken == ["db"]


def test_who_waits_hears_of_a_change_at_once(manager: FakeManager, source: ManagerSource) -> None:
    after = source.ask(0, 0).version
    heard: list[object] = []
    waiting = threading.Thread(target=lambda: heard.append(source.ask(after, 20)))
    waiting.start()
    time.sleep(0.1)  # most likely it waits by then; if not, it hears all the same
    publish(manager, LISTENER)
    waiting.join(10)
    [told] = heard
    assert told.words["db"].listeners == (LISTENER,)  # type: ignore[attr-defined]
    assert told.heard_seconds_ago < 3  # type: ignore[attr-defined]


def test_who_knows_all_waits_in_vain(manager: FakeManager, source: ManagerSource) -> None:
    publish(manager, LISTENER)
    source.ask(0, 0)
    publish(manager, LISTENER)
    told = source.ask(0, 5)
    again = source.ask(told.version, 0.05)
    assert not again.words
    assert again.services == {"db"}


@pytest.mark.parametrize("query", ["after=-1", "after=x", "wait=-1", "wait=3600"])
def test_nonsense_is_refused_in_a_sentence(source: ManagerSource, query: str) -> None:
    assert source._reach is not None
    answer = source._reach.request("GET", f"/routes?{query}", None, 5)
    assert answer.status_code == 400
    assert "the request's" in answer.json()["error"]


def test_what_is_no_manager_is_told_in_a_sentence() -> None:
    class Strange:
        place = "10.0.0.1:80"

        def __init__(self, answer: httpx.Response) -> None:
            self.answer = answer

        def request(self, *_: object) -> httpx.Response:
            return self.answer

        def close(self) -> None:
            pass

    for answer in (httpx.Response(200, text="hello"), httpx.Response(404, text="no")):
        with pytest.raises(HamanagerError, match="is it a hamanager of this version"):
            ManagerSource(partial(Strange, answer)).ask(0, 0)
    refused = httpx.Response(403, json={"error": "that token may not", "exit_code": 1})
    with pytest.raises(HamanagerError, match="answers: that token may not"):
        ManagerSource(partial(Strange, refused)).ask(0, 0)


def test_after_a_failure_the_way_there_is_found_anew(
    source: ManagerSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates may be others meanwhile."""
    assert source.ask(0, 0).words == {}
    before = source._reach
    assert isinstance(before, Plain)
    before.place = "127.0.0.1:1"
    with pytest.raises(HamanagerError, match="nobody answers"):
        source.ask(0, 0)
    assert source.ask(0, 0).words == {}
