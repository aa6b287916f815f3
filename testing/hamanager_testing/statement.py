"""What a driver states of itself; no server is started."""

from __future__ import annotations

from hamanager.contracts.driver import Driver
from hamanager.daemon import timeouts
from hamanager.discovery import load_drivers
from hamanager.model.service import ServiceContext, Target

TARGET = Target("t.0", "192.0.2.1", 7000, 0, 7001)


class StatementContract:
    """Name, traits, parts, and what is computed from nothing else."""

    def test_it_is_found_under_its_name(self, driver: Driver) -> None:
        assert type(load_drivers()[driver.engine]) is type(driver)

    def test_its_calls_end_before_the_lease_and_its_probes_before_a_look(
        self, driver: Driver
    ) -> None:
        assert timeouts.problems(timeouts.present({driver.engine: driver})) == []

    def test_its_traits_make_sense(self, driver: Driver) -> None:
        traits = driver.traits
        assert 1 in traits.allowed_instances
        assert traits.durabilities
        assert traits.minimum_memory_bytes > 0
        assert bool(traits.server_program) is (driver.replication is not None)

    def test_its_parts_go_together(self, driver: Driver) -> None:
        """Standbys that acknowledge are waited for; who elects is not chosen for."""
        if driver.semisync is not None:
            assert driver.required_acks is not None
            assert driver.election is None
        if driver.leaving is not None:
            assert driver.required_acks is not None
            assert driver.traits.refuses_alone_after_seconds is not None
        if driver.election is not None:
            assert driver.replication is not None
            assert driver.required_acks is None

    def test_secrets_are_fresh_each_time(self, driver: Driver) -> None:
        first, second = driver.new_secrets(), driver.new_secrets()
        assert first.keys() == second.keys()
        assert all(first[name] != second[name] for name in first)

    def test_secrets_go_into_files_alone(self, driver: Driver) -> None:
        service = ServiceContext("t", driver.engine, None, driver.new_secrets(), port=8080)
        launch = driver.launch_spec(service, TARGET)
        shell = driver.shell(service)
        for secret in service.secrets.values():
            assert secret not in launch.script
            assert secret not in repr(launch)
            assert secret not in f"{shell.program} {shell.preparation}"
            assert secret not in repr(driver.connection(service, ("192.0.2.1", 7), [TARGET]))

    def test_nobody_connects_to_what_has_no_address(self, driver: Driver) -> None:
        service = ServiceContext("t", driver.engine, None, driver.new_secrets(), port=8080)
        assert driver.connection(service, None, []) is None
        found = driver.connection(service, ("192.0.2.1", 7), [TARGET])
        assert found is not None
        assert "192.0.2.1" in found.url
