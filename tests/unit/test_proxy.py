"""`hamanager proxy`: what it keeps on its disk, and what it refuses."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hamanager.cli.main import app
from hamanager.contracts.endpoint import Listener, ListenerKind
from hamanager.contracts.routes import Told, Word
from hamanager.daemon.proxy import Notebook
from hamanager.paths import make_private, only_one
from tests.support.altered import altered

LISTENER = Listener(name="db", kind=ListenerKind.PRIMARY, host="10.0.0.1", port=20000)
TOLD = Told(
    after=0,
    version=9,
    services=frozenset({"db"}),
    words={"db": Word(version=4, listeners=(LISTENER,))},
    heard_seconds_ago=1.0,
)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    assert Notebook(path).read().words == {}
    notebook = Notebook(path)
    notebook.keep(TOLD)
    assert Notebook(path).read() == altered(TOLD, heard_seconds_ago=0.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_written_when_a_word_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    notebook = Notebook(path)
    notebook.keep(TOLD)
    written = path.stat().st_ino
    notebook.keep(altered(TOLD, version=12, heard_seconds_ago=0.0))
    assert path.stat().st_ino == written
    notebook.keep(altered(TOLD, version=13, words={"db": Word(version=13)}))
    assert Notebook(path).read().version == 13


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "x"}'])
def test_what_is_damaged_is_as_if_nothing_were_known(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "routes.json"
    path.write_text(text)
    assert Notebook(path).read().services == frozenset()
    assert "cannot be read" in caplog.text


def test_a_disk_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notebook = Notebook(tmp_path / "missing" / "routes.json")
    notebook.keep(TOLD)
    notebook.keep(TOLD)
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "missing").mkdir()
    notebook.keep(TOLD)
    assert json.loads((tmp_path / "missing" / "routes.json").read_text())["version"] == 9


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("proxy", "--listen", "192.0.2.77"), "192.0.2.77 is no address of this machine"),
        (("proxy", "--listen", "no-such-host.invalid"), "no-such-host.invalid"),
        (("proxy", "--store", "sqlite:///x.db"), "is the store of one manager"),
        (("--manager", "http://x", "proxy"), "'http://x' is no manager's address"),
        (("--manager", "https://x:1", "--ca", "/no/file", "proxy"), "/no/file cannot be read"),
    ],
)
def test_wrong_usage_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HAMANAGER_MANAGER", raising=False)
    result = CliRunner().invoke(app, words, prog_name="hamanager")
    assert result.exit_code == 2
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_state_directory_that_is_in_use_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_private(tmp_path / "home")
    monkeypatch.setenv("HAMANAGER_HOME", str(home))
    state = make_private(home / "proxy")
    with only_one(state):
        for words in ((), ("--remove",)):
            result = CliRunner().invoke(app, ["proxy", *words], prog_name="hamanager")
            assert result.exit_code == 1
            assert "is running with the state directory" in result.output
