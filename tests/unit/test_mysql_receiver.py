"""How a standby's receiver is stopped: one that is in the middle of a connect is not waited for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hamanager_drivers.mysql.connections import Row, Session
from hamanager_drivers.mysql.replication import stop_receiving

STOP = "STOP REPLICA IO_THREAD"
KILL = "KILL 7"


class FakeSession(Session):
    """A server whose receiver is in these states, one look after the other."""

    def __init__(self, states: Sequence[str | None], ids: Sequence[int]) -> None:
        self.done: list[str] = []
        self._states, self._ids = list(states), ids

    def rows(self, statement: str, *arguments: object) -> list[Row]:
        if "performance_schema.threads" in statement:
            return [{"id": number} for number in self._ids]
        if "replication_connection_status" in statement:
            return [{"receiver": self._states.pop(0)}]
        if statement.startswith("KILL"):
            self.done.append(f"KILL {arguments[0]}")
        else:
            self.done.append(statement)
        return []


@pytest.mark.parametrize(
    ("states", "ids", "expected"),
    [
        pytest.param(["ON"], [7], [STOP], id="it receives"),
        pytest.param(["OFF"], [], [STOP], id="it has ended"),
        pytest.param([None], [], [STOP], id="there is none"),
        pytest.param(["CONNECTING", "CONNECTING"], [7], [KILL], id="it asks nobody any more"),
        pytest.param(["CONNECTING", "ON"], [7], [KILL, STOP], id="it connected in between"),
        pytest.param(["CONNECTING", "OFF"], [7], [KILL], id="it ended by that"),
        pytest.param(["CONNECTING"], [], [STOP], id="it is nowhere to be found"),
    ],
)
def test_how_a_receiver_is_stopped(
    states: list[str | None], ids: list[int], expected: list[str]
) -> None:
    session = FakeSession(states[1:], ids)
    stop_receiving(session, {"receiver": states[0]})
    assert session.done == expected
