"""On which host an instance is placed, as a table."""

from __future__ import annotations

import pytest

from hamanager.cli.info_text import info_text
from hamanager.daemon.view_builder import service_view
from hamanager.decide.placement import free_places, places, sharing_words
from hamanager.model.host import HostSeen, LeftBehind, Occupant
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec
from tests.unit.fakes import MB, NOW, capabilities, instance

GB = 1024 * MB
LEFT = LeftBehind(instance="db.9", generation=9, placed_on="h1", serial=9, at=0, reason="")


def host(name: str, memory_bytes: int | None = GB, **fields: object) -> HostSeen:
    return HostSeen(name, f"10.0.0.{name[1:]}", memory_bytes=memory_bytes, **fields)  # type: ignore[arg-type]


def placed(*names: str, left: tuple[LeftBehind, ...] = ()) -> ServiceRecord:
    instances = tuple(instance(f"db.{n}", placed_on=name) for n, name in enumerate(names))
    return ServiceRecord(instances=instances, left_behind=left)


@pytest.mark.parametrize(
    ("hosts", "record", "occupants", "expected"),
    [
        ([], placed(), [], []),
        ([host("h1"), host("h2")], placed(), [], ["h1", "h2"]),
        # Never one that does not answer, or is to be left, or still has what was left.
        ([host("h1", silent_seconds=1.0), host("h2")], placed(), [], ["h2"]),
        ([host("h1", draining=True), host("h2")], placed(), [], ["h2"]),
        ([host("h1"), host("h2")], placed(left=(LEFT,)), [], ["h2"]),
        # Different hosts while there are enough, whatever their memory.
        ([host("h1", 9 * GB), host("h2")], placed("h1"), [], ["h2", "h1"]),
        ([host("h1"), host("h2"), host("h3")], placed("h1", "h2", "h1"), [], ["h3", "h2", "h1"]),
        # Then the memory that is promised to nobody.
        ([host("h1"), host("h2", 2 * GB)], placed(), [], ["h2", "h1"]),
        (
            [host("h1"), host("h2", 2 * GB)],
            placed(),
            [Occupant("o", "h2", 1536 * MB)],
            ["h1", "h2"],
        ),
        # Those without a limit share what is left.
        ([host("h1"), host("h2")], placed(), [Occupant("o", "h1", None)], ["h2", "h1"]),
        ([host("h1", None), host("h2", None)], placed(), [Occupant("o", "h1", None)], ["h2", "h1"]),
    ],
)
def test_where_it_goes(
    hosts: list[HostSeen], record: ServiceRecord, occupants: list[Occupant], expected: list[str]
) -> None:
    assert places(hosts, record, occupants, 128 * MB) == expected


def test_one_that_moves_does_not_count() -> None:
    hosts = [host("h1"), host("h2")]
    assert places(hosts, placed("h1", "h2"), [], None, ["db.0"]) == ["h1", "h2"]


def test_hosts_without_an_instance_of_the_service() -> None:
    hosts = [host("h1"), host("h2"), host("h3", draining=True)]
    assert free_places(hosts, placed("h1")) == ["h2"]
    assert free_places(hosts, placed("h1", "h2")) == []


def test_sharing_a_host_is_told() -> None:
    record = placed("h1", "h1", "h2")
    assert sharing_words(record) == "db.0 and db.1 share the host h1: they fail together"
    assert sharing_words(placed("h1", "h2")) == ""
    assert sharing_words(placed("", "")) == "", "there is one engine alone"
    spec = Spec(name="db", engine="redis", instances=3, image="i", created_at=NOW)
    view = service_view(spec, record, Snapshot(NOW, {}), None, capabilities())
    assert [i.host for i in view.instances] == ["h1", "h1", "h2"]
    text = info_text(view)
    assert "host: h2" in text
    assert "db.0 and db.1 share the host h1: they fail together" in text
