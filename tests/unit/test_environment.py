"""How a connection is told as variables."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from hamanager.api.environment import (
    DOTCLOUD_PREFIX,
    ConnectionView,
    EnvironmentFile,
    Format,
    at_address,
    text,
    variables,
)
from hamanager.errors import UsageError
from tests.support.altered import altered

DB = ConnectionView(
    service="my-db",
    engine="mysql",
    url="mysql://app:p4ss@10.0.0.1:7000/my_db",
    host="10.0.0.1",
    port=7000,
    login="app",
    password="p4ss",
    database="my_db",
)
SET = altered(DB, service="data", engine="mongodb", host=None, port=None)


def test_names_and_values() -> None:
    assert variables(DB) == {
        "HAMANAGER_MY_DB_MYSQL_HOST": "10.0.0.1",
        "HAMANAGER_MY_DB_MYSQL_PORT": "7000",
        "HAMANAGER_MY_DB_MYSQL_LOGIN": "app",
        "HAMANAGER_MY_DB_MYSQL_PASSWORD": "p4ss",
        "HAMANAGER_MY_DB_MYSQL_DATABASE": "my_db",
        "HAMANAGER_MY_DB_MYSQL_URL": "mysql://app:p4ss@10.0.0.1:7000/my_db",
    }
    assert "DOTCLOUD_MY_DB_MYSQL_URL" in variables(DB, DOTCLOUD_PREFIX)
    assert "HAMANAGER_DATA_MONGODB_HOST" not in variables(SET), "clients need the URL"


def test_at_another_machine_s_address() -> None:
    both = altered(DB, reads_url="mysql://app:p4ss@10.0.0.1:7001/my_db", reads_port=7001)
    moved = at_address(both, "app-3.example")
    assert (moved.host, moved.url) == ("app-3.example", "mysql://app:p4ss@app-3.example:7000/my_db")
    assert moved.reads_url == "mysql://app:p4ss@app-3.example:7001/my_db"
    assert altered(moved, host=DB.host, url=both.url, reads_url=both.reads_url) == both
    plain = altered(DB, url="http://10.0.0.1:7000/")
    assert at_address(plain, "10.0.0.7").url == "http://10.0.0.7:7000/"
    assert at_address(SET, "10.0.0.7") == SET, "its URL names all members"


@pytest.mark.parametrize("host", ["", "10.0.0.7:7000", "a@b", "x/y", "-x", "x "])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        at_address(DB, host)


def test_a_shell_reads_what_is_written() -> None:
    awkward = {"A": 'it\'s $HOME `x` \\ "y"', "B": "plain"}
    shell = text(awkward, Format.SHELL) + 'printf "%s|%s" "$A" "$B"'
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == f"{awkward['A']}|plain"
    assert json.loads(text(awkward, Format.JSON)) == awkward
    assert text({"B": "plain"}, Format.DOTENV) == "B='plain'\n"


def test_the_file_is_private_and_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    file = EnvironmentFile(path)
    file.begin([DB])
    file.keep(SET)
    assert json.loads(path.read_text()) == {**variables(DB), **variables(SET)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = path.stat().st_mtime_ns
    file.keep(DB)
    assert path.stat().st_mtime_ns == written, "nothing changed, so nothing is written"
    moved = altered(DB, reads_port=7001, reads_url="mysql://r")
    file.keep(moved)
    assert json.loads(path.read_text())["HAMANAGER_MY_DB_MYSQL_READS_PORT"] == "7001"
    file.forget("my-db")
    assert json.loads(path.read_text()) == variables(SET)


def test_the_file_names_this_machine_s_own_address(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    file = EnvironmentFile(path, "10.0.0.7")
    file.begin([DB])
    moved = variables(at_address(DB, "10.0.0.7"))
    assert json.loads(path.read_text()) == moved
    file.keep(SET)
    assert json.loads(path.read_text()) == {**moved, **variables(SET)}
