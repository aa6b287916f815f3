"""The endpoint contract on a real HAProxy; the servers behind it are plain sockets that say who
they are."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from hamanager.chaos.sandbox import wait_for
from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.contracts.runtime import Sidecar
from hamanager.endpoints.haproxy.backend import parse_queued
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import EndpointFailedError
from hamanager.runtimes.docker.address import bind_address
from hamanager.runtimes.docker.runtime import DockerRuntime

HOST = "127.0.0.1"
CLIENT_SECONDS = 5.0


class Greeter:
    """A server that sends its name to whoever connects, and then keeps the connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def route(self) -> Route:
        return Route(instance=self.name, host=HOST, port=self.port)

    def close(self) -> None:
        # Wakes the thread that waits for clients; closing alone would leave it listening.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                connection.sendall(self.name.encode())


@pytest.fixture
def greeters() -> Iterator[tuple[Greeter, Greeter]]:
    made = Greeter("db.0"), Greeter("db.1")
    yield made
    for greeter in made:
        greeter.close()


@pytest.fixture
def endpoint(runtime: DockerRuntime, tmp_path: Path) -> Iterator[HaproxyEndpoint]:
    made = HaproxyEndpoint(tmp_path / "endpoint", runtime, bind_address)
    yield made
    made.close()
    runtime.remove_sidecar("haproxy")


def listener(port: int, *routes: Route, name: str = "db") -> Listener:
    return Listener(
        name=name, kind=ListenerKind.PRIMARY, host=HOST, port=port, routes=routes, capacity=3
    )


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), CLIENT_SECONDS)


def greeting(client: socket.socket) -> str:
    return client.recv(64).decode()


def waiting(endpoint: HaproxyEndpoint) -> int:
    """How many clients are in the queue."""
    return parse_queued(endpoint._control.ask(["show stat db 2 -1"]))


def is_open(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(64) != b""
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False


@pytest.fixture
def port(runtime: DockerRuntime) -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_clients_follow_the_primary(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    old, new = greeters
    endpoint.publish("db", [listener(port, old.route)])
    former = connect(port)
    assert greeting(former) == "db.0"
    endpoint.publish("db", [listener(port, new.route)], cut=False)
    with connect(port) as client:
        assert greeting(client) == "db.1"
    assert is_open(former), "it may end by itself"

    def is_cut() -> bool:
        endpoint.publish("db", [listener(port, new.route)])
        return not is_open(former)

    wait_for("the former primary's client to be cut off", 2, is_cut)


def test_what_is_published_is_known_and_settled_by_anybody(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    """It leads where it led, and who has a connection to a former target is cut off."""
    old, new = greeters
    assert endpoint.published("db") == ()
    endpoint.publish("db", [listener(port, old.route)])
    former = connect(port)
    assert greeting(former) == "db.0"
    endpoint.publish("db", [listener(port, new.route)], cut=False)
    assert endpoint.published("db") == (listener(port, new.route),)
    assert endpoint.published("x") == ()

    def is_cut() -> bool:
        endpoint.settle("db")
        return not is_open(former)

    wait_for("the former primary's client to be cut off", 2, is_cut)
    with connect(port) as client:
        assert greeting(client) == "db.1"
    assert endpoint.published("db") == (listener(port, new.route),)


def test_new_clients_wait_while_there_is_no_primary(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    old, new = greeters
    endpoint.publish("db", [listener(port, old.route)])
    old.close()
    endpoint.publish("db", [listener(port)], cut=False)
    heard: list[str] = []
    clients = [
        threading.Thread(target=lambda: heard.append(greeting(connect(port)))) for _ in range(5)
    ]
    for client in clients:
        client.start()
    clients[0].join(0.5)
    assert heard == [], "nobody is turned away, and nobody is sent anywhere"
    endpoint.publish("db", [listener(port, new.route)], cut=False)
    for client in clients:
        client.join(2)
    assert heard == ["db.1"] * 5


def test_a_thousand_clients_that_wait_are_all_sent_on(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    """HAProxy lets out a few hundred at a time, and the others only when it is asked to."""
    endpoint.publish("db", [listener(port)], cut=False)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(1000)]
        wait_for("all of them to wait", 20, lambda: waiting(endpoint) == 1000)
        endpoint.publish("db", [listener(port, greeters[1].route)], cut=False)
        assert [greeting(client) for client in clients] == ["db.1"] * 1000


def test_who_came_first_is_kept_waiting_like_the_others(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    """Again and again, also after the proxy was told something new by a reload."""
    for _ in range(3):
        endpoint.publish("db", [listener(port, greeters[0].route)], cut=False)
        endpoint.publish("db", [listener(port)], cut=False)
        with connect(port) as first:
            wait_for("the first to wait", 5, lambda: waiting(endpoint) == 1)
            endpoint.publish("db", [listener(port, greeters[1].route)], cut=False)
            assert greeting(first) == "db.1", "it is not held and sent away"
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            other = int(probe.getsockname()[1])
        endpoint.publish("x", [listener(other, greeters[0].route, name="x")])


def test_a_new_manager_lets_go_who_waited_while_there_was_none(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    runtime: DockerRuntime,
    tmp_path: Path,
) -> None:
    """The former one's place was free: one client was held in it, and has to come again."""
    endpoint.publish("db", [listener(port)], cut=False)
    endpoint.close()
    clients = [connect(port) for _ in range(6)]
    wait_for("all but one to wait", 5, lambda: waiting(endpoint) == 5)
    again = HaproxyEndpoint(tmp_path / "endpoint", runtime, bind_address)
    again.publish("db", [listener(port, greeters[1].route)], cut=False)
    assert sorted(greeting(client) for client in clients) == ["", *["db.1"] * 5]
    for client in clients:
        client.close()
    again.close()


def test_another_service_is_not_disturbed(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter], port: int
) -> None:
    """A reload keeps what is open, and old connections can still be told apart and cut."""
    old, new = greeters
    endpoint.publish("db", [listener(port, old.route)])
    former = connect(port)
    assert greeting(former) == "db.0"
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        other = int(probe.getsockname()[1])
    endpoint.publish("x", [listener(other, new.route, name="x")])
    with connect(other) as client:
        assert greeting(client) == "db.1"
    assert is_open(former)

    def is_cut() -> bool:
        endpoint.publish("db", [listener(port, new.route)])
        return not is_open(former)

    wait_for("the client of the worker before the reload to be cut off", 3, is_cut)
    endpoint.publish("x", [])
    with pytest.raises(ConnectionRefusedError):
        connect(other)


def test_what_is_published_survives_the_proxy_and_the_manager(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    runtime: DockerRuntime,
    client: docker.DockerClient,
    manager_id: str,
    tmp_path: Path,
) -> None:
    old, new = greeters
    endpoint.publish("db", [listener(port, old.route)])
    container = client.containers.get(f"hamanager-{manager_id}.haproxy")
    container.kill()
    with pytest.raises(EndpointFailedError):
        endpoint.publish("db", [listener(port, new.route)])
    again = HaproxyEndpoint(tmp_path / "endpoint", runtime, bind_address)
    again.check()
    with connect(port) as found:
        assert greeting(found) == "db.1", "what was written while it was down is in force"
    again.close()


def test_the_proxy_can_change_nothing_of_the_manager_s(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    client: docker.DockerClient,
    manager_id: str,
    tmp_path: Path,
) -> None:
    endpoint.publish("db", [listener(port, greeters[0].route)])
    container = client.containers.get(f"hamanager-{manager_id}.haproxy")
    tried = container.exec_run(["/bin/sh", "-c", "echo x >> /hamanager/etc/haproxy.cfg"])
    assert tried.exit_code != 0
    tried = container.exec_run(["/bin/sh", "-c", "ln -sf /etc/passwd /hamanager/etc/haproxy.cfg"])
    assert tried.exit_code != 0
    for name in ("", "etc", "etc/haproxy.cfg", "listeners.json"):
        assert (tmp_path / "endpoint" / name).stat().st_uid == os.geteuid()
    # It can put a link where its socket was; the manager follows none.
    container.exec_run(["/bin/sh", "-c", "cd /hamanager/run && ln -sf /etc/passwd control.sock"])
    with pytest.raises(EndpointFailedError, match="no socket"):
        endpoint.connections("db", "db.0")


def test_the_engine_brings_a_crashed_proxy_back_by_itself(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    client: docker.DockerClient,
    manager_id: str,
) -> None:
    endpoint.publish("db", [listener(port, greeters[0].route)])
    container = client.containers.get(f"hamanager-{manager_id}.haproxy")
    # As a crash: from inside, which the engine takes for nobody's wish.
    container.exec_run(["/bin/sh", "-c", "kill -9 $(pidof haproxy)"], user="root", privileged=True)
    began = time.monotonic()

    def answers() -> bool:
        with contextlib.suppress(OSError), connect(port) as found:
            return greeting(found) == "db.0"
        return False

    wait_for("the proxy to be back", 10, answers)
    assert time.monotonic() - began < 10


def test_a_hung_proxy_is_replaced_and_delays_nobody_for_long(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    client: docker.DockerClient,
    manager_id: str,
) -> None:
    old, new = greeters
    endpoint.publish("db", [listener(port, old.route)])
    client.containers.get(f"hamanager-{manager_id}.haproxy").pause()
    for answer in ("does not answer at", "is being brought back"):  # asked once, and not again
        with pytest.raises(EndpointFailedError, match=answer):
            endpoint.publish("db", [listener(port, new.route)])

    def replaced() -> bool:
        with contextlib.suppress(EndpointFailedError):
            endpoint.check()
            return True
        return False

    wait_for("the proxy to be replaced", 40, replaced)
    with connect(port) as found:
        assert greeting(found) == "db.1"


def test_nothing_runs_without_a_listener(
    endpoint: HaproxyEndpoint,
    greeters: tuple[Greeter, Greeter],
    port: int,
    client: docker.DockerClient,
    manager_id: str,
) -> None:
    endpoint.publish("mongo", [])
    labels: dict[str, str | list[str] | bool] = {"label": f"hamanager.manager={manager_id}"}
    assert client.containers.list(all=True, filters=labels) == []
    endpoint.publish("db", [listener(port, greeters[0].route)])
    [container] = client.containers.list(all=True, filters=labels)
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    endpoint.publish("db", [])
    assert client.containers.list(all=True, filters=labels) == []


def test_a_port_that_is_taken_is_told(
    endpoint: HaproxyEndpoint, greeters: tuple[Greeter, Greeter]
) -> None:
    taken = greeters[1].port
    with pytest.raises(EndpointFailedError, match=str(taken)):
        endpoint.publish("db", [listener(taken, greeters[0].route)])


def test_a_stranger_s_container_is_left_alone(
    runtime: DockerRuntime, client: docker.DockerClient, image: str, manager_id: str, tmp_path: Path
) -> None:
    stranger = client.containers.create(image, "true", name=f"hamanager-{manager_id}.haproxy")
    try:
        sidecar = Sidecar("haproxy", image, "true", (tmp_path, "/x"), (tmp_path, "/y"))
        with pytest.raises(Exception, match="not made by this manager"):
            runtime.start_sidecar(sidecar)
        with pytest.raises(Exception, match="not made by this manager"):
            runtime.remove_sidecar("haproxy")
    finally:
        stranger.remove(force=True)
