"""A drill on a real service, as an operator at a shell would run it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hamanager.api.client import Client
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.model.drill import DrillResult, Outcome

HOOKS = """
hooks:
  - name: notes
    command: [sh, -c, "cat >> {heard}; echo >> {heard}"]
    events: [drill]
"""
AHEAD_SECONDS = 8.0
"""Until the schedules of a test are made."""


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


@pytest.mark.long
def test_drills_by_schedule_are_run_at_their_time_and_stand_in_the_report(tmp_path: Path) -> None:
    heard, hooks = tmp_path / "heard", tmp_path / "hooks.yaml"
    hooks.write_text(HOOKS.format(heard=heard))
    with Sandbox(serve_options=("--hooks", str(hooks))) as sandbox:
        try:
            _drill_by_schedule(sandbox, tmp_path, heard)
        finally:
            print(f"--- daemon log\n{sandbox.daemon_log()[-20_000:]}")


def _drill_by_schedule(sandbox: Sandbox, directory: Path, heard: Path) -> None:
    for name, instances in (("db", "2"), ("lone", "1")):
        options = ("--engine", "redis", "--instances", instances, "--allow-drills")
        sandbox.command("create", name, *options)
    sandbox.wait_for_state("db", "running", 60, 2)
    sandbox.wait_for_state("lone", "running", 60, 1)
    due_at = (time.time() + AHEAD_SECONDS) // 60 * 60 + 60
    at = datetime.fromtimestamp(due_at, UTC).strftime("%H:%M")
    sandbox.command("drill", "db", "--every", "7d", "--at", at, "--rounds", "2")
    sandbox.command("drill", "lone", "--every", "1d", "--at", at)
    assert f"db: kill, 2 rounds, every 7 days from {at} UTC" in sandbox.command("drill", "list")

    with Client.connect(sandbox.home) as client:

        def under_way() -> bool:
            return any(view.under_way for view in client.drill_schedules() if view.service == "db")

        wait_for("the drill to begin", 90, under_way)
        by_hand = sandbox.run("drill", "db", "--fault", "kill")
        assert by_hand.returncode == 1
        assert "a drill of 'db' is under way (kill, by schedule" in by_hand.stderr

        def results() -> list[DrillResult]:
            return [*client.drills("db"), *client.drills("lone")]

        wait_for("both drills to be told", 120, lambda: len(results()) == 2)
        done, refused = results()
        assert done.outcome is Outcome.PASSED, done.text
        assert done.due_at == refused.due_at == due_at
        assert 0 <= done.began_at - due_at < 30
        assert len(done.rounds) == 2
        assert all(r.recovered and r.first_write_seconds for r in done.rounds)
        assert refused.outcome is Outcome.REFUSED
        assert "has one instance" in refused.text
        assert not under_way()
        wait_for("the schedule to go on", 10, lambda: _next(client) == due_at + 7 * 86400)

    def events() -> list[dict[str, Any]]:
        return [json.loads(line) for line in heard.read_text().splitlines() if line]

    wait_for("the hook to hear of both", 20, lambda: heard.exists() and len(events()) == 2)
    assert {(e["event"], e["service"]) for e in events()} == {("drill", "db"), ("drill", "lone")}

    # A manager that starts anew runs neither of them again.
    sandbox.kill_daemon()
    sandbox.start_daemon()
    file, ca = directory / "drills.html", directory / "ca.pem"
    told = sandbox.command("drill", "report", "db", "--file", str(file), "--output", "json")
    report = json.loads(told)
    figures = report["all"]
    assert (figures["drills"], figures["passed"], figures["rounds"]) == (1, 1, 2)
    assert 0 < figures["rto_seconds_min"] <= figures["rto_seconds_max"] < 5
    assert figures["acknowledged"] > 100
    ca.write_text(sandbox.command("ca", "show"))
    sandbox.command("drill", "verify", str(file), "--ca", str(ca))
    file.write_bytes(file.read_bytes().replace(b"passed", b"Passed", 1))
    changed = sandbox.run("drill", "verify", str(file), "--ca", str(ca))
    assert changed.returncode == 1
    print(
        f"RTO {figures['rto_seconds_min']} to {figures['rto_seconds_max']} s, lost"
        f" {figures['lost']} of {figures['acknowledged']}; began"
        f" {done.began_at - due_at:.1f} s after its time"
    )
    with Client.connect(sandbox.home) as client:
        assert len(client.drills("db")) == 1


def _next(client: Client) -> float:
    return next(view.next_at for view in client.drill_schedules() if view.service == "db")
