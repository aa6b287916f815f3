"""Where instances can run: this machine's own Docker engine, and the hosts on record."""

from __future__ import annotations

from hamanager.contracts.store import Store
from hamanager.runtimes.docker.engine import Location
from hamanager.runtimes.docker.runtime import DockerRuntime
from hamanager.runtimes.hosts.runtime import HostsRuntime
from hamanager.stores.repository import load_hosts


def runtime_of(store: Store, installation: str, advertise_host: str | None) -> HostsRuntime:
    """The runtime of that installation, which follows the hosts on record."""
    runtime = HostsRuntime(
        DockerRuntime(installation, advertise_host),
        lambda: load_hosts(store),
        lambda host: DockerRuntime(
            installation, host.address, location=Location(host.docker, host.tls)
        ),
    )
    runtime.begin()
    return runtime
