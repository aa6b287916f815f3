"""Many services behind one proxy: what is asked and read for all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind
from hamanager.contracts.runtime import Runtime
from hamanager.endpoints.haproxy.backend import CONFIGURATION
from hamanager.endpoints.haproxy.control import Control
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint

COLUMNS = "# be_name srv_name srv_addr srv_admin_state srv_port"


class ReadingControl:
    """A HAProxy that knows the listeners of the configuration when it was told to read it."""

    def __init__(self, directory: Path) -> None:
        self.configuration = directory / "etc" / CONFIGURATION
        self.known: list[str] = []
        self.questions = self.reloads = 0
        self.may_read = threading.Event()
        self.may_read.set()
        self.asked_to_read = threading.Event()

    def ask_master(self, command: str) -> str:
        if command == "reload":
            self.reloads += 1
            self.asked_to_read.set()
            self.may_read.wait(10)
            text = self.configuration.read_text()
            self.known = [section.split()[0] for section in text.split("listen ")[1:]]
        return ""

    def ask(self, commands: Sequence[str]) -> str:
        self.questions += len(commands)
        words = commands[0].split()
        if words[:3] != ["show", "servers", "state"]:
            return "\n"
        shown = [name for name in self.known if words[3:] in ([], [name])]
        rows = [f"{name} s0 127.0.0.1 1 1\n{name} wait - 0 0" for name in shown]
        return "\n".join([COLUMNS, *rows])


def listener(number: int) -> Listener:
    return Listener(
        name=f"s{number}", kind=ListenerKind.PRIMARY, host="127.0.0.1", port=20000 + number,
        capacity=1,
    )  # fmt: skip


@pytest.fixture
def control(tmp_path: Path) -> ReadingControl:
    return ReadingControl(tmp_path / "endpoint")


@pytest.fixture
def endpoint(control: ReadingControl, tmp_path: Path) -> HaproxyEndpoint:
    made = HaproxyEndpoint(tmp_path / "endpoint", cast(Runtime, None), lambda host: host)
    made._control = cast(Control, control)
    return made


def test_services_that_come_while_it_reads_are_read_together(
    endpoint: HaproxyEndpoint, control: ReadingControl
) -> None:
    control.may_read.clear()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(endpoint.publish, "s0", [listener(0)])
        assert control.asked_to_read.wait(10)
        others = [pool.submit(endpoint.publish, f"s{n}", [listener(n)]) for n in range(1, 20)]
        while any(not endpoint.published(f"s{n}") for n in range(20)):
            pass
        control.may_read.set()
        for published in [first, *others]:
            published.result(10)
    assert len(control.known) == 20
    assert control.reloads == 2


def test_a_check_asks_once_however_many_there_are(
    endpoint: HaproxyEndpoint, control: ReadingControl
) -> None:
    for number in range(30):
        endpoint.publish(f"s{number}", [listener(number)])
    control.questions = 0
    endpoint.check()
    assert control.questions == 1


def test_one_that_is_removed_while_it_reads_holds_up_nobody(
    endpoint: HaproxyEndpoint, control: ReadingControl
) -> None:
    endpoint.publish("s0", [listener(0)])
    control.asked_to_read.clear()
    control.may_read.clear()
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(endpoint.publish, "s1", [listener(1)])
        assert control.asked_to_read.wait(10)
        removed = pool.submit(endpoint.publish, "s0", [])
        while endpoint.published("s0"):
            pass
        control.may_read.set()
        made.result(5)
        removed.result(5)
    assert control.known == ["s1"]


def test_one_that_is_about_to_be_read_is_no_fault_of_the_proxy(
    endpoint: HaproxyEndpoint, control: ReadingControl
) -> None:
    endpoint.publish("s0", [listener(0)])
    control.asked_to_read.clear()
    control.may_read.clear()
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(endpoint.publish, "s1", [listener(1)])
        assert control.asked_to_read.wait(10)
        endpoint.check()
        assert endpoint._silences == 0
        assert "s0" in endpoint._in_force
        control.may_read.set()
        made.result(5)
    assert control.reloads == 2
