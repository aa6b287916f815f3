"""A host's name that ceases to resolve: the last address that was known goes on being used."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.contracts.runtime import Runtime
from hamanager.endpoints.haproxy import endpoint as haproxy
from hamanager.endpoints.haproxy.endpoint import HaproxyEndpoint
from hamanager.errors import EndpointFailedError, RuntimeFailedError
from tests.unit.test_haproxy_trouble import CountingRuntime


class Names:
    """What names resolve to."""

    def __init__(self) -> None:
        self.known = {"db.example": "192.0.2.1"}

    def __call__(self, host: str) -> str:
        if host not in self.known:  # IP addresses are never asked for
            raise RuntimeFailedError(f"the advertised host '{host}' has no address here")
        return self.known[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setattr(haproxy, "UP_SECONDS", -1.0)
    return Names()


def listener(*ports: int) -> Listener:
    return Listener(
        name="db",
        kind=ListenerKind.PRIMARY,
        host="db.example",
        port=20000,
        routes=tuple(Route(instance="db.0", host="db.example", port=port) for port in ports),
        capacity=3,
    )


def published(directory: Path, names: Names, *ports: int) -> str:
    """The configuration that is written; nothing runs to be told."""
    endpoint = HaproxyEndpoint(directory, cast(Runtime, CountingRuntime()), names)
    with suppress(EndpointFailedError):
        endpoint.publish("db", [listener(*ports)])
    return (directory / "etc/haproxy.cfg").read_text()


def test_it_stays_where_it_was_also_for_the_next_manager(tmp_path: Path, names: Names) -> None:
    assert "bind 192.0.2.1:20000" in published(tmp_path, names, 20001)
    names.known.clear()
    written = published(tmp_path, names, 20002)
    assert "192.0.2.1:20002" in written


def test_what_was_never_known_is_told(tmp_path: Path, names: Names) -> None:
    names.known.clear()
    endpoint = HaproxyEndpoint(tmp_path, cast(Runtime, CountingRuntime()), names)
    with pytest.raises(EndpointFailedError, match=r"'db\.example' has no address"):
        endpoint.publish("db", [listener(20001)])


def test_it_is_looked_up_again_now_and_then(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = HaproxyEndpoint(tmp_path, cast(Runtime, CountingRuntime()), names)
    monkeypatch.setattr("hamanager.endpoints.haproxy.addresses.REFRESH_SECONDS", 0.0)
    for address in ("192.0.2.1", "192.0.2.9", None, "192.0.2.9"):
        names.known = {} if address is None else {"db.example": address}
        with suppress(EndpointFailedError):
            endpoint.check()
        with suppress(EndpointFailedError):
            endpoint.publish("db", [listener(20001 + len(names.known))])
        shown = address or "192.0.2.9"
        assert f"bind {shown}:20000" in (tmp_path / "etc/haproxy.cfg").read_text()
