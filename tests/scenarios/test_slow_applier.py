"""The primary dies while its standby has received much more than it has applied."""

from __future__ import annotations

import time

import pytest

from hamanager.chaos.sandbox import Sandbox
from hamanager_drivers.mysql.connections import Connections
from hamanager_drivers.mysql.replication import APPLY_SECONDS
from tests.scenarios.harness import Scenario


@pytest.mark.long
def test_candidate_with_a_slow_applier_is_waited_for_from_pass_to_pass(sandbox: Sandbox) -> None:
    with Scenario(sandbox, "mysql", "primary killed while its standby does not apply") as run:
        old = run.primary
        target = next(t for t in sandbox.members("db") if t.name != old)
        with Connections().session(sandbox.context("db"), target) as session:
            session.run("FLUSH TABLES WITH READ LOCK")
            assert run.writes_in(1) > 10, "received is enough for an acknowledgement"
            run.fault(lambda: run.faults.kill(old))
            run.wait_for_history("and goes on applying", 3 * APPLY_SECONDS)
            message = run.info()["message"]
            time.sleep(APPLY_SECONDS + 2)
            assert run.info()["primary"] == old, "not before everything is applied"
            session.run("UNLOCK TABLES")
        run.wait_for_write(not_on=old)
        assert f"fail over {target.name}" in message
        assert "received transactions left to apply after 10 s" in message, message
        assert run.info()["last_failover"]["lost"] == "nothing that was acknowledged"
        assert not run.history_says("lease")
