"""Ports for services that are made at the same time."""

from __future__ import annotations

import pytest

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker import address
from hamanager.runtimes.docker.address import FIRST_PORT, LAST_PORT, HandedOut

ALL = frozenset(range(FIRST_PORT, LAST_PORT + 1))


def test_no_port_is_handed_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_is_free", lambda *_: True)
    ports = HandedOut()
    left = ALL - {21000, 21001, 21002}
    assert {ports.choose("127.0.0.1", left) for _ in range(3)} == {21000, 21001, 21002}
    with pytest.raises(RuntimeFailedError, match="no port between"):
        ports.choose("127.0.0.1", left)
    monkeypatch.setattr(address, "HANDED_OUT_SECONDS", 0.0)
    assert ports.choose("127.0.0.1", left) in {21000, 21001, 21002}
