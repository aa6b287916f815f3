"""A real standby's receiver that looks for a silent source, and is not waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hamanager.errors import ServerError
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_testing.servers import servers
from hamanager_testing.standing import make_full_standby
from tests.contract.test_mysql_driver import MySQLServer, make_primary, manager
from tests.contract.test_mysql_semisync import synchronize


@pytest.fixture
def pair() -> Iterator[tuple[MySQLServer, MySQLServer]]:
    """A primary that waits for its standby."""
    with servers(MySQLDriver(), 2) as [primary, standby]:
        make_primary(primary)
        make_full_standby(standby, primary, [primary, standby])
        synchronize(primary, standby)
        yield primary, standby


def test_a_receiver_that_is_not_waited_for_receives_and_acknowledges_nothing_more(
    pair: tuple[MySQLServer, MySQLServer],
) -> None:
    """Whenever its source is back: it is in the middle of a connect, or between two."""
    old, new = pair
    driver, service = old.driver, old.service
    for moment in (0.0, 0.9, 1.8):
        old.container.pause()
        new.wait(lambda s: s.position["receiver"] == "CONNECTING")
        time.sleep(moment)
        driver.replication.apply_received(service, new.target)
        held = new.wait().position["received"]
        old.container.unpause()
        with pytest.raises(ServerError):
            driver.workload.open_writer(service, old.target).write(int(10 * moment))
        new.wait(lambda s: s.position["receiver"] == "OFF")
        assert new.wait().position["received"] == held
        driver.replication.attach(service, new.target, old.target, [])
        new.wait(lambda s: s.synchronized and s.acknowledges)

    old.container.pause()
    new.wait(lambda s: s.position["receiver"] == "CONNECTING")
    driver.replication.apply_received(service, new.target)
    driver.replication.promote(service, new.target, [], 0)
    old.container.unpause()
    writer = driver.workload.open_writer(service, new.target, timeout_seconds=5)
    writer.write(100)
    driver.settling.settle(service, new.target)
    with manager(new) as session:
        assert not session.rows("SHOW REPLICA STATUS")
    with pytest.raises(ServerError):
        driver.workload.open_writer(service, old.target).write(101)
    assert 101 not in writer.numbers()
