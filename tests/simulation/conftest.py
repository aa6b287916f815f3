"""What holds in every simulated history."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from hamanager.observe import samples


@pytest.fixture(autouse=True)
def _nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not answered at once here is not answered before something else happens."""
    monkeypatch.setattr(samples, "FIRST_SAMPLE_SECONDS", 0)


@pytest.fixture(autouse=True)
def _no_faults_of_ours(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The observer survives a fault of ours and tells it; in a simulation none may happen."""
    yield
    told = [r.getMessage() for when in ("setup", "call") for r in caplog.get_records(when)]
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, told
