"""Which engines the demo is about."""

from __future__ import annotations

import pytest

from hamanager.chaos.demo import databases, run_demo


def test_services_without_data_have_no_primary_to_lose() -> None:
    assert {"mysql", "redis", "mongodb"} <= set(databases())
    assert "stateless" not in databases()


def test_what_is_no_database_is_refused_before_anything_is_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_demo(["stateless"]) == 2
    told = capsys.readouterr().err
    assert "choose from mongodb, mysql, redis" in told
