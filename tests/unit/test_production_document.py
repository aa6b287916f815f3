"""The document that is followed by commands, and the units that it copies, can be read at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.testbed.document import DocumentError, read, with_values
from tests.testbed.process import TestbedError
from tests.testbed.systemd import UnitFile, parse_environment

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "production.md"
CONTAINERS = ROOT / "docs" / "containers.md"
UNITS = ROOT / "compose" / "systemd"
SETTINGS = ROOT / "compose" / "three-machines"
MACHINES = {"h1", "h2", "h3", "a1", "the checkout"}


@pytest.mark.parametrize(
    ("path", "sections", "values"),
    [(DOCUMENT, "1 2 3 4 5 6 7 9 10", 7), (CONTAINERS, "1 2 3 4 5 6 7", 10)],
    ids=lambda given: given.name if isinstance(given, Path) else "",
)
def test_every_block_has_a_place(path: Path, sections: str, values: int) -> None:
    document = read(path)
    assert {name for block in document.blocks for name in block.machines} == MACHINES
    numbers = [section.partition(". ")[0] for section in document.sections]
    assert numbers == sections.split()
    everything = path.read_text() + "".join(p.read_text() for p in SETTINGS.iterdir())
    assert len(document.values) == values
    for value in document.values:
        assert everything.count(value) > 1, value


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose missing")
@pytest.mark.parametrize("path", sorted(SETTINGS.glob("*.yaml")), ids=lambda path: path.name)
def test_compose_files_are_right_for_their_own_tool(path: Path, tmp_path: Path) -> None:
    """It reads the settings as well, which lie elsewhere here."""
    for settings in SETTINGS.glob("*.env"):
        shutil.copy(settings, tmp_path)
    copied = tmp_path / path.name
    copied.write_text(
        path.read_text()
        .replace("[/etc/hamanager/", f"[{tmp_path}/")
        .replace(", /etc/hamanager/", f", {tmp_path}/")
    )
    words = ["docker-compose", "--file", str(copied), "config"]
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stderr
    assert "network_mode: host" in told.stdout


@pytest.mark.parametrize("text", ["Do this:\n\n    rm -rf /\n", "On h1:\n\n```\nls\n```\n"])
def test_commands_that_would_not_be_run_are_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(DocumentError):
        read(tmp_path / "a.md")


def test_a_block_is_what_is_indented(tmp_path: Path) -> None:
    text = "## 1. A\n\nOn h1, h2 and a1:\n\n    cat <<END\n      x\n\n    END\n\nMore.\n"
    (tmp_path / "a.md").write_text(text)
    [block] = read(tmp_path / "a.md").blocks
    assert (block.section, block.line, block.machines) == ("1. A", 5, ("h1", "h2", "a1"))
    assert block.text == "cat <<END\n  x\n\nEND\n"


def test_values_are_replaced_as_wholes() -> None:
    values = {"10.0.0.1": "10.7.0.11", "mysql:8.4.6": "m:1", "10.0.0.7": "10.0.0.1"}
    text = "root@10.0.0.1: 10.0.0.10,10.0.0.7 mysql:8.4.61 A=mysql:8.4.6, at 10.0.0.1."
    assert with_values(text, values) == (
        "root@10.7.0.11: 10.0.0.10,10.0.0.1 mysql:8.4.61 A=m:1, at 10.7.0.11."
    )


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_units_say_nothing_that_the_test_bed_does_not_know(path: Path) -> None:
    unit = UnitFile(path.stem, "h1")
    unit.add(path.read_text())
    words = unit.words({})
    assert Path(words[0]).is_absolute()
    for file in unit.all("EnvironmentFile"):
        given = SETTINGS / Path(file).name
        assert parse_environment(given.read_text())


def test_a_drop_in_adds_to_a_unit() -> None:
    unit = UnitFile("etcd", "h1")
    unit.add("[Service]\nEnvironment=A=1\nRestart=no\nExecStart=/bin/a $A ${A}0 %p %%\n")
    unit.add("[Service]\nRestart=always\n")
    assert unit.last("Restart") == "always"
    assert unit.words({"A": "1 2"}) == ["/bin/a", "1", "2", "1 20", "etcd", "%"]
    with pytest.raises(TestbedError, match="knows no 'Sockets=x'"):
        unit.add("[Service]\nSockets=x\n")
