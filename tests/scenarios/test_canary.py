"""A write path that hangs while the server answers, and a failover that loses nothing: what the
manager's own writes tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.small_volumes import frozen, own_filesystem, small_volumes, why_not_frozen

LATE_SECONDS = 40.0
"""The machine may be busy, and it takes some beats until they need another block of the disk."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


def notes(sandbox: Sandbox) -> list[tuple[float, str]]:
    history = sandbox.ask("history", "db") or []
    return [(entry["at"], entry["text"]) for entry in history if entry["rule"] == "canary"]


@pytest.mark.long
@pytest.mark.parametrize("engine", ["mysql", "redis", "mongodb"])
def test_a_failover_is_no_stall_and_loses_nothing(sandbox: Sandbox, engine: str) -> None:
    size = 3 if engine == "mongodb" else 2
    sandbox.command("create", "db", "--engine", engine, "--instances", str(size))
    try:
        sandbox.command("set", "db", "--canary")
        assert "canary: writes once a second" in sandbox.command("info", "db")
        time.sleep(3)
        term = sandbox.record("db").term
        sandbox.container(sandbox.primary("db").name).kill()
        sandbox.wait_until_in_step("db", term, 60)
        time.sleep(2)
        lossy = engine == "redis"
        assert lossy or notes(sandbox) == []
    finally:
        sandbox.command("destroy", "db", "--yes")


@pytest.mark.long
def test_a_full_disk_is_told_while_the_server_answers(sandbox: Sandbox) -> None:
    release = small_volumes(sandbox, "db", 1, "700m")
    try:
        sandbox.command("create", "db", "--engine", "mysql")
        sandbox.command("set", "db", "--canary")
        time.sleep(2)
        with Faults(sandbox.docker, sandbox.manager_id) as faults:
            faults.fill_disk("db.0")
            full = time.time()
            wait_for("the canary to tell", LATE_SECONDS, lambda: bool(notes(sandbox)))
            [(at, text)] = notes(sandbox)
            print(f"told {at - full:.1f} s after the disk was full: {text}")
            assert "although db.0 answers" in text
            assert "no write has been acknowledged" in sandbox.command("info", "db")
    finally:
        release()
        sandbox.command("destroy", "db", "--yes")


@pytest.mark.long
@pytest.mark.skipif(bool(why_not_frozen()), reason=why_not_frozen())
def test_a_frozen_disk_is_told_within_5_s(sandbox: Sandbox, tmp_path: Path) -> None:
    with own_filesystem(sandbox, "db", tmp_path) as disk:
        try:
            sandbox.command("create", "db", "--engine", "mysql")
            sandbox.command("set", "db", "--canary")
            time.sleep(3)
            with frozen(disk):
                began = time.time()
                wait_for("the canary to tell", LATE_SECONDS, lambda: bool(notes(sandbox)))
                [(at, text)] = notes(sandbox)
            print(f"told {at - began:.1f} s after the disk was frozen: {text}")
            assert at - began < 5
            assert "although db.0 answers" in text
            sandbox.wait_for_state("db", "running", 30)
        finally:
            sandbox.command("destroy", "db", "--yes")
