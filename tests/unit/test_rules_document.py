"""docs/rules.md shows the table as it is, and every rule that protects data has a mutant."""

from __future__ import annotations

import os

import pytest

from hamanager.decide.table import RULES
from tests.simulation.left_out import MUTANTS
from tests.support import rules_document


def test_every_rule_that_protects_data_is_left_out_by_a_mutant() -> None:
    assert list(rules_document.missing()) == []


@pytest.mark.parametrize("name", [rule.name for rule in RULES if rule.protects])
def test_without_its_mutants_it_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [mutant for mutant in MUTANTS if name not in mutant.rules]
    monkeypatch.setattr(rules_document, "MUTANTS", left)
    expected = f"the rule {name} protects data, and no mutant leaves it out"
    assert expected in rules_document.missing()


def test_the_document_is_what_the_code_says() -> None:
    """Set HAMANAGER_GOLDEN=write to accept an intended change."""
    if os.environ.get("HAMANAGER_GOLDEN") == "write":
        rules_document.DOCUMENT.write_text(rules_document.document())
    assert rules_document.DOCUMENT.read_text() == rules_document.document()
