"""A drill on a real service, as an operator at a shell would run it."""

from __future__ import annotations

import json

from hamanager.chaos.sandbox import Sandbox


def test_a_drill_kills_the_primary_and_measures(sandbox: Sandbox) -> None:
    sandbox.command("create", "db", "--engine", "redis", "--instances", "2")
    sandbox.wait_for_state("db", "running", 60, 2)
    refused = sandbox.run("drill", "db", "--fault", "kill")
    assert refused.returncode == 1
    assert "`hamanager set db --allow-drills` marks it; nothing was done" in refused.stderr
    assert sandbox.ask("info", "db")["last_failover"] is None

    sandbox.command("set", "db", "--allow-drills")
    page = sandbox.home / "drill.html"
    words = ("--fault", "kill", "--report", str(page), "--output", "json")
    done = sandbox.run("drill", "db", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    [result] = report["rounds"]
    assert (result["instance"], result["primary"]) == ("db.0", "db.1")
    assert 0 < result["detect_seconds"] <= result["promote_seconds"] < 2
    assert 0 < result["first_write_seconds"] < 2
    assert result["first_write_on"] == "db.1"
    assert result["first_write_seconds"] < result["healthy_seconds"] < 60
    assert result["acknowledged"] > 100
    assert result["recovered"]
    assert report["duplicate_primaries"] == 0
    assert report["failures"] == []
    assert "Drill: kill of db" in page.read_text()


def test_a_disk_of_the_whole_machine_is_not_filled(sandbox: Sandbox) -> None:
    options = ("--engine", "redis", "--instances", "2", "--allow-drills")
    sandbox.command("create", "db", *options)
    sandbox.wait_for_state("db", "running", 60, 2)
    refused = sandbox.run("drill", "db", "--fault", "disk-full")
    assert refused.returncode == 1
    assert "lies on the disk of the whole machine, which is not filled" in refused.stderr
