"""Servers that choose their primary by majority."""

from __future__ import annotations

import pytest

from hamanager.contracts.driver import Driver
from hamanager.errors import ServerError
from hamanager.model.snapshot import Role
from hamanager_testing.standing import client, rows, whole


class ElectionContract:
    """What the manager adds to it: an operator's order when the majority is lost."""

    def test_one_that_is_forced_leads_without_the_others(self, driver: Driver) -> None:
        if driver.election is None:
            pytest.skip(f"{driver.engine} does not elect")
        with whole(driver) as (first, [chosen, other]):
            first.kill()
            other.kill()
            with pytest.raises(ServerError):
                driver.election.force(chosen.service, chosen.target, [chosen.target, other.target])
            driver.election.force(chosen.service, chosen.target, [chosen.target])
            chosen.wait(lambda status: status.role is Role.PRIMARY)
            with client(chosen) as writer:
                writer.write(50)
            assert rows(chosen) == set(range(51))
