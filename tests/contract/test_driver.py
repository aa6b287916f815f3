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
from hamanager_testing import DriverContract, StatementContract


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


class TestStateless(StatementContract):
    """Its servers run whatever image somebody names: see tests/scenarios/test_stateless.py."""

    @pytest.fixture
    def driver(self) -> Driver:
        return StatelessDriver()
