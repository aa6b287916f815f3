"""Which slot of HAProxy leads where, and what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.endpoints.haproxy.backend import (
    Backend,
    Mode,
    arrange,
    changes,
    let_out,
    parse_queued,
    parse_states,
    render,
    retired,
)
from tests.support.altered import altered


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


LEADS_TO_THE_FIRST = {
    "s0": ("10.0.0.1", 7100, Mode.READY),
    "s1": ("127.0.0.1", 1, Mode.MAINT),
    "s2": ("127.0.0.1", 1, Mode.MAINT),
    "wait": ("-", 0, Mode.MAINT),
}
"""What HAProxy tells of its servers."""


def used(backend: Backend) -> list[str]:
    return [s.route.instance for s in backend.slots if s.mode is not Mode.MAINT]


def same(host: str) -> str:
    return host


def test_clients_of_a_listener_without_a_route_wait() -> None:
    led = arrange("db", None, listener("db.0"))
    assert not led.waits
    held = arrange("db", led, listener())
    assert held.waits
    assert used(held) == []
    assert not arrange("db", held, listener("db.1")).waits


@pytest.mark.parametrize("kind", [ListenerKind.READS, ListenerKind.HTTP])
def test_nobody_waits_for_a_standby_or_a_page(kind: ListenerKind) -> None:
    backend = arrange("db", None, listener(kind=kind))
    assert not backend.waits
    assert backend.servers == {"s0", "s1", "s2"}
    assert "wait" not in render([backend], same).partition("listen")[2]


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
def test_clients_go_to_one_instance_or_wait(story: list[str]) -> None:
    backend = None
    for name in story:
        backend = arrange("db", backend, listener(*([name] if name else [])))
        assert used(backend) == ([name] if name else [])
        assert backend.waits == (not name)


def test_what_is_taken_into_use_comes_first() -> None:
    backend = arrange("db", arrange("db", None, listener("db.0")), listener("db.1"))
    assert changes(backend, LEADS_TO_THE_FIRST, same) == [
        "set server db/s1 addr 10.0.0.1 port 7101",
        "set server db/s1 state ready",
        "set server db/s0 state maint",
    ]
    actual = {
        **LEADS_TO_THE_FIRST,
        "s0": ("x", 1, Mode.MAINT),
        "s1": ("10.0.0.1", 7101, Mode.READY),
    }
    assert changes(backend, actual, same) == []


def test_who_waits_is_let_go_once_there_is_somebody_to_go_to() -> None:
    led = arrange("db", None, listener("db.0"))
    held = arrange("db", led, listener())
    assert changes(held, LEADS_TO_THE_FIRST, same) == [
        "set server db/wait state ready",
        "set server db/s0 state maint",
    ]
    actual = {
        **LEADS_TO_THE_FIRST,
        "s0": ("10.0.0.1", 7100, Mode.MAINT),
        "wait": ("-", 0, Mode.READY),
    }
    assert changes(held, actual, same) == []
    assert changes(arrange("db", held, listener("db.1")), actual, same) == [
        "set server db/s1 addr 10.0.0.1 port 7101",
        "set server db/s1 state ready",
        "set server db/wait state maint",
        "shutdown sessions server db/wait",
    ]
    assert let_out(arrange("db", held, listener("db.1"))) == ["set maxconn server db/s1 60000"]


def test_how_many_are_in_the_queue() -> None:
    text = "# pxname,svname,qcur,qmax\ndb,BACKEND,{},200\n\n"
    assert parse_queued(text.format(17)) == 17
    assert parse_queued(text.format(0)) == 0
    assert parse_queued("") == 0


def test_draining() -> None:
    http = {"kind": ListenerKind.HTTP, "health_path": "/up", "name": "www", "port": 80}
    wanted = Listener(host="h", capacity=2, routes=(route("www.0"),), **http)  # type: ignore[arg-type]
    backend = arrange("www", None, wanted)
    drained = arrange("www", backend, altered(wanted, routes=(route("www.0", draining=True),)))
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
    text += f"3 web 1 s0 10.0.0.2 2 {admin} 7200\n"
    assert parse_states(text) == {
        "db": {"s0": ("10.0.0.1", 7100, Mode(mode))},
        "web": {"s0": ("10.0.0.2", 7200, Mode(mode))},
    }
    assert parse_states("") == {}


def test_the_configuration_is_in_force_after_a_restart() -> None:
    backend = arrange("db", arrange("db", None, listener("db.0")), listener("db.1"))
    text = render([backend], same)
    assert "    server s1 10.0.0.1:7101 maxconn 60000\n" in text
    assert "    server s0 10.0.0.1:7100 maxconn 60000 disabled\n" in text
    assert "    server wait unix@/hamanager/run/hold.sock maxconn 1 disabled\n" in text
    held = render([arrange("db", backend, listener())], same)
    assert "    server wait unix@/hamanager/run/hold.sock maxconn 1\n" in held
