"""Replicated databases for tests: `ha_mysql`, `ha_redis`, `ha_mongodb`."""

from pytest_hamanager.service import Service, assert_no_lost_writes

__all__ = ["Service", "assert_no_lost_writes"]
