"""Links that a process of fewer rights could plant where the manager writes, asks or gives away."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind
from hamanager.contracts.runtime import Runtime, Sidecar
from hamanager.endpoints.haproxy import endpoint as haproxy
from hamanager.endpoints.haproxy import shared
from hamanager.endpoints.haproxy.control import Control
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import EndpointFailedError, RuntimeFailedError
from hamanager.runtimes.docker import sidecars as docker_helpers
from tests.unit.test_haproxy_trouble import CountingRuntime

LISTENER = Listener(name="db", kind=ListenerKind.PRIMARY, host="127.0.0.1", port=20000, capacity=3)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    made = tmp_path / "victim"
    made.write_text("as it was")
    made.chmod(0o600)
    return made


@pytest.mark.parametrize(
    "planted",
    ["listeners.json", "listeners.json.new", "etc/haproxy.cfg", "etc/haproxy.cfg.new"],
)
def test_no_file_is_written_through_a_link(
    tmp_path: Path, victim: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy, "UP_SECONDS", -1.0)
    directory = tmp_path / "endpoint"
    (directory / planted).parent.mkdir(parents=True)
    (directory / planted).symlink_to(victim)
    endpoint = HaproxyEndpoint(directory, cast(Runtime, CountingRuntime()), lambda host: host)
    with suppress(EndpointFailedError):
        endpoint.publish("db", [LISTENER])
    assert "listen db" in (directory / "etc/haproxy.cfg").read_text()
    assert victim.read_text() == "as it was"
    assert victim.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("planted", ["endpoint", "endpoint/etc", "endpoint/run"])
def test_a_link_makes_room_for_a_directory(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy, "UP_SECONDS", -1.0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o750)
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(elsewhere)
    endpoint = HaproxyEndpoint(
        tmp_path / "endpoint", cast(Runtime, CountingRuntime()), lambda host: host
    )
    with suppress(EndpointFailedError):
        endpoint.publish("db", [LISTENER])
    assert not (tmp_path / planted).is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o750


@as_root
def test_a_directory_that_was_given_away_is_taken_back(tmp_path: Path) -> None:
    os.chown(tmp_path, 999, 999)
    shared.own_directory(tmp_path, shared.OWN)
    assert (tmp_path.stat().st_uid, tmp_path.stat().st_mode & 0o777) == (0, 0o700)


@as_root
def test_what_another_user_left_there_is_not_believed(tmp_path: Path) -> None:
    shared.replace(tmp_path / "ours", "x")
    shared.replace(tmp_path / "theirs", "x")
    os.chown(tmp_path / "theirs", 999, 999)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    read = [shared.read(tmp_path / name) for name in ("ours", "theirs", "pipe", "link", "none")]
    assert read == ["x", None, None, None, None]


@as_root
def test_nothing_is_given_away_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run").symlink_to(elsewhere)
    sidecar = Sidecar("x", "image", "true", (tmp_path, "/etc"), (tmp_path / "run", "/run"))
    with pytest.raises(RuntimeFailedError, match="nothing was started"):
        docker_helpers._user(sidecar)
    assert elsewhere.stat().st_uid == 0


def test_nobody_is_asked_through_a_link(tmp_path: Path) -> None:
    """A socket of somebody else's, which a planted link leads to, is sent nothing."""
    heard = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "theirs"))
        listening.listen(1)

        def hear() -> None:
            with suppress(OSError):
                heard.append(listening.accept())

        threading.Thread(target=hear, daemon=True).start()
        (tmp_path / "run").mkdir()
        (tmp_path / "run/control.sock").symlink_to(tmp_path / "theirs")
        with pytest.raises(EndpointFailedError, match="no socket"):
            Control(tmp_path / "run/control.sock").ask(["show info"])
        listening.shutdown(socket.SHUT_RDWR)
    assert heard == []
