"""What every driver has to do, as tests that its package runs against itself, on real servers.

    from hamanager_testing import DriverContract

    class TestMine(DriverContract):
        @pytest.fixture
        def driver(self) -> MyDriver:
            return MyDriver()

They need Docker and the image that the driver's traits name. A part that the driver leaves out
skips its own tests. See docs/writing-a-driver.md.
"""

import pytest

for _module in (
    "election",
    "lifecycle",
    "optional",
    "replication",
    "semisync",
    "standing",
    "statement",
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from hamanager_testing.election import ElectionContract  # noqa: E402
from hamanager_testing.lifecycle import LifecycleContract  # noqa: E402
from hamanager_testing.optional import (  # noqa: E402
    CacheContract,
    ShutdownContract,
    WorkloadContract,
)
from hamanager_testing.replication import ReplicationContract  # noqa: E402
from hamanager_testing.semisync import (  # noqa: E402
    LeavingContract,
    RequiredAcksContract,
    SemiSyncContract,
)
from hamanager_testing.statement import StatementContract  # noqa: E402


class DriverContract(
    StatementContract,
    LifecycleContract,
    ReplicationContract,
    RequiredAcksContract,
    LeavingContract,
    SemiSyncContract,
    ElectionContract,
    CacheContract,
    ShutdownContract,
    WorkloadContract,
):
    """All of it; the class that derives from it has a fixture `driver`."""


__all__ = [
    "CacheContract",
    "DriverContract",
    "ElectionContract",
    "LeavingContract",
    "LifecycleContract",
    "ReplicationContract",
    "RequiredAcksContract",
    "SemiSyncContract",
    "ShutdownContract",
    "StatementContract",
    "WorkloadContract",
]
