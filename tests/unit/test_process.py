"""What long-lived processes tell whoever started them."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hamanager.cli.main import app
from hamanager.daemon.process import SELDOM, shorten_collections, tell_ready
from hamanager.daemon.remote import Listen


def test_a_service_manager_hears_that_the_work_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, place in (
        (str(tmp_path / "ready"), str(tmp_path / "ready")),
        (f"\0{tmp_path}", f"@{tmp_path}"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(address)
            listening.settimeout(2)
            monkeypatch.setenv("NOTIFY_SOCKET", place)
            tell_ready()
            assert listening.recv(100) == b"READY=1"
    tell_ready()  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell_ready()


def test_what_lives_as_long_as_the_process_is_left_to_no_collector() -> None:
    before = gc.get_threshold()
    try:
        shorten_collections()
        assert gc.get_freeze_count() > len(gc.get_objects())
        assert gc.get_threshold() == (*before[:2], SELDOM)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_a_unit_says_by_variables_what_a_manager_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr("hamanager.daemon.serve.serve", lambda *words: told.extend(words))
    for name, value in {
        "HOME": str(tmp_path), "NAME": "h1", "ON": "h1", "LISTEN": "10.0.0.1:7432",
        "STORE": "etcd://10.0.0.1/x",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"HAMANAGER_{name}", value)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 0, result.output
    assert isinstance(told[2], Listen)
    assert (told[2].host, told[2].port) == ("10.0.0.1", 7432)
    assert tuple(told[3:6]) == ("etcd://10.0.0.1/x", "h1", "h1")
