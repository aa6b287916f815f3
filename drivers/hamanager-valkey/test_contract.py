"""The contract of drivers, for Valkey."""

from __future__ import annotations

import pytest

from hamanager_testing import DriverContract
from hamanager_valkey.driver import ValkeyDriver


class TestValkey(DriverContract):
    @pytest.fixture
    def driver(self) -> ValkeyDriver:
        return ValkeyDriver()
