"""State directory, socket and identity."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hamanager import paths
from hamanager.errors import HamanagerError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    made = paths.make_private(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    assert paths.make_private(made) == made


def test_an_empty_open_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(paths.make_private(tmp_path / "open")) == 0o700


def test_somebody_elses_directory_is_never_changed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "file").touch()
    with pytest.raises(HamanagerError, match="not a private directory"):
        paths.make_private(shared)
    assert mode(shared) == 0o755


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HamanagerError, match="cannot be made"):
        paths.make_private(tmp_path / "file" / "state")
    with pytest.raises(HamanagerError):
        paths.make_private(tmp_path / "file")


def test_a_socket_path_fits_whatever_the_directory(tmp_path: Path) -> None:
    assert paths.socket_path(tmp_path) == tmp_path / "hamanager.sock"
    long = tmp_path / ("x" * 120)
    assert len(str(paths.socket_path(long))) < 100
    assert paths.socket_path(long) == paths.socket_path(long)
    assert paths.socket_path(long) != paths.socket_path(tmp_path / ("y" * 120))
    assert mode(paths.socket_path(long).parent) == 0o700


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path))
    assert paths.home() == tmp_path
    monkeypatch.setenv("HAMANAGER_HOME", "relative")
    assert paths.home().is_absolute()
    monkeypatch.delenv("HAMANAGER_HOME")
    assert paths.home().name == "hamanager"


def test_a_managers_identity_is_made_once_and_moves_with_its_state(tmp_path: Path) -> None:
    first = tmp_path / "first"
    identity = paths.manager_id(first)
    assert len(identity) == 8
    assert paths.manager_id(first) == identity
    first.rename(tmp_path / "moved")
    assert paths.manager_id(tmp_path / "moved") == identity
    assert paths.manager_id(tmp_path / "other") != identity
    assert sorted(p.name for p in (tmp_path / "moved").iterdir()) == ["manager-id"]
