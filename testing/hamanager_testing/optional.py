"""The small parts: memory, a shutdown of the server's own, clients."""

from __future__ import annotations

import pytest

from hamanager.contracts.driver import Driver
from hamanager.errors import ServerError
from hamanager_testing.standing import primary_of, workload_of


class CacheContract:
    """A server's own limit follows that of its container."""

    def test_the_limit_leaves_room_in_the_container(self, driver: Driver) -> None:
        if driver.cache is None:
            pytest.skip(f"{driver.engine} sets itself no limit")
        least = driver.traits.minimum_memory_bytes
        limits = [driver.cache.cache_limit_bytes(least * times) for times in (1, 2, 8)]
        found = [limit for limit in limits if limit is not None]
        assert found == sorted(found)
        assert all(0 < limit < least * times for limit, times in zip(found, (1, 2, 8), strict=True))

    def test_the_limit_changes_while_the_server_runs(self, driver: Driver) -> None:
        if driver.cache is None:
            pytest.skip(f"{driver.engine} sets itself no limit")
        least = driver.traits.minimum_memory_bytes
        with primary_of(driver) as server:
            for memory_bytes in (4 * least, 2 * least, 2 * least):
                driver.cache.resize(server.service, server.target, memory_bytes)
            held = driver.cache.cache_bytes(server.service, server.target)
            assert held is None or held >= 0


class ShutdownContract:
    """A planned stop."""

    def test_a_server_that_shuts_itself_down_ends(self, driver: Driver) -> None:
        if driver.shutdown is None:
            pytest.skip(f"the runtime stops a server of {driver.engine}")
        with primary_of(driver) as server:
            driver.shutdown.shut_down(server.service, server.target)
            server.container.wait(timeout=30)


class WorkloadContract:
    """Clients that write numbered rows."""

    def test_a_client_reads_what_it_wrote_and_the_canary_what_it_left(self, driver: Driver) -> None:
        workload, canary = workload_of(driver), driver.canary
        with primary_of(driver) as server:
            if canary is not None:
                left = [canary.beat(server.service, server.target, n, 5.0) for n in (7, 8, 9)]
                assert left == [None, 7, 8]
            writer = workload.open_writer(server.service, server.target)
            for _ in range(2):
                writer.prepare()
            assert writer.numbers() == set()
            writer.fill(300_000)
            for number in (1, 2, 3):
                writer.write(number)
            assert writer.numbers() == {1, 2, 3}
            server.kill()
            with pytest.raises(ServerError):
                writer.write(4)
            if canary is not None:
                with pytest.raises(ServerError):
                    canary.beat(server.service, server.target, 10, 1.0)
            for _ in range(2):
                writer.close()
