"""What is asked of every server: it starts harmless, tells what it is, and its end is noticed."""

from __future__ import annotations

import select
import time

import pytest

from hamanager.contracts.driver import Driver
from hamanager.errors import RefusedError, ServerError
from hamanager.model.snapshot import Role
from hamanager_testing.servers import servers
from hamanager_testing.standing import assert_refuses_writes, primary_of, replication_of

PROBE_SECONDS = 3.0
"""A probe's own time-out, and what the machine takes on top of it."""


class LifecycleContract:
    """With servers of a service that nobody has set up, or one primary."""

    def test_a_server_starts_unable_to_take_writes(self, driver: Driver) -> None:
        with servers(driver, 1) as [server]:
            assert server.wait().role is Role.STANDBY
            if driver.workload is not None:
                assert_refuses_writes(server)

    def test_secrets_stay_out_of_the_container_description(self, driver: Driver) -> None:
        with servers(driver, 1) as [server]:
            description = str(server.container.attrs)
            for secret in server.service.secrets.values():
                assert secret not in description
                assert secret not in repr(server.service)

    def test_silence_and_refusal_are_told_apart(self, driver: Driver) -> None:
        with primary_of(driver) as server:
            server.container.pause()
            began = time.monotonic()
            with pytest.raises(ServerError) as caught:
                driver.probe(server.service, server.target)
            assert not isinstance(caught.value, RefusedError)
            assert time.monotonic() - began < PROBE_SECONDS
            server.container.unpause()
            assert server.wait().role is Role.PRIMARY
            for secret in server.service.secrets.values():
                assert secret not in str(caught.value)
            server.kill()
            with pytest.raises(RefusedError):
                driver.probe(server.service, server.target)

    def test_a_tripwire_ends_with_its_server(self, driver: Driver) -> None:
        with primary_of(driver) as server:
            tripwire = driver.open_tripwire(server.service, server.target)
            if tripwire is None:
                pytest.skip(f"{driver.engine} keeps no idle connections open")
            with tripwire:
                assert not select.select([tripwire], [], [], 0.2)[0], "it ended before the server"
                server.kill()
                assert select.select([tripwire], [], [], 5)[0], "it outlived the server"

    def test_a_restarted_server_takes_no_writes_by_itself(self, driver: Driver) -> None:
        replication_of(driver)
        if driver.election is not None:
            pytest.skip(f"{driver.engine} elects its primary by itself, a lone member at once")
        with primary_of(driver) as server:
            server.kill()
            server.start_again()
            assert server.wait().role is Role.STANDBY
            assert_refuses_writes(server)

    def test_a_server_whose_connections_were_forgotten_is_asked_anew(self, driver: Driver) -> None:
        with primary_of(driver) as server:
            driver.forget(server.target)
            driver.forget(server.target)
            assert driver.probe(server.service, server.target).role is Role.PRIMARY
