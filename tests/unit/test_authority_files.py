"""`ca issue --authority`: certificates without any manager, for what managers depend on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hamanager.authority.certificates import described, signed_by
from hamanager.cli.main import app


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No manager is there to be asked."""
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("HAMANAGER_MANAGER", raising=False)


def issue(directory: Path, name: str, *more: str) -> Result:
    words = ["ca", "issue", name, "--authority", str(directory), "--directory", str(directory)]
    return CliRunner().invoke(app, [*words, *more], prog_name="hamanager")


def test_the_authority_is_made_once_and_signs_all(tmp_path: Path) -> None:
    there = tmp_path / "machines"
    for name, host in (("h1", "10.0.0.1"), ("h2", "10.0.0.2")):
        result = issue(there, name, "--host", host, "--days", "3650")
        assert result.exit_code == 0, result.output
    authority = (there / "ca.pem").read_text()
    for name, host in (("h1", "10.0.0.1"), ("h2", "10.0.0.2")):
        certificate = (there / f"{name}.pem").read_text()
        assert signed_by(certificate, authority)
        found = described(certificate)
        assert (found.name, found.hosts, found.role) == (name, (host,), None)
        assert found.ends_at > time.time() + 3649 * 86400
    for secret in ("ca.key", "h1.key"):
        assert (there / secret).stat().st_mode & 0o777 == 0o600
    assert there.stat().st_mode & 0o777 == 0o700
    assert issue(there, "backup").exit_code == 0  # of one that only asks
    assert not (tmp_path / "none").exists()


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    there = tmp_path / "machines"
    refused = issue(there, "laptop", "--role", "read")
    assert refused.exit_code == 2
    assert "leave out --role or --authority; nothing was made" in refused.output
    assert not there.exists()
    assert issue(there, "h1", "--host", "10.0.0.1").exit_code == 0
    key = (there / "ca.key").read_text()
    (there / "ca.key").unlink()
    refused = issue(there, "h2", "--host", "10.0.0.2")
    assert "ca.key, and the other file of that authority is there" in refused.output
    (there / "ca.key").write_text((there / "h1.key").read_text())
    assert "does not belong to the authority" in issue(there, "h2", "--host", "h").output
    (there / "ca.key").write_text(key)
    (there / "ca.pem").write_bytes(b"\xff")
    assert "can be neither read nor made (it is not PEM)" in issue(there, "h2").output
    assert not (there / "h2.pem").exists()
