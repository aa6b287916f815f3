"""The shell that is a container's process 1: no container is needed to see what it does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamanager.contracts.driver import HELD_SECONDS
from hamanager_drivers import guard

SECONDS = 20
FOR_EVER = 3600
SERVER = """\
trap 'echo asked; exit 3' TERM
echo $$
while :; do sleep 0.02; done
"""


@pytest.fixture
def guards(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    (tmp_path / "server").write_text(SERVER)
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=SECONDS)


def start(guards: list[subprocess.Popen[str]], folder: Path) -> tuple[subprocess.Popen[str], int]:
    """The guard, and the server's number."""
    # A shell cannot trap what was ignored when it began, as SIGINT and SIGQUIT are below a job in
    # the background. In a container nothing is.
    words = ["/usr/bin/env", "--default-signal", "/bin/sh", "-c"]
    words.append(guard.guarded("/bin/sh ./server"))
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    guards.append(process)
    assert process.stdout is not None
    server = int(process.stdout.readline())
    # A container's process 1 ignores what it has no trap for; this one would end by it.
    deadline = time.monotonic() + SECONDS
    while not catches(process.pid, signal.SIGQUIT):
        assert time.monotonic() < deadline, "it set no trap"
        time.sleep(0.005)
    return process, server


def catches(process: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_sigterm_is_held_back_and_passed_on(
    guards: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process, _ = start(guards, tmp_path)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 3
    assert time.monotonic() - began >= HELD_SECONDS
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_requests_are_passed_on_at_once(
    guards: list[subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """Also while a request is held back."""
    monkeypatch.setattr(guard, "HELD_SECONDS", FOR_EVER)
    process, _ = start(guards, tmp_path)
    process.send_signal(signal.SIGTERM)
    process.send_signal(number)
    assert process.wait(SECONDS) == 3


def test_it_ends_with_a_server_that_crashes(
    guards: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "HELD_SECONDS", FOR_EVER)
    process, server = start(guards, tmp_path)
    process.send_signal(signal.SIGTERM)
    os.kill(server, signal.SIGKILL)
    assert process.wait(SECONDS) == 128 + signal.SIGKILL
