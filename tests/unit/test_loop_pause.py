"""When the next pass is due while something is waited for that takes a known time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hamanager.act.context import PlaybookContext
from hamanager.loop import CLOSE_PASS_SECONDS, _decided_in
from hamanager.model.decision import Action, Decision
from hamanager.model.snapshot import Contact, Observation, Process


def seen(**told: Any) -> Observation:
    return Observation(Process.UNKNOWN, Contact.SILENT, **told)


def context(rule: str, *others: float, silent: float = 2.9) -> PlaybookContext:
    observations = {"db.0": seen(silent_seconds=silent)}
    for number, left in enumerate(others, 1):
        observations[f"db.{number}"] = seen(same_source_seconds=left)
    return cast(
        PlaybookContext,
        SimpleNamespace(
            spec=SimpleNamespace(down_after_seconds=3.0),
            decision=Decision(rule, Action.WAIT, "", "db.0"),
            driver=SimpleNamespace(capabilities=SimpleNamespace(refuses_alone_after_seconds=5.0)),
            snapshot=SimpleNamespace(observations=observations, of=observations.get),
        ),
    )


@pytest.mark.parametrize(
    ("rule", "others", "due"),
    [
        ("primary-suspect", (), 0.1),
        ("primary-cut-off", (1.0,), 0.1),
        # Until the last one that left a primary which nobody can end has left it long enough.
        ("beyond-reach", (4.9, 4.7), 0.3),
        ("beyond-reach", (4.99,), CLOSE_PASS_SECONDS),
        ("beyond-reach", (0.0, 4.9), 5.0),
        ("well", (4.9,), None),
    ],
)
def test_when_it_is_decided(rule: str, others: tuple[float, ...], due: float | None) -> None:
    assert _decided_in(context(rule, *others)) == (due and pytest.approx(due))


def test_what_has_been_due_for_long_is_looked_at_as_usual() -> None:
    assert _decided_in(context("beyond-reach", 9.0)) is None
    assert _decided_in(context("primary-suspect", silent=9.0)) is None
