"""The contract of `hamanager_testing`, for the engines that come with hamanager.

What each has to do beyond it is in its own file beside this one.
"""

from __future__ import annotations

import pytest

from hamanager.contracts.driver import Driver
from hamanager_drivers.mongodb.driver import MongoDBDriver
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.stateless.driver import StatelessDriver
from hamanager_testing import DriverContract, ReplicationContract, StatementContract
from hamanager_testing.servers import encrypted


class TestMySQL(DriverContract):
    @pytest.fixture
    def driver(self) -> Driver:
        return MySQLDriver()


class TestRedis(DriverContract):
    @pytest.fixture
    def driver(self) -> Driver:
        return RedisDriver()


class TestMongoDB(DriverContract):
    @pytest.fixture
    def driver(self) -> Driver:
        return MongoDBDriver()


@pytest.mark.long
class TestEncrypted(ReplicationContract):
    """Nothing of it depends on whether the servers encrypt; see also test_encryption.py."""

    @pytest.fixture(params=[MySQLDriver, RedisDriver, MongoDBDriver])
    def driver(self, request: pytest.FixtureRequest) -> Driver:
        made: Driver = request.param()
        return encrypted(made)


class TestStateless(StatementContract):
    """Its servers run whatever image somebody names: see tests/scenarios/test_stateless.py."""

    @pytest.fixture
    def driver(self) -> Driver:
        return StatelessDriver()
