"""Servers with data: one leads, the others follow, and who leads changes without a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hamanager.contracts.driver import Driver
from hamanager.errors import ServerError
from hamanager.model.snapshot import Role
from hamanager_testing.servers import TERMS
from hamanager_testing.standing import (
    assert_refuses_writes,
    client,
    make_full_standby,
    primary_of,
    ranked,
    replication_of,
    rows,
    wait_for_same_rows,
    whole,
)

TERM = 7


class ReplicationContract:
    """Each test has servers of its own, as most end with one killed."""

    def test_the_first_server_is_set_up_once_or_twice(self, driver: Driver) -> None:
        with primary_of(driver) as server:
            replication_of(driver).initialize(server.service, server.target)
            with client(server) as writer:
                writer.prepare()
                writer.write(1)
            assert rows(server) == {1}

    def test_a_standby_follows_and_takes_no_writes(self, driver: Driver) -> None:
        with whole(driver) as (primary, standbys):
            for standby in standbys:
                seen = standby.wait(lambda status: status.lag_seconds is not None)
                assert seen.role is Role.STANDBY
                assert seen.lag_seconds is not None
                assert seen.lag_seconds < 2
                assert_refuses_writes(standby)
            with client(primary) as writer:
                for number in range(50, 60):
                    writer.write(number)
            wait_for_same_rows([primary, *standbys])
            assert set(ranked(driver, standbys)) == {s.target.name for s in standbys}
            led = driver.probe(primary.service, primary.target)
            for standby in standbys:
                seen = driver.probe(standby.service, standby.target)
                assert replication_of(driver).errant_writes(seen, led) == ""

    def test_a_standby_takes_over_and_the_failed_one_is_taken_back(self, driver: Driver) -> None:
        """Every change is made twice, as after a manager that died in the middle."""
        replication = replication_of(driver)
        with whole(driver) as (first, others):
            service, members = first.service, [first, *others]
            chosen = ranked(driver, others)[0]
            first.kill()
            best = next(s for s in others if s.target.name == chosen)
            rest = [s for s in others if s is not best]
            replication.apply_received(service, best.target)
            for _ in range(2):
                replication.promote(service, best.target, [s.target for s in rest], 0, TERM)
            if driver.settling is not None:
                for _ in range(2):
                    driver.settling.settle(service, best.target)
            assert driver.probe(service, best.target).role is Role.PRIMARY
            with client(best) as writer:
                writer.write(60)
            for server in rest:
                make_full_standby(server, best, members)
            for server in (best, *rest):
                told = driver.probe(service, server.target).term
                assert told == (None if driver.election is not None else TERM)

            first.start_again()
            first.wait(lambda status: status.role is Role.STANDBY)
            make_full_standby(first, best, members)
            with client(best) as writer:
                writer.write(61)
            assert rows(best) == {*range(50), 60, 61}
            wait_for_same_rows(members)

            for _ in range(2):
                replication.detach(service, first.target, best.target)
            assert driver.probe(service, best.target).role is Role.PRIMARY

    def test_a_planned_change_loses_nothing(self, driver: Driver) -> None:
        replication = replication_of(driver)
        with whole(driver) as (old, [new, *_]):
            told: list[str] = []
            terms = replace(
                TERMS,
                before_stop=lambda: told.append("stop"),
                before_promotion=lambda: told.append("promotion"),
            )
            for _ in range(2):
                replication.hand_over(old.service, new.target, old.target, terms)
            assert told[:2] == ["stop", "promotion"]
            assert told.count("promotion") == 1, "there was one change"
            new.wait(lambda status: status.role is Role.PRIMARY)
            old.wait(lambda status: status.role is Role.STANDBY)
            assert rows(new) == set(range(50))
            assert_refuses_writes(old)
            with client(new) as writer:
                writer.write(50)

    def test_a_planned_change_that_is_not_to_be_is_undone(self, driver: Driver) -> None:
        def refuse() -> None:
            raise ServerError("the record could not be written")

        with whole(driver) as (old, [new, *_]):
            terms = replace(TERMS, before_promotion=refuse)
            with pytest.raises(ServerError, match="could not be written"):
                replication_of(driver).hand_over(old.service, new.target, old.target, terms)
            assert driver.probe(new.service, new.target).role is Role.STANDBY
            with client(old) as writer:
                writer.write(50)

    def test_a_demoted_primary_refuses_writes(self, driver: Driver) -> None:
        if driver.election is not None:
            pytest.skip(f"{driver.engine} elects another primary at once, perhaps the same one")
        with primary_of(driver) as server:
            for _ in range(2):
                replication_of(driver).demote(server.service, server.target)
            assert driver.probe(server.service, server.target).role is Role.STANDBY
            assert_refuses_writes(server)
