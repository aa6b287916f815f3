"""A proxy that is busy with many clients puts a change into force some time after its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.contracts.runtime import Runtime
from hamanager.endpoints.haproxy import endpoint as haproxy
from hamanager.endpoints.haproxy.control import Control
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import EndpointFailedError
from tests.support.altered import altered

LISTENER = Listener(name="db", kind=ListenerKind.PRIMARY, host="127.0.0.1", port=20000, capacity=1)
LEADING = altered(LISTENER, routes=(Route(instance="db.0", host="h", port=7),))
WAITING, LEADING_STATE = ("127.0.0.1 1 1", 0), ("h 0 7", 1)


class BusyControl:
    """One slot and the place to wait, whose change shows in a later answer; and a queue that
    empties bit by bit."""

    def __init__(self, answers_late: int) -> None:
        self.answers_late = answers_late
        self.state = self.coming = WAITING
        self.left = 0
        self.queued = 3

    def ask_master(self, command: str) -> str:
        return ""

    def ask(self, commands: Sequence[str]) -> str:
        if commands[0].startswith("show"):
            if self.state != self.coming:
                self.left -= 1
                if self.left < 0:
                    self.state = self.coming
            if commands[0].startswith("show stat"):
                return f"# pxname,qcur\ndb,{self.queued}\n"
            slot, place = self.state
            columns = "# be_name srv_name srv_addr srv_admin_state srv_port"
            return f"{columns}\ndb s0 {slot}\ndb wait - {place} 0\n"
        if commands[0].startswith("set maxconn"):
            self.queued -= 1
            return "\n"
        if self.state == self.coming:
            self.left = self.answers_late
        self.coming = LEADING_STATE
        return "\n"


def endpoint_with(control: BusyControl, directory: Path) -> HaproxyEndpoint:
    made = HaproxyEndpoint(directory / "endpoint", cast(Runtime, None), lambda host: host)
    made._control = cast(Control, control)
    made.publish("db", [LISTENER])
    return made


def test_a_change_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    control = BusyControl(answers_late=5)
    endpoint_with(control, tmp_path).publish("db", [LEADING])
    assert control.state == LEADING_STATE
    assert control.queued == 0, "HAProxy lets them out by some hundreds only"


def test_one_that_never_comes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "IN_FORCE_SECONDS", 0.02)
    endpoint = endpoint_with(BusyControl(answers_late=10**9), tmp_path)
    with pytest.raises(EndpointFailedError, match="did not send the clients of db on"):
        endpoint.publish("db", [LEADING])
