"""All drivers, by engine name."""

from __future__ import annotations

from collections.abc import Mapping

from hamanager.contracts.driver import Driver
from hamanager_drivers.mongodb.driver import MongoDBDriver
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.stateless.driver import StatelessDriver


def load_drivers() -> Mapping[str, Driver]:
    """A driver of each engine."""
    drivers: tuple[Driver, ...] = (
        MySQLDriver(),
        RedisDriver(),
        MongoDBDriver(),
        StatelessDriver(),
    )
    return {driver.engine: driver for driver in drivers}
