"""Writes that wait for standbys."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hamanager.contracts.driver import Driver
from hamanager.contracts.replication import RequiredAcks, SemiSync
from hamanager.contracts.workload import Writer
from hamanager.errors import ServerError
from hamanager.model.snapshot import Role
from hamanager_testing.servers import Server
from hamanager_testing.standing import (
    assert_refuses_writes,
    client,
    make_full_standby,
    rows,
    wait_for_same_rows,
    whole,
    workload_of,
)


def _required_acks(driver: Driver) -> RequiredAcks:
    if driver.required_acks is None:
        pytest.skip(f"a primary of {driver.engine} is not told for how many standbys to wait")
    return driver.required_acks


class RequiredAcksContract:
    """The number for which a primary waits."""

    def test_a_primary_tells_for_how_many_it_waits(self, driver: Driver) -> None:
        part = _required_acks(driver)
        with whole(driver) as (primary, _):
            for wanted in (1, 1, 0, 0):
                part.set_required_acks(primary.service, primary.target, wanted)
                assert driver.probe(primary.service, primary.target).required_acks == wanted
            with client(primary) as writer:
                writer.write(50)


def _write_for(writer: Writer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        writer.write(51)


class LeavingContract:
    """A primary that all standbys have left refuses writes in the time that the driver states."""

    def test_a_primary_that_is_left_refuses_writes(self, driver: Driver) -> None:
        leaving, seconds = driver.leaving, driver.traits.refuses_alone_after_seconds
        if leaving is None or seconds is None:
            pytest.skip(f"a primary of {driver.engine} does not refuse writes by being left")
        with whole(driver) as (primary, standbys):
            service = primary.service
            _required_acks(driver).set_required_acks(service, primary.target, 1)
            leaving.leave(service, standbys[0].target, standbys[0].target)
            assert standbys[0].wait().source == primary.target.replication_address
            with client(primary) as writer:
                writer.write(50)
            for standby in standbys:
                for _ in range(2):
                    leaving.leave(service, standby.target, primary.target)
                seen = driver.probe(service, standby.target)
                assert (seen.role, seen.source, seen.empty) == (Role.STANDBY, None, False)
                assert_refuses_writes(standby)
            with client(primary) as writer, pytest.raises(ServerError):
                _write_for(writer, seconds)
            for standby in standbys:
                make_full_standby(standby, primary, [primary, *standbys])
            with client(primary) as writer:
                writer.write(52)
            wait_for_same_rows([primary, *standbys])


class SemiSyncContract:
    """A standby's acknowledgement means that the write is on its disk."""

    @pytest.fixture
    def semisync(self, driver: Driver) -> SemiSync:
        if driver.semisync is None:
            pytest.skip(f"standbys of {driver.engine} do not acknowledge")
        return driver.semisync

    @pytest.fixture
    def pair(
        self, driver: Driver, semisync: SemiSync
    ) -> Iterator[tuple[Server[Driver], Server[Driver]]]:
        """A primary that waits for its standby."""
        with whole(driver) as (primary, [standby, *_]):
            service = primary.service
            for _ in range(2):
                semisync.set_semisync_replica(service, standby.target, wanted=True)
            _required_acks(driver).set_required_acks(service, primary.target, 1)
            semisync.wait_until_caught_up(service, standby.target, primary.target)
            yield primary, standby

    def test_what_is_acknowledged_is_on_the_standby(
        self, driver: Driver, pair: tuple[Server[Driver], Server[Driver]], semisync: SemiSync
    ) -> None:
        primary, standby = pair
        seen = driver.probe(standby.service, standby.target)
        assert seen.acknowledges
        assert seen.acknowledges_from_disk
        with client(primary) as writer:
            writer.write(50)
        semisync.wait_until_received(primary.service, standby.target, primary.target)
        semisync.wait_until_caught_up(primary.service, standby.target, primary.target)
        assert rows(standby) == set(range(51))

    def test_nothing_is_acknowledged_while_the_standby_is_silent(
        self, driver: Driver, pair: tuple[Server[Driver], Server[Driver]], semisync: SemiSync
    ) -> None:
        primary, standby = pair
        writer = workload_of(driver).open_writer(primary.service, primary.target, 1.0)
        standby.container.pause()
        try:
            with pytest.raises(ServerError):
                writer.write(50)
            semisync.end_waiting(primary.service, primary.target, 1)
            seen = driver.probe(primary.service, primary.target)
            assert seen.required_acks == 1
            assert not seen.turns_clients_away
        finally:
            standby.container.unpause()
            writer.close()

    def test_a_standby_is_told_to_acknowledge_no_more(
        self, driver: Driver, pair: tuple[Server[Driver], Server[Driver]], semisync: SemiSync
    ) -> None:
        primary, standby = pair
        for _ in range(2):
            semisync.set_semisync_replica(primary.service, standby.target, wanted=False)
        assert not driver.probe(standby.service, standby.target).acknowledges
