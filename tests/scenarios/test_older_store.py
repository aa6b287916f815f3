"""The store was restored from a copy that is older than the servers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hamanager import paths
from hamanager.chaos.sandbox import Stage, wait_for
from hamanager.errors import ServerError
from hamanager.model.snapshot import Role


def copied(source: Path, to: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)


@pytest.mark.parametrize("engine", ["redis", pytest.param("mysql", marks=pytest.mark.long)])
def test_what_was_written_since_is_not_discarded_without_a_persons_word(
    stage: Stage, engine: str, tmp_path: Path
) -> None:
    stage.command("create", "db", "--engine", engine, "--instances", "2")
    stage.wait_for_state("db", "running", 120, 2)
    store, saved = paths.database_path(stage.home), tmp_path / "copy.db"
    copied(store, saved)
    old = stage.primary("db").name
    stage.container(old).kill()
    wait_for("a failover", 20, lambda: stage.primary("db").name != old)
    stage.wait_for_state("db", "running", 120, 2)
    new = stage.primary("db").name
    writer = stage.start_writer("db")
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > 50)
    writer.stop()
    stage.kill_daemon()
    stage.container(new).kill()
    stage.container(old).kill()
    copied(saved, store)
    stage.container(old).start()
    stage.start_daemon()
    wait_for(
        "info to say that the store is older",
        30,
        lambda: "the store is older than the servers" in stage.ask("info", "db")["message"],
    )
    assert role(stage, old) is Role.STANDBY
    stage.container(new).start()
    wait_for("it to be back", 30, lambda: role(stage, new) is Role.STANDBY)
    stage.command("failover", "db", "--to", new, "--force")
    stage.wait_for_state("db", "running", 120, 2)
    assert stage.primary("db").name == new
    assert stage.lost("db", writer) == 0


def role(stage: Stage, instance: str) -> Role | None:
    target = next(t for t in stage.members("db") if t.name == instance)
    try:
        return stage.driver("db").probe(stage.context("db"), target).role
    except ServerError:
        return None
