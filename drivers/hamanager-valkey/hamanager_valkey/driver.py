"""The Valkey driver: Redis's, whose protocol, INFO fields and replication Valkey has kept."""

from __future__ import annotations

from dataclasses import replace

from hamanager_drivers.redis.driver import RedisDriver


class ValkeyDriver(RedisDriver):
    """Valkey 7.2 and later. The URL begins with `redis://`, which clients of either understand."""

    engine = "valkey"
    product = "Valkey"
    client_program = "valkey-cli"
    traits = replace(RedisDriver.traits, image="valkey/valkey:8", server_program="valkey-server")
