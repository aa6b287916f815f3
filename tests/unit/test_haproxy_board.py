"""Which slot of HAProxy leads where, and what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.endpoints.haproxy.backend import (
    NOBODY,
    Backend,
    Mode,
    Slot,
    arrange,
    changes,
    parse_state,
    render,
    retired,
)


def listener(*names: str, kind: ListenerKind = ListenerKind.PRIMARY, capacity: int = 3) -> Listener:
    return Listener(
        name="db",
        kind=kind,
        host="10.0.0.1",
        port=7000,
        routes=tuple(route(name) for name in names),
        capacity=capacity,
    )


def route(name: str, *, draining: bool = False) -> Route:
    return Route(instance=name, host="10.0.0.1", port=7100 + int(name[-1]), draining=draining)


def used(backend: Backend) -> list[str]:
    return [s.route.instance for s in backend.slots if s.mode is not Mode.MAINT]


def same(host: str) -> str:
    return host


def test_a_listener_without_a_route_lets_clients_wait_in_a_slot_that_leads_to_nobody() -> None:
    backend = arrange("db", None, listener())
    assert [s for s in backend.slots if s.mode is Mode.READY] == [
        Slot(route=NOBODY, mode=Mode.READY)
    ]
    led = arrange("db", backend, listener("db.0"))
    assert led.turn == backend.turn, "who waits there goes on to where it leads next"
    assert used(led) == ["db.0"]


def test_a_new_primary_gets_a_slot_of_its_own() -> None:
    before = arrange("db", None, listener("db.0"))
    held = arrange("db", before, listener())
    after = arrange("db", held, listener("db.1"))
    assert used(after) == ["db.1"]
    assert after.turn not in (before.turn,)
    assert retired(before, after) == {before.turn}, "its connections can be told apart"
    assert retired(held, after) == set()


def test_a_route_that_stays_keeps_its_slot() -> None:
    reads = {"kind": ListenerKind.READS, "capacity": 4}
    before = arrange("db", None, listener("db.1", "db.2", **reads))  # type: ignore[arg-type]
    after = arrange("db", before, listener("db.2", "db.3", **reads))  # type: ignore[arg-type]
    at = {s.route.instance: n for n, s in enumerate(before.slots)}
    assert after.slots[at["db.2"]] == before.slots[at["db.2"]]
    assert sorted(used(after)) == ["db.2", "db.3"]


@given(
    st.lists(
        st.lists(st.sampled_from(["db.0", "db.1", "db.2", "db.3", "db.4"]), unique=True),
        min_size=1,
        max_size=12,
    )
)
def test_every_route_is_served_by_one_slot_whatever_came_before(story: list[list[str]]) -> None:
    backend = None
    for names in story:
        backend = arrange("db", backend, listener(*names, kind=ListenerKind.READS, capacity=6))
        assert sorted(used(backend)) == sorted(names)
        assert len(backend.slots) == 6


@given(st.lists(st.sampled_from(["", "db.0", "db.1", "db.2"]), min_size=1, max_size=12))
def test_there_is_always_one_place_for_clients_to_go_to(story: list[str]) -> None:
    backend = None
    for name in story:
        backend = arrange("db", backend, listener(*([name] if name else [])))
        assert used(backend) == [name]


def test_what_is_taken_into_use_comes_first() -> None:
    backend = arrange("db", arrange("db", None, listener("db.0")), listener("db.1"))
    actual = {
        "s0": ("10.0.0.1", 7100, Mode.READY),
        "s1": ("127.0.0.1", 1, Mode.MAINT),
        "s2": ("127.0.0.1", 1, Mode.MAINT),
    }
    assert changes(backend, actual, same) == [
        "set server db/s1 addr 10.0.0.1 port 7101",
        "set server db/s1 state ready",
        "set server db/s0 state maint",
    ]
    actual = {**actual, "s0": ("x", 1, Mode.MAINT), "s1": ("10.0.0.1", 7101, Mode.READY)}
    assert changes(backend, actual, same) == []


def test_draining() -> None:
    http = {"kind": ListenerKind.HTTP, "health_path": "/up", "name": "www", "port": 80}
    wanted = Listener(host="h", capacity=2, routes=(route("www.0"),), **http)  # type: ignore[arg-type]
    backend = arrange("www", None, wanted)
    drained = arrange(
        "www", backend, wanted.model_copy(update={"routes": (route("www.0", draining=True),)})
    )
    actual = {"s0": ("10.0.0.1", 7100, Mode.READY), "s1": ("127.0.0.1", 1, Mode.MAINT)}
    assert changes(drained, actual, same) == ["set server www/s0 state drain"]
    text = render([backend], same)
    assert "option httpchk GET /up" in text
    assert "balance roundrobin" in text


@pytest.mark.parametrize(
    ("admin", "mode"),
    [
        ("0", "ready"),
        ("4", "ready"),
        ("1", "maint"),
        ("5", "maint"),
        ("32", "maint"),
        ("8", "drain"),
    ],
)
def test_the_state_that_haproxy_tells(admin: str, mode: str) -> None:
    text = (
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port\n"
        f"2 db 1 s0 10.0.0.1 2 {admin} 7100\n\n"
    )
    assert parse_state(text) == {"s0": ("10.0.0.1", 7100, Mode(mode))}


def test_the_configuration_is_in_force_after_a_restart() -> None:
    backend = arrange("db", arrange("db", None, listener("db.0")), listener("db.1"))
    text = render([backend], same)
    assert "    server s1 10.0.0.1:7101\n" in text
    assert "    server s0 10.0.0.1:7100 disabled\n" in text
