"""The README's commands, through the program and a running daemon."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from hamanager.chaos.sandbox import PROGRAM, Sandbox, wait_for
from tests.support.interrupts import heed_interrupts


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.command("create", "db", "--engine", "redis", "--instances", "2")
        running.command("create", "docs", "--engine", "mongodb")
        yield running
        print(running.daemon_log()[-20_000:])


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["scale", "docs:instances=2"], 2, "1, 3 or 5"),
        (["scale", "db:instances=zero"], 2, "zero"),
        (["scale", "nosuch=2"], 1, "nosuch"),
        (["scale", "db:colour=red"], 2, "colour"),
        (["scale", "db:memory=1K"], 2, "1K"),
        (["scale", "db=1=2"], 2, "db=1=2"),
        (["scale", "db="], 2, "db="),
        (["scale", "db"], 2, "db"),
        (["scale", "db:instances=1", "nosuch=2"], 1, "nosuch"),
        (["create", "db", "--engine", "redis"], 1, "exists already"),
        (["create", "a b", "--engine", "redis"], 2, "a b"),
        (["create", "x", "--engine", "oracle"], 2, "oracle"),
        (["restart", "db.7"], 1, "db.7"),
        (["destroy", "nosuch", "--yes"], 1, "nosuch"),
        (["destroy", "db"], 2, "--yes"),
        (["info", "nosuch"], 1, "nosuch"),
        (["history", "nosuch"], 1, "nosuch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_says_one_sentence_and_changes_nothing(
    sandbox: Sandbox, words: list[str], exit_code: int, said: str
) -> None:
    before = [sandbox.record("db"), sandbox.record("docs"), sandbox.specs()]
    done = sandbox.run(*words)
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert [sandbox.record("db"), sandbox.record("docs"), sandbox.specs()] == before


def test_info_is_valid_yaml_in_dotclouds_shape(sandbox: Sandbox) -> None:
    info = yaml.safe_load(sandbox.command("info", "db"))
    assert info["type"] == "redis"
    assert info["state"] == "running"
    assert info["ports"][0]["name"] == "redis"
    assert info["ports"][0]["url"].startswith("redis://default:")
    master, slaves = info["replication"][1]["master"], info["replication"][2]["slaves"]
    assert master.items() >= {"name": "db.0", "status": "UP"}.items()
    [slave] = slaves
    assert slave.items() >= {"name": "db.1", "replication_lag": "0s", "status": "UP"}.items()
    docs = yaml.safe_load(sandbox.command("info", "docs"))
    assert docs["instances"]["docs.0"]["state"] == "PRIMARY"


def test_info_as_json_is_the_documented_contract(sandbox: Sandbox) -> None:
    view = sandbox.ask("info", "db")
    assert {
        "name", "engine", "version", "state", "desired", "primary", "term", "url", "instances",
        "last_failover",
    } <= set(view)  # fmt: skip
    assert view["desired"] == {"instances": 2, "memory_bytes": None}
    instance = view["instances"][1]
    assert {"name", "role", "state", "address", "lag_seconds", "sync", "memory"} <= set(instance)
    assert instance["role"] == "standby"
    assert instance["memory"]["used_bytes"] > 0
    assert {service["name"] for service in sandbox.ask("info")} == {"db", "docs"}


def test_status_and_history(sandbox: Sandbox) -> None:
    assert "db.0: up" in sandbox.command("status", "db")
    told = sandbox.command("history", "db")
    assert "create db" in told
    assert "1. " in told


def test_watch_prints_documents_until_it_is_interrupted(sandbox: Sandbox) -> None:
    with subprocess.Popen(
        [*PROGRAM, "info", "db", "--watch"],
        env=sandbox.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as watching:
        assert watching.stdout is not None
        printed = ""
        while printed.count("\n---") + printed.startswith("---") < 2:
            printed += watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        rest, errors = watching.communicate(timeout=10)
    assert "Traceback" not in errors
    documents = [d for d in yaml.safe_load_all(printed + rest) if d]
    assert len(documents) >= 2
    assert documents[0]["type"] == "redis"


def test_memory_is_limited_without_a_restart(sandbox: Sandbox) -> None:
    before = {i: sandbox.container(i).attrs["State"]["StartedAt"] for i in ("db.0", "db.1")}
    sandbox.command("scale", "db:memory=256M")
    for name, started_at in before.items():
        container = sandbox.container(name)
        assert container.attrs["HostConfig"]["Memory"] == 256 * 1024**2
        assert container.attrs["State"]["StartedAt"] == started_at
    assert sandbox.ask("info", "db")["desired"]["memory_bytes"] == 256 * 1024**2


def test_state_is_private_and_secrets_are_nowhere_else(sandbox: Sandbox) -> None:
    assert stat.S_IMODE(sandbox.home.stat().st_mode) == 0o700
    for path in sandbox.home.iterdir():
        if path.name.startswith("hamanager.db") or path.is_socket():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    secrets = sandbox.context("db").secrets.values()
    shown = [
        sandbox.daemon_log(),
        sandbox.command("history", "db"),
        sandbox.command("status", "db"),
    ]
    for name in ("db.0", "db.1"):
        container = sandbox.container(name)
        shown += [json.dumps(container.attrs), container.logs().decode(errors="replace")]
        shown += [" ".join(process) for process in container.top()["Processes"]]
    for secret in secrets:
        assert not any(secret in text for text in shown)


def test_two_managers_on_one_engine_stay_apart(sandbox: Sandbox) -> None:
    with Sandbox() as other:
        other.command("create", "db", "--engine", "redis")
        assert other.container("db.0").name != sandbox.container("db.0").name
        other.command("destroy", "db", "--yes")
    assert sandbox.ask("info", "db")["state"] == "running"


def test_a_second_daemon_on_the_same_state_is_refused(sandbox: Sandbox) -> None:
    done = sandbox.run("serve")
    assert done.returncode == 1
    assert "another daemon" in done.stderr
    assert sandbox.ask("info", "db")["state"] == "running"


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: os.PathLike[str]) -> None:
    done = subprocess.run(
        [*PROGRAM, "info"],
        env={**os.environ, "HAMANAGER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "hamanager serve" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_destroyed_services_leave_their_history(sandbox: Sandbox) -> None:
    sandbox.command("create", "gone", "--engine", "redis")
    sandbox.command("destroy", "gone", "--yes")
    wait_for("the service to be gone", 10, lambda: sandbox.ask("info", "gone") is None)
    assert "destroy gone" in sandbox.command("history", "gone")
