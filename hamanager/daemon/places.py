"""Where instances can run: this machine's own Docker engine, and the hosts on record."""

from __future__ import annotations

from collections.abc import Collection

from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.store import Store
from hamanager.daemon.hosts import Hosts
from hamanager.errors import ConflictError, NotFoundError
from hamanager.model.host import Host
from hamanager.runtimes.docker.engine import Location
from hamanager.runtimes.docker.images import names_of
from hamanager.runtimes.docker.runtime import DockerRuntime
from hamanager.runtimes.hosts.runtime import HostsRuntime
from hamanager.stores.repository import load_hosts

PROXY, PROXY_IMAGE = "haproxy", "haproxy:3"


class Places:
    """The runtime of an installation, and how its hosts are changed."""

    def __init__(
        self, store: Store, installation: str, advertise_host: str | None, on: str = ""
    ) -> None:
        """`on`: the host that this machine is.

        Raises:
            NotFoundError: there is no such host.
            ConflictError: this machine's engine is another one.
            RuntimeFailedError: it does not answer.
        """
        self._store = store
        self._installation = installation
        self.address: str | None = None
        """Of the host that this machine is."""
        here = self._here(on, advertise_host)
        self.runtime = HostsRuntime(here, lambda: load_hosts(store), self._connected, on)
        self.runtime.begin()

    def hosts(self, drivers: Collection[Driver], clock: Clock) -> Hosts:
        """How they are changed."""

        def images() -> list[str]:
            engines = [(driver.engine, driver.traits.image) for driver in drivers]
            wanted = [*engines, (PROXY, PROXY_IMAGE)]
            return [name for engine, image in wanted for name in names_of(engine, image)]

        return Hosts(self._store, self.runtime, clock, self._connected, images)

    def _connected(self, host: Host) -> DockerRuntime:
        location = Location(host.docker, host.tls)
        return DockerRuntime(self._installation, host.address, location=location)

    def _here(self, on: str, advertise_host: str | None) -> DockerRuntime:
        if not on:
            return DockerRuntime(self._installation, advertise_host)
        known = {host.name: host for host in load_hosts(self._store)}
        host = known.get(on)
        if host is None:
            raise NotFoundError(
                f"there is no host '{on}' on record ({', '.join(known) or 'there are none'}): start"
                f" without --on, `hamanager host add {on}`, and start again; nothing was started"
            )
        self.address = host.address
        here = DockerRuntime(self._installation, host.address)
        if here.look().id != host.engine_id:
            here.close()
            raise ConflictError(
                f"the Docker engine of this machine is not that of the host {on}: name the one that"
                " this machine is; nothing was started"
            )
        return here
