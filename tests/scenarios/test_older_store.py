"""The store was restored from a copy that is older than the servers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hamanager import paths
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.errors import ServerError
from hamanager.model.snapshot import Role


def copied(source: Path, to: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)


@pytest.mark.parametrize("engine", ["redis", pytest.param("mysql", marks=pytest.mark.long)])
def test_what_was_written_since_is_not_discarded_without_a_persons_word(
    sandbox: Sandbox, engine: str, tmp_path: Path
) -> None:
    sandbox.command("create", "db", "--engine", engine, "--instances", "2")
    sandbox.wait_for_state("db", "running", 120, 2)
    store, saved = paths.database_path(sandbox.home), tmp_path / "copy.db"
    copied(store, saved)
    old = sandbox.primary("db").name
    sandbox.container(old).kill()
    wait_for("a failover", 20, lambda: sandbox.primary("db").name != old)
    sandbox.wait_for_state("db", "running", 120, 2)
    new = sandbox.primary("db").name
    writer = sandbox.start_writer("db")
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > 50)
    writer.stop()
    sandbox.kill_daemon()
    sandbox.container(new).kill()
    sandbox.container(old).kill()
    copied(saved, store)
    sandbox.container(old).start()
    sandbox.start_daemon()
    wait_for(
        "info to say that the store is older",
        30,
        lambda: "the store is older than the servers" in sandbox.ask("info", "db")["message"],
    )
    assert role(sandbox, old) is Role.STANDBY
    sandbox.container(new).start()
    wait_for("it to be back", 30, lambda: role(sandbox, new) is Role.STANDBY)
    sandbox.command("failover", "db", "--to", new, "--force")
    sandbox.wait_for_state("db", "running", 120, 2)
    assert sandbox.primary("db").name == new
    assert sandbox.lost("db", writer) == 0


def role(sandbox: Sandbox, instance: str) -> Role | None:
    target = next(t for t in sandbox.members("db") if t.name == instance)
    try:
        return sandbox.driver("db").probe(sandbox.context("db"), target).role
    except ServerError:
        return None
