"""What is left out of the product, and the story that tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Mutant:
    """What is left out, and the story that tells."""

    name: str
    leave_out: Callable[[pytest.MonkeyPatch], None]
    story: Callable[[], None]
    rules: tuple[str, ...] = ()
    """The rules of the table that it concerns: one that is left out, or whose playbook or whose
    facts are other than they should be. Empty: what every action stands on."""
