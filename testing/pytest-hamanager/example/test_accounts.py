"""The primary dies in the middle of a transaction."""

from __future__ import annotations

from collections.abc import Callable

import accounts
import pytest

from pytest_hamanager import Service


def once(act: Callable[[], object]) -> Callable[[], None]:
    """The second time, nothing."""
    left = [act]

    def first() -> None:
        if left:
            left.pop()()

    return first


@pytest.mark.parametrize("transfer", [accounts.transfer, accounts.naive_transfer])
def test_money_neither_vanishes_nor_appears(
    ha_mysql: Service, transfer: Callable[[str, int, Callable[[], None]], None]
) -> None:
    accounts.set_up(ha_mysql.url)
    transfer(ha_mysql.url, 30, once(ha_mysql.kill_primary))
    assert accounts.amounts(ha_mysql.url) == {"ada": 70, "bob": 130}


def test_nothing_that_was_acknowledged_is_lost(ha_mysql: Service) -> None:
    with ha_mysql.writing():
        ha_mysql.kill_primary()
        ha_mysql.wait_healthy()
        ha_mysql.switchover()
    ha_mysql.assert_no_lost_writes()
