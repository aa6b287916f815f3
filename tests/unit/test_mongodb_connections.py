"""Dead, hung and refusing servers are told apart before any client library is involved."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import bson
import pytest

from hamanager.errors import HamanagerError, RefusedError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb.config import GIGABYTE, cache_bytes, launch_spec
from hamanager_drivers.mongodb.driver import MongoDBDriver

DRIVER = MongoDBDriver()
SERVICE = ServiceContext("db", "mongodb", None, DRIVER.new_secrets())
HEADER = struct.Struct("<iiii")
OP_MSG = 2013


@contextlib.contextmanager
def listening(treat: Callable[[socket.socket], None]) -> Iterator[Target]:
    """A server that does that with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                treat(listener.accept()[0])

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Target("db.0", "127.0.0.1", listener.getsockname()[1], 0)
    finally:
        listener.close()


def ask(target: Target) -> tuple[HamanagerError, float]:
    began = time.monotonic()
    with pytest.raises(HamanagerError) as caught:
        DRIVER.probe(SERVICE, target)
    for secret in SERVICE.secrets.values():
        assert secret not in str(caught.value)
    return caught.value, time.monotonic() - began


def test_nothing_listens() -> None:
    with listening(lambda _: None) as target:
        pass
    error, seconds = ask(target)
    assert isinstance(error, RefusedError)
    assert seconds < 0.1


def test_a_proxy_accepts_for_a_server_that_does_not_listen() -> None:
    with listening(lambda connection: connection.close()) as target:
        error, seconds = ask(target)
    assert isinstance(error, RefusedError)
    assert seconds < 0.1


def test_a_hung_server() -> None:
    held: list[socket.socket] = []
    with listening(held.append) as target:
        error, seconds = ask(target)
    for connection in held:
        connection.close()
    assert isinstance(error, SilentError)
    assert seconds < 1.5


def test_a_server_that_ends_right_after_its_answer() -> None:
    """The client library would look for it until the time is over, and call that silence."""
    answered: list[socket.socket] = []

    def answer_once(connection: socket.socket) -> None:
        if answered:
            connection.close()
            return
        answered.append(connection)
        connection.recv(4096)
        body = bytes(5) + bson.encode({"ok": 1, "maxWireVersion": 17, "minWireVersion": 0})
        connection.sendall(HEADER.pack(HEADER.size + len(body), 1, 1, OP_MSG) + body)

    with listening(answer_once) as target:
        error, _ = ask(target)
    answered[0].close()
    assert isinstance(error, RefusedError)


def test_the_cache_follows_the_limit() -> None:
    assert cache_bytes(256 * 1024**2) == GIGABYTE // 4
    assert cache_bytes(4 * GIGABYTE) == 2 * GIGABYTE - GIGABYTE // 8
    assert cache_bytes(None) < GIGABYTE


def test_the_key_is_in_a_file_of_its_own_that_only_the_server_reads() -> None:
    launch = launch_spec(SERVICE, Target("db.0", "h", 1, 0))
    assert launch.files["keyfile"].text == SERVICE.secrets["key"]
    assert launch.files["keyfile"].mode == 0o400
    assert SERVICE.secrets["key"] not in launch.files["mongod.conf"].text
    assert SERVICE.secrets["key"] not in launch.script


def test_a_thousand_clients_find_room_whatever_the_soft_limit_of_open_files() -> None:
    script = launch_spec(SERVICE, Target("db.0", "h", 1, 0)).script
    assert script.startswith('ulimit -n "$(ulimit -Hn)" && ')


def test_the_url_names_every_member() -> None:
    members = [Target(f"db.{n}", "h", 1000 + n, n) for n in range(3)]
    password = SERVICE.secrets["password"]
    expected = (
        f"mongodb://app:{password}@h:1000,h:1001,h:1002/db"
        "?replicaSet=db&w=majority&retryWrites=true"
    )
    found = DRIVER.connection(SERVICE, None, members)
    assert found is not None
    assert (found.url, found.host, found.database) == (expected, None, "db")
    assert DRIVER.connection(SERVICE, None, []) is None
