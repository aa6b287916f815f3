"""What the documents refer to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_promise_names_tests_that_exist() -> None:
    tests = "\n".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    named = re.findall(r"`([\w/.]+)`", (ROOT / "docs/safety.md").read_text())
    names = [name for name in named if name.startswith(("test_", "tests/"))]
    assert len(names) > 30
    for name in names:
        if name.startswith("tests/"):
            assert (ROOT / name).exists(), name
        elif name.endswith(".py"):
            assert list(ROOT.glob(f"tests/*/{name}")), name
        elif name.endswith("..."):
            assert f"def {name.removesuffix('...')}" in tests, name
        else:
            assert f"def {name}(" in tests, name
