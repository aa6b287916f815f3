"""What a promotion leaves to be cleared away: after clients can write again, and without harm."""

from __future__ import annotations

import pytest

from hamanager.errors import ServerError
from hamanager.model.order import OrderKind
from hamanager.model.service import ServiceContext, Target
from tests.simulation.driver import SimDriver
from tests.simulation.modes import LOSSLESS, running


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("mode", LOSSLESS)
def test_nothing_waits_for_it_and_it_may_fail(
    mode: str, planned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = running(mode)
    on_record = []

    def settle(_: SimDriver, __: ServiceContext, target: Target) -> None:
        on_record.append((target.name, simulation.record.primary))
        raise ServerError("it does not answer")

    monkeypatch.setattr(SimDriver, "settle", settle)
    if planned:
        simulation.order(OrderKind.SWITCHOVER)
    else:
        simulation.event("kill", "db.0")
    simulation.live(12)
    assert on_record == [("db.1", "db.1")]
    assert simulation.record.primary == "db.1"
    assert simulation.record.sync_set == ("db.0",)
    simulation.assert_nothing_is_lost()
