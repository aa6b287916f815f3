"""What the engine's events are taken for."""

from __future__ import annotations

from typing import Any

import pytest

from hamanager.contracts.runtime import ASKED_TO_END, RuntimeEvent
from hamanager.runtimes.docker.events import _event
from hamanager.runtimes.docker.names import HOLDS_STOP, INSTANCE, SERVICE


def document(action: str, **attributes: str) -> dict[str, Any]:
    labels = {SERVICE: "db", INSTANCE: "db.0", HOLDS_STOP: "yes"}
    return {"Action": action, "Actor": {"Attributes": {**labels, **attributes}}}


def test_an_end_is_told() -> None:
    assert _event(document("die")) == RuntimeEvent("db", "db.0", "exited")


def test_sigterm_is_somebody_elses() -> None:
    assert _event(document("kill", signal="15")) == RuntimeEvent("db", "db.0", ASKED_TO_END)


@pytest.mark.parametrize("signal", ["2", "9", "1"])
def test_the_managers_own_signals_and_others_are_not(signal: str) -> None:
    assert _event(document("kill", signal=signal)) is None


def test_nothing_is_known_of_a_server_without_a_guard() -> None:
    found = document("kill", signal="15")
    del found["Actor"]["Attributes"][HOLDS_STOP]
    assert _event(found) is None
