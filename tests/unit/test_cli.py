"""The commands, against the API on a real Unix socket with a manager that has no servers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
import yaml
from typer.testing import CliRunner, Result

from hamanager import paths
from hamanager.cli import progress as waiting
from hamanager.cli.main import app
from hamanager.daemon.http import make_app
from hamanager.model.image import PinnedImage
from hamanager.model.snapshot import Contact, Observation, Process, Relation, SyncProgress
from hamanager.stores.repository import load_record, load_spec, save_record, service_names
from tests.support.altered import altered
from tests.support.interrupts import heed_interrupts
from tests.unit.fakes import MB, SECRET, FakeManager, standby_seen

Run = Callable[..., Result]


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path))
    monkeypatch.delenv("HAMANAGER_MANAGER", raising=False)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    return tmp_path


@pytest.fixture
def daemon(home: Path, manager: FakeManager) -> Iterator[None]:
    """The API where the commands look for it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket_path(home)))
        listener.listen(16)
        server = uvicorn.Server(
            uvicorn.Config(make_app(manager), log_level="error", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def run(daemon: None) -> Run:
    return lambda *words: CliRunner().invoke(app, list(words), prog_name="hamanager")


@pytest.fixture
def db(run: Run, manager: FakeManager) -> None:
    """A redis service `db` with one instance that is up."""
    assert run("create", "db", "--engine", "redis", "--no-wait").exit_code == 0
    manager.fulfil("db")


def test_create_waits_until_it_runs(run: Run, manager: FakeManager) -> None:
    manager.steps = [lambda: None, lambda: None, lambda: manager.fulfil("db")]
    result = run("create", "db", "--engine", "redis", "--memory", "100M")
    assert result.exit_code == 0, result.output
    assert result.output == (
        "db.0: up\ndb: running, 1 of 1 instance up, 128MB of memory each (db.0 primary)\n"
    )


@pytest.mark.usefixtures("db")
def test_scale_tells_stages_and_tenths_on_a_pipe(run: Run, manager: FakeManager) -> None:
    def copying(percent: float) -> Callable[[], None]:
        total = 200 * MB
        done = int(total * percent / 100)
        sync = SyncProgress("file copy", percent, done, total, 100.0 * MB, 2 - percent / 50)
        return lambda: manager.fulfil("db", standby_seen(Relation.SEEDING, sync, None))

    steps = [copying(percent) for percent in (0.0, 4.0, 9.0, 51.0, 55.0, 99.0)]
    manager.steps = [lambda: None, *steps, lambda: manager.fulfil("db")]
    result = run("scale", "db:instances=2")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "db.0: up",
        "db.1: file copy 0%, 0B of 200MB, 100MB/s, 2s left",
        "db.1: file copy 51%, 102MB of 200MB, 100MB/s, 1s left",
        "db.1: file copy 99%, 198MB of 200MB, 100MB/s, 0s left",
        "db.1: up",
        "db: running, 2 of 2 instances up (db.0 primary, db.1 standby)",
    ]


@pytest.mark.usefixtures("db")
def test_memory_is_waited_for_until_every_limit_is_set(run: Run, manager: FakeManager) -> None:
    manager.steps = [lambda: None, lambda: None, lambda: manager.fulfil("db")]
    result = run("scale", "db:memory=128M")
    assert result.exit_code == 0
    assert "128MB of memory each" in result.output


@pytest.mark.usefixtures("db")
def test_no_wait_returns_at_once(run: Run) -> None:
    result = run("scale", "db=2", "--no-wait")
    assert result.exit_code == 0
    assert result.output.endswith("; the manager works on it\n")


@pytest.mark.usefixtures("db")
def test_waiting_is_bounded(run: Run, manager: FakeManager) -> None:
    manager.message = "db.1 is starting"
    result = run("scale", "db=2", "--timeout", "0.05")
    assert result.exit_code == 1
    assert result.stderr == (
        "hamanager: not finished within 0.05 s; the manager goes on with it"
        " (db: db.1 is starting)\n"
    )


@pytest.mark.usefixtures("db")
def test_restart(run: Run, manager: FakeManager) -> None:
    manager.steps = [lambda: None, lambda: None, lambda: manager.fulfil("db")]
    result = run("restart", "db.0")
    assert result.exit_code == 0, result.output
    loaded = load_spec(manager.store, "db")
    assert loaded is not None
    assert loaded[0].restarts == {"db.0": 1}


@pytest.mark.usefixtures("db")
def test_destroy_waits_until_it_is_gone(run: Run, manager: FakeManager) -> None:
    manager.steps = [lambda: None, lambda: None, lambda: manager.forget("db")]
    result = run("destroy", "db", "--yes")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "db: destroyed")
    assert run("info", "--output", "json").output == "[]\n"


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    ("words", "exit_code", "sentence"),
    [
        (["scale", "docs:instances=2"], 2, "a mongodb service can have 1, 3 or 5 instances, not 2"),
        (["scale", "db:instances=zero"], 2, "instances takes a whole number from 1 on"),
        (["scale", "db=2", "nosuch=2"], 1, "there is no service 'nosuch'"),
        (["scale", "db:colour=red"], 2, "'colour' is not something to scale"),
        (["scale", "db:memory=1K"], 2, "memory must be from 32M to 64G, not 1K"),
        (["scale", "db"], 2, "'db' says no value"),
        (["scale", "db=1=2"], 2, "'db=1=2' has more than one '='"),
        (["scale", "db="], 2, "'db=' says no value"),
        (["scale", "db=2", "db:instances=3"], 2, "db:instances is given twice"),
        (["create", "db", "--engine", "redis"], 1, "service 'db' exists already (engine redis)"),
        (["create", "a b", "--engine", "redis"], 2, "'a b' cannot be a service's name"),
        (["create", "x", "--engine", "oracle"], 2, "unknown engine 'oracle'"),
        (["create", "x", "--engine", "redis", "--memory", "much"], 2, "memory takes a size"),
        (["restart", "db"], 2, "'db' is not the name of an instance"),
        (["restart", "db.5"], 1, "there is no instance 'db.5'"),
        (["destroy", "db"], 2, "destroying 'db' removes all its data: confirm that with --yes"),
        (["destroy", "nosuch", "--yes"], 1, "there is no service 'nosuch'"),
        (["info", "nosuch"], 1, "there is no service 'nosuch'"),
        (["info", ""], 2, "'' cannot be a service's name"),
        (["status", "nosuch"], 1, "there is no service 'nosuch'"),
        (["history", "nosuch"], 1, "there is no service 'nosuch'"),
        (["info", "a/b"], 2, "'a/b' cannot be a service's name"),
    ],
)
def test_one_clear_sentence_and_nothing_changed(
    run: Run, manager: FakeManager, words: list[str], exit_code: int, sentence: str
) -> None:
    manager.commands.create("docs", "mongodb")
    before = [load_spec(manager.store, name) for name in service_names(manager.store)]
    result = run(*words)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith(f"hamanager: {sentence}")
    assert result.stderr.count("\n") == 1
    assert [load_spec(manager.store, name) for name in service_names(manager.store)] == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["create", "db"], "Error: Missing option '--engine'."),
        (["scale"], "Error: Missing argument 'NAME[:ACTION]=VALUE...'."),
        (["create", "db", "--engine", "redis", "--instances", "two"], "Error: Invalid value for"),
        (["conquer"], "Error: No such command 'conquer'."),
    ],
)
def test_wrong_usage(run: Run, words: list[str], sentence: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(sentence)


@pytest.mark.usefixtures("home")
def test_without_a_daemon_it_says_how_to_start_one(home: Path) -> None:
    for words in (["info"], ["scale", "db=2"], ["create", "db", "--engine", "redis"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert result.stderr == (
            f"hamanager: no hamanager daemon answers at {home}/hamanager.sock; start one with"
            " `hamanager serve`\n"
        )


@pytest.mark.usefixtures("db")
def test_info_in_both_forms(run: Run) -> None:
    assert yaml.safe_load(run("info", "db").output)["state"] == "running"
    assert json.loads(run("info", "db", "-o", "json").output)["primary"] == "db.0"
    assert run("info").output.splitlines()[1].split() == [
        "db",
        "redis",
        "1",
        "running",
        "unlimited",
    ]
    assert [v["name"] for v in json.loads(run("info", "-o", "json").output)] == ["db"]


@pytest.mark.usefixtures("db")
def test_status_and_history(run: Run) -> None:
    assert run("status", "db").output.startswith("db.0: up\n")
    assert json.loads(run("status", "db", "-o", "json").output)["name"] == "db"
    assert "an operator asked: create db" in run("history", "db").output
    assert json.loads(run("history", "db", "-o", "json").output)[0]["kind"] == "command"


@pytest.mark.usefixtures("db")
def test_why_and_what_if(run: Run) -> None:
    told = run("why", "db").output
    assert told.startswith("db, now: ")
    assert " -> " in told
    assert json.loads(run("why", "db", "-o", "json").output)["service"] == "db"
    foreseen = run("what-if", "db", "--kill", "db.0").output
    assert foreseen.startswith("db, kill db.0: nothing is touched; as seen ")
    assert "\n    lost: " in foreseen
    both = run("what-if", "db", "--hang", "db.0", "--and", "db.0")
    assert both.exit_code == 2
    assert "'db.0' is said to fail twice" in both.output
    alone = run("what-if", "db", "--and", "db.0")
    assert alone.exit_code == 2
    assert "--and takes the kind of the other failure" in alone.output
    assert run("why", "db", "--at", "soon").exit_code == 2
    assert run("why", "db", "--at", "12:00", "--run", "x").exit_code == 2
    assert run("why", "db", "--run", "x").exit_code == 1


@pytest.mark.usefixtures("db")
def test_json_of_scale_is_a_list_and_nothing_else_is_on_stdout(
    run: Run, manager: FakeManager
) -> None:
    manager.steps = [lambda: None, lambda: None, lambda: manager.fulfil("db")]
    result = run("scale", "db=2", "--output", "json")
    assert [v["state"] for v in json.loads(result.stdout)] == ["running"]
    assert result.stderr.splitlines() == ["db.0: up", "db.1: up"]


@pytest.mark.usefixtures("db")
def test_nothing_shows_a_secret_but_the_url(run: Run) -> None:
    for words in (["info"], ["info", "db"], ["status", "db"], ["history", "db"], ["scale", "db=1"]):
        for form in ([], ["-o", "json"]):
            shown = run(*words, *form).output
            assert SECRET not in shown
            assert shown.count("app-1") == shown.count("redis://:app-1@")


@pytest.mark.usefixtures("db", "daemon")
def test_watching_on_a_pipe_gives_yaml_documents_until_ctrl_c() -> None:
    process = started("info", "db", "--watch")
    assert process.stdout is not None
    text = ""
    while text.count("version") < 2:
        text += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    documents = [d for d in yaml.safe_load_all(text + rest) if d]
    assert {d["type"] for d in documents} == {"redis"}


@pytest.mark.usefixtures("db", "daemon")
def test_ctrl_c_ends_the_waiting_not_the_work(manager: FakeManager) -> None:
    process = started("scale", "db=2")
    deadline = time.monotonic() + 10
    while manager.woken.count("db") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.startswith("hamanager: stopped waiting; the work goes on")
    loaded = load_spec(manager.store, "db")
    assert loaded is not None
    assert loaded[0].instances == 2


def test_version_and_help() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("hamanager ")
    for command in (
        "create",
        "scale",
        "info",
        "status",
        "history",
        "why",
        "what-if",
        "restart",
        "destroy",
        "demo",
        "set",
        "switchover",
        "failover",
        "discard",
        "pause",
        "resume",
        "url",
        "env",
        "run",
        "logs",
        "list",
        "managers",
    ):
        text = CliRunner().invoke(app, [command, "--help"]).output
        assert f"Example: hamanager {command}" in text
        assert len(text.splitlines()) < 40


def started(*words: str) -> subprocess.Popen[str]:
    """The program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "hamanager", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
        text=True,
    )


@pytest.mark.usefixtures("db")
def test_how_applications_connect(run: Run) -> None:
    assert run("url", "db").output == "redis://:app-1@10.0.0.1:7000/0\n"
    elsewhere = run("url", "db", "--at", "10.0.0.7").output
    assert elsewhere == "redis://:app-1@10.0.0.7:7000/0\n"
    assert "REDIS_HOST=10.0.0.7" in run("env", "db", "--at", "10.0.0.7").output
    refused = run("url", "db", "--at", "10.0.0.7:7000")
    assert (refused.exit_code, "is no address" in refused.output) == (2, True)
    told = run("env", "db").output
    assert "export HAMANAGER_DB_REDIS_HOST=10.0.0.1\n" in told
    dotcloud = json.loads(run("env", "db", "--format", "json", "--dotcloud").output)
    assert dotcloud["DOTCLOUD_DB_REDIS_PASSWORD"] == "app-1"
    none = run("url", "db", "--reads")
    assert (none.exit_code, "`hamanager set db --reads` makes one" in none.output) == (1, True)


def test_nothing_to_connect_to_yet(run: Run) -> None:
    assert run("create", "db", "--engine", "redis", "--no-wait").exit_code == 0
    result = run("url", "db")
    assert (result.exit_code, "still being set up" in result.output) == (1, True)


@pytest.mark.usefixtures("db")
def test_an_address_for_reading_is_a_setting(run: Run, manager: FakeManager) -> None:
    def wanted_image() -> float | None:
        loaded = load_spec(manager.store, "db")
        assert loaded is not None
        return loaded[0].reads_max_lag_seconds

    assert run("set", "db", "--reads").exit_code == 0
    assert wanted_image() == 10.0
    assert run("set", "db", "--reads-max-lag", "3").exit_code == 0
    assert wanted_image() == 3.0
    assert run("set", "db", "--reads-max-lag", "-1").exit_code == 2
    assert run("set", "db", "--no-reads").exit_code == 0
    assert wanted_image() is None
    assert run("create", "data", "--engine", "mongodb", "--reads", "--no-wait").exit_code == 2


# --- Another image ----------------------------------------------------------------------------

NINE = PinnedImage(id="sha256:redis:9", name="redis:9", version="9.0.0")
EIGHT = PinnedImage(id="sha256:redis:test", name="redis:test", version="8.0.1")


def test_upgrade_waits_until_it_is_over(run: Run, manager: FakeManager, db: None) -> None:
    def done() -> None:
        record, version = load_record(manager.store, "db")
        changed = altered(record.instances[0], image=NINE)
        save_record(manager.store, "db", record.with_instance(changed), version)

    manager.steps = [lambda: None, lambda: None, done]
    result = run("upgrade", "db", "--image", "redis:9")
    assert result.exit_code == 0, result.output
    assert "db: upgraded to redis:9 (8.0.1); there is one instance" in result.output
    assert manager.steps == []
    assert (
        "it runs from redis:9 (8.0.1) already" in run("upgrade", "db", "--image", "redis:9").output
    )


def test_upgrade_tells_where_it_has_stopped(run: Run, manager: FakeManager, db: None) -> None:
    def fails() -> None:
        record, version = load_record(manager.store, "db")
        failing = {"image": NINE, "former_image": EIGHT, "starts": 4}
        changed = altered(record.instances[0], **failing)
        save_record(manager.store, "db", record.with_instance(changed), version)
        manager.seen = {"db.0": Observation(Process.EXITED, Contact.REFUSED)}

    manager.steps = [lambda: None, fails]
    result = run("upgrade", "db", "--image", "redis:9")
    assert result.exit_code == 1
    assert "the upgrade has stopped: db.0 does not come up" in result.stderr
    assert run("upgrade", "nosuch", "--no-wait").exit_code == 1
    assert "Traceback" not in result.output


def test_managers(run: Run) -> None:
    lines = run("managers").output.splitlines()
    assert lines[0].split() == ["MANAGER", "STATE", "SINCE", "VERSION", "LEADS", "API"]
    assert lines[1].startswith("one *")
    assert "  alive  " in lines[1]
    assert lines[1].split()[-2:] == ["db", "-"]
    assert "silent for 1m15s" in lines[2]
    assert json.loads(run("managers", "--output", "json").output)[1]["silent_seconds"] == 75.0
