"""Without any one of its safety rules the product fails in the simulation."""

from __future__ import annotations

import pytest

from tests.simulation.left_out import MUTANTS
from tests.simulation.mutant import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_rule_is_missed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.story()
    mutant.leave_out(monkeypatch)
    with pytest.raises(AssertionError):
        mutant.story()
