"""Whom the manager tells, of what, and that nothing waits for it."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from hamanager.api.views import ServiceState
from hamanager.cli.main import app
from hamanager.daemon.events import Event, EventKind, event_of, event_of_state
from hamanager.daemon.hook_file import Format, Hook, load_hooks
from hamanager.daemon.hooks import Teller, message
from hamanager.daemon.telling import Telling
from hamanager.errors import HamanagerError, UsageError
from hamanager.model.history import HistoryEntry
from tests.support.runtimes import wait_until

RUNNING, DEGRADED, DOWN = ServiceState.RUNNING, ServiceState.DEGRADED, ServiceState.DOWN
FAILOVER = Event(event=EventKind.FAILOVER, service="db", at=1.0, text="done", run="r", seconds=0.2)
URL = "https://hooks.invalid/secret"


def hook(**fields: Any) -> Hook:
    named = {"name": "one", "events": [EventKind.FAILOVER]}
    target = {} if {"url", "command"} & fields.keys() else {"url": URL}
    return Hook(**{**named, **target, **fields})


def entry(kind: str, playbook: str, **fields: Any) -> HistoryEntry:
    known = {"at": 1.0, "service": "db", "text": "t", "run": "r", "kind": kind}
    return HistoryEntry(**{**known, "playbook": playbook, **fields})


# --- What is told -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (entry("decision", "fail over"), EventKind.FAILOVER_BEGINS),
        (entry("outcome", "fail over"), EventKind.FAILOVER),
        (entry("outcome", "fail over", ok=False), EventKind.FAILOVER_FAILED),
        (entry("outcome", "adopt"), EventKind.FAILOVER),
        (entry("decision", "switchover"), EventKind.SWITCHOVER_BEGINS),
        (entry("outcome", "switchover"), EventKind.SWITCHOVER),
        (entry("outcome", "mark synchronized"), EventKind.COPIED),
        (entry("outcome", "mark synchronized", ok=False), None),
        (entry("step", "fail over"), None),
        (entry("outcome", "attach"), None),
        (entry("command", ""), None),
    ],
)
def test_what_the_history_tells(told: HistoryEntry, kind: EventKind | None) -> None:
    event = event_of(told, "h1")
    assert (event.event if event else None) == kind
    assert event is None or (event.manager, event.run) == ("h1", "r")


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (None, RUNNING, None),
        (None, DEGRADED, EventKind.DEGRADED),
        (RUNNING, DEGRADED, EventKind.DEGRADED),
        (DEGRADED, DEGRADED, None),
        (DEGRADED, RUNNING, EventKind.HEALTHY),
        (RUNNING, ServiceState.FAILING_OVER, EventKind.DOWN),
        (ServiceState.FAILING_OVER, DOWN, None),
        (RUNNING, ServiceState.SYNCHRONIZING, None),
    ],
)
def test_what_a_state_tells(
    before: ServiceState | None, now: ServiceState, kind: EventKind | None
) -> None:
    event = event_of_state("db", before, now, 1.0, "why", "h1")
    assert (event.event if event else None) == kind


def test_a_message_is_signed_with_its_time() -> None:
    told = message(FAILOVER, hook(), "key", 1234.5)
    signed = hmac.new(b"key", b"1234." + told.body, hashlib.sha256).hexdigest()
    assert told.headers["X-Hamanager-Signature"] == f"sha256={signed}"
    assert told.headers["X-Hamanager-Timestamp"] == "1234"
    assert json.loads(told.body)["event"] == "failover"
    assert "X-Hamanager-Signature" not in message(FAILOVER, hook(), "", 1.0).headers


def test_a_message_for_people() -> None:
    told = json.loads(message(FAILOVER, hook(format=Format.SLACK), "", 1.0).body)
    assert told == {"text": "db: failover: done (0.200 s); `hamanager why db --run r`"}


# --- How it is told -----------------------------------------------------------------------------


def posting(answers: list[int | Exception], heard: list[httpx.Request]) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(request)
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return httpx.Response(given)

    return httpx.Client(transport=httpx.MockTransport(answer))


def teller(made: Hook, client: httpx.Client | None = None) -> Teller:
    found = Teller(made, lambda: 1.0, client)
    found._pause = lambda seconds: None  # type: ignore[method-assign]
    return found


def test_a_webhook_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k\n")
    heard: list[httpx.Request] = []
    client = posting([500, httpx.ConnectError("no"), 204], heard)
    teller(hook(secret_file=str(tmp_path / "key")), client).carry_out(FAILOVER)
    assert len(heard) == 3
    assert heard[2].headers["X-Hamanager-Signature"].startswith("sha256=")


def test_a_webhook_that_does_not_work_is_said_without_its_address() -> None:
    client = posting([500, httpx.ReadTimeout("slow"), 404], [])
    with pytest.raises(HamanagerError) as told:
        teller(hook(), client).carry_out(FAILOVER)
    assert str(told.value) == "not told in 3 tries: it answered 404"


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(HamanagerError, match="the secret of hook 'one' cannot be read"):
        teller(hook(secret_file=str(tmp_path / "none")), posting([], [])).carry_out(FAILOVER)


def test_a_command_gets_it_on_its_input_and_nothing_of_the_managers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMANAGER_TOKEN_FILE", "/secret")
    script = f"cat > {tmp_path}/told; env > {tmp_path}/env"
    teller(hook(command=("/bin/sh", "-c", script))).carry_out(FAILOVER)
    assert json.loads((tmp_path / "told").read_text())["service"] == "db"
    known = (tmp_path / "env").read_text()
    assert "HAMANAGER_EVENT=failover\n" in known
    assert "TOKEN" not in known


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo broken >&2; exit 3", "it ended with 3: broken"),
        ("sleep 60 & sleep 60", "it had not ended after 0.2 s and was killed"),
    ],
)
def test_a_command_that_fails_or_hangs(script: str, sentence: str) -> None:
    made = hook(command=("/bin/sh", "-c", script), tries=1, timeout_seconds=0.2)
    with pytest.raises(HamanagerError, match=sentence):
        teller(made).carry_out(FAILOVER)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(HamanagerError, match="/no/such: No such file"):
        teller(hook(command=("/no/such",), tries=1)).carry_out(FAILOVER)


def test_one_that_hangs_delays_neither_another_one_nor_the_manager() -> None:
    ended, heard = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        ended.wait(20)
        return httpx.Response(200)

    def hear(_: httpx.Request) -> httpx.Response:
        heard.set()
        return httpx.Response(200)

    clients = [httpx.Client(transport=httpx.MockTransport(how)) for how in (hang, hear)]
    tellers = [Teller(hook(name=f"h{n}"), client=client) for n, client in enumerate(clients)]
    for one in tellers:
        one.start()
    try:
        for _ in range(2_000):  # more than may wait
            for one in tellers:
                one.tell(FAILOVER)
        assert heard.wait(10)
    finally:
        ended.set()
        for one in tellers:
            one.stop()


# --- The file -----------------------------------------------------------------------------------

GOOD = f"hooks:\n  - {{name: one, url: '{URL}', events: [failover, degraded], services: [db]}}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hooks: [", "it is no YAML"),
        ("hooks: 3", "are wrong at hooks: "),
        ("hook: []", "are wrong at hook: "),
        ("hooks: [{name: x, events: [failover]}]", "name a url or a command, one of both"),
        ("hooks: [{name: x, url: 'ftp://x', events: [failover]}]", "a url begins with https://"),
        ("hooks: [{name: x, url: 'http://x', events: [never]}]", r"wrong at hooks.0.events.0: "),
        ("hooks: [{name: X, url: 'http://x', events: [failover]}]", r"wrong at hooks.0.name: "),
        (GOOD + GOOD.removeprefix("hooks:\n"), "two are called 'one'"),
    ],
)
def test_a_faulty_file_is_said_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "hooks.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=sentence) as told:
        load_hooks(file)
    assert "\n" not in str(told.value)


def test_a_file_that_everybody_may_change_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "hooks.yaml"
    file.write_text(GOOD)
    file.chmod(0o666)
    with pytest.raises(UsageError, match="everybody may write there"):
        load_hooks(file)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_hooks(tmp_path / "none")


def test_what_a_file_says_and_a_try(tmp_path: Path) -> None:
    file = tmp_path / "hooks.yaml"
    script = f"[/bin/sh, -c, 'cat > {tmp_path}/told']"
    file.write_text(f"{GOOD}  - {{name: two, command: {script}, events: [down]}}\n")
    told = CliRunner().invoke(app, ["hook", "check", "--file", str(file)]).output
    assert told == (
        "one: a webhook, as json, told of failover, degraded of db\n"
        "two: the command /bin/sh, told of down of every service\n"
    )
    tried = CliRunner().invoke(app, ["hook", "test", "two", "--file", str(file)])
    assert (tried.exit_code, tried.output) == (0, "two: told\n")
    assert json.loads((tmp_path / "told").read_text())["event"] == "down"
    wrong = CliRunner().invoke(app, ["hook", "test", "three", "--file", str(file)])
    assert wrong.exit_code == 2
    assert "there are one, two" in wrong.output


# --- All of it ----------------------------------------------------------------------------------


def writing(directory: Path, on: str) -> str:
    """A file with one hook that leaves a file for each event."""
    script = f"cat > {directory}/$$; mv {directory}/$$ {directory}/told$$-$HAMANAGER_EVENT"
    return f"hooks:\n  - {{name: one, command: [/bin/sh, -c, '{script}'], events: [{on}]}}\n"


def test_the_manager_tells_of_its_runs_and_of_states(tmp_path: Path) -> None:
    file = tmp_path / "hooks.yaml"
    file.write_text(writing(tmp_path, "failover, degraded, healthy"))
    seen = {"db": (RUNNING, "well", 1.0)}

    def told() -> list[str]:
        return sorted(path.name.partition("-")[2] for path in tmp_path.glob("told*"))

    with Telling(file, "h1").watch(lambda: seen) as telling:
        telling.note(entry("outcome", "fail over"))
        telling.note(entry("outcome", "attach"))
        telling.look()
        seen["db"] = (DEGRADED, "db.1 is down", 2.0)
        wait_until(lambda: "degraded" in told())
        seen["db"] = (RUNNING, "well", 3.0)
        wait_until(lambda: told() == ["degraded", "failover", "healthy"])
        # A faulty change leaves what there was; a good one is in force without a restart.
        file.write_text("hooks: [")
        time.sleep(1.1)
        telling.note(entry("outcome", "fail over"))
        wait_until(lambda: told().count("failover") == 2)
        file.write_text(writing(tmp_path, "switchover"))
        wait_until(
            lambda: [one.hook.events for one in telling._tellers] == [(EventKind.SWITCHOVER,)]
        )
        telling.note(entry("outcome", "switchover"))
        wait_until(lambda: "switchover" in told())


def test_without_a_file_nothing_is_told() -> None:
    with Telling(None, "h1") as telling:
        telling.note(entry("outcome", "fail over"))
        assert telling._looking is None
