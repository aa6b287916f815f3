"""The manager's own write, under a key of its own."""

from __future__ import annotations

from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.redis.config import MANAGER
from hamanager_drivers.redis.connections import connect, told_apart

KEY = "hamanager:canary"


class RedisCanary:
    """An application may remove it (FLUSHALL): it is there again with the next beat."""

    def beat(
        self, service: ServiceContext, target: Target, number: int, timeout_seconds: float
    ) -> int | None:
        """One key, set."""
        password = service.secrets["manager_password"]
        client = connect(service, target, MANAGER, password, timeout_seconds)
        try:
            with told_apart(target):
                found = client.set(KEY, str(number), get=True)
        finally:
            client.close()
        return int(str(found)) if found else None
