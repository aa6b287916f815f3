"""The way to an engine over SSH, with a program of that name that does as told."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker.tunnel import Tunnel

WORKS = """#!/usr/bin/env python3
import pathlib, socket, sys, time
pathlib.Path(sys.argv[0]).with_name("words").write_text(" ".join(sys.argv[1:]))
near = sys.argv[sys.argv.index("-L") + 1].partition(":")[0]
server = socket.socket(socket.AF_UNIX)
server.bind(near)
server.listen()
pathlib.Path(sys.argv[0]).with_name("pid").write_text(str(__import__("os").getpid()))
time.sleep(60)
"""
REFUSED = """#!/bin/sh
echo "Host key verification failed." >&2
exit 255
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    made = Tunnel("ssh://root@10.0.0.2:2222")
    yield made
    made.close()


def write(programs: Path, text: str) -> None:
    program = programs / "ssh"
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def connects(url: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(url.removeprefix("unix://"))


def test_it_forwards_a_socket_and_asks_nobody(programs: Path, tunnel: Tunnel) -> None:
    write(programs, WORKS)
    connects(tunnel.url())
    words = (programs / "words").read_text()
    assert "BatchMode=yes" in words
    assert "-l root -p 2222 -L" in words
    assert words.endswith(":/var/run/docker.sock -- 10.0.0.2")


def test_it_is_opened_again_when_it_has_ended(programs: Path, tunnel: Tunnel) -> None:
    write(programs, WORKS)
    first = tunnel.url()
    assert tunnel._process is not None
    tunnel._process.kill()
    tunnel._process.wait()
    assert tunnel.url() == first, "clients keep the name"
    connects(first)


def test_why_it_cannot_be_opened(programs: Path, tunnel: Tunnel) -> None:
    write(programs, REFUSED)
    with pytest.raises(
        RuntimeFailedError, match=r"^ssh does not reach 10.0.0.2: Host key verification failed\.$"
    ):
        tunnel.url()


def test_nothing_of_it_is_left(programs: Path, tunnel: Tunnel) -> None:
    write(programs, WORKS)
    near = Path(tunnel.url().removeprefix("unix://"))
    while not (programs / "pid").exists():
        time.sleep(0.01)
    tunnel.close()
    assert not near.parent.exists()
    assert not Path(f"/proc/{(programs / 'pid').read_text()}").exists()
