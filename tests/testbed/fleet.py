"""hamanager on the hosts of a test bed, used as an operator would: a member of etcd and a manager
on each host, and every host on record.

What is seen and done from here comes from one more machine in the hosts' network, which no failure
concerns: clients of the databases run there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from hamanager.api.client import Client
from hamanager.chaos.services import Services, wait_for
from hamanager.discovery import load_drivers
from hamanager.endpoints.haproxy.endpoint import IMAGE, SIDECAR
from hamanager.errors import HamanagerError
from hamanager.model.service import Target
from hamanager.stores.opening import open_store
from tests.testbed.bed import Testbed
from tests.testbed.etcd import Etcd
from tests.testbed.host import Host
from tests.testbed.process import TestbedError

PROGRAM = (sys.executable, "-m", "hamanager")
COMMAND_SECONDS = 300.0
START_SECONDS = 60.0
LOOK_SECONDS = 0.1
MANAGER = "manager"
"""The unit's name."""
Show = Callable[[str], None]


class Fleet(Services):
    """Use as a context manager inside a `Testbed`, which removes everything."""

    def __init__(self, bed: Testbed, show: Show | None = None) -> None:
        super().__init__()
        self.bed = bed
        self.hosts = bed.hosts
        self.etcd = Etcd(bed)
        self._show = show
        self._following: dict[str, _Following] = {}
        self._home = bed.directory / "client"

    def __enter__(self) -> Fleet:
        self._begin()
        first = self.hosts[0]
        self._start_manager(first, "--advertise-host", first.address)
        self._wait_for_manager(first)
        for host in self.hosts:
            words = ("host", "add", host.name, "--docker", host.docker_url)
            self.command(*words, "--address", host.address, "--without-tls", on=first)
        first.units[MANAGER].process.terminate()
        for host in self.hosts:
            self._start_manager(host, "--name", host.name, "--on", host.name)
        for host in self.hosts:
            self._wait_for_manager(host)
        return self

    def _begin(self) -> None:
        self.etcd.start()
        self._home.mkdir()
        self.store = open_store(self.etcd.url, self._home)

    def _start_manager(self, host: Host, *options: str) -> None:
        words = (*PROGRAM, "serve", "--store", self.etcd.url, *options)
        host.unit(MANAGER, *words, environment=self.environment(host))

    def _wait_for_manager(self, host: Host) -> None:
        wait_for(f"the manager on {host.name}", START_SECONDS, lambda: self._answers(host))

    def __exit__(self, *_: object) -> None:
        for following in self._following.values():
            following.stop()
        self.store.close()

    def environment(self, host: Host) -> Mapping[str, str]:
        """Of hamanager's programs there."""
        here = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        here.pop("HAMANAGER_ADVERTISE_HOST", None)
        return {**here, "HAMANAGER_HOME": str(_home(host)), "COLUMNS": "100"}

    # --- Hosts ---------------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """The one of that name."""
        return next(host for host in self.hosts if host.name == name)

    def well(self) -> Host:
        """One that nothing is known to be wrong with, nor with its manager."""
        fit = (host for host in self.hosts if host.is_well and MANAGER in host.units)
        return next(host for host in fit if not host.units[MANAGER].process.suspended)

    def host_of(self, service: str, instance: str) -> Host:
        """Where an instance is, as the record says."""
        found = self.record(service).instance(instance)
        assert found is not None, f"there is no {instance}"
        return self.host(found.placed_on)

    def host_of_primary(self, service: str) -> Host:
        """Where the primary is, as the record says."""
        return self.host_of(service, self.primary(service).name)

    def leader_of(self, service: str) -> Host | None:
        """Whose manager acts on that service; None when nobody does at the moment."""
        for row in self.managers() or []:
            if row["alive"] and service in row["leads"]:
                return self.host(row["name"])
        return None

    def managers(self) -> Any:
        """What `hamanager managers` shows."""
        try:
            with self._client(self.well()) as client:
                return [row.model_dump(mode="json") for row in client.managers()]
        except HamanagerError:
            return None

    def logs(self) -> str:
        """The end of what every manager has printed."""
        paths = [host.directory / f"{MANAGER}.log" for host in self.hosts]
        return "\n".join(
            f"--- {path.parent.name}\n{path.read_text()[-8000:]}" for path in paths if path.exists()
        )

    # --- Commands ------------------------------------------------------------------------------

    def run(self, *words: str, on: Host | None = None) -> tuple[int, str]:
        """Run a command on a host to its end; its exit code and what it printed."""
        host = on or self.well()
        environment = self.environment(host)
        done = host.call(*PROGRAM, *words, environment=environment, seconds=COMMAND_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def command(self, *words: str, on: Host | None = None) -> str:
        """Run a command that has to succeed; what it printed.

        Raises:
            HamanagerError: it failed.
        """
        code, printed = self.run(*words, on=on)
        if self._show is not None:
            for line in printed.splitlines():
                self._show(line)
        if code != 0:
            raise HamanagerError(f"`hamanager {' '.join(words)}` ended with {code}: {printed}")
        return printed

    def ask(
        self,
        what: Literal["info", "history"],
        service: str | None = None,
        on: Host | None = None,
    ) -> Any:
        """What such a command prints as JSON on a host (that is well); None when nobody answers."""
        try:
            with self._client(on or self.well()) as client:
                if what == "history":
                    return [entry.model_dump(mode="json") for entry in client.history(str(service))]
                views = client.views() if service is None else [client.view(service)]
        except (HamanagerError, StopIteration):
            return None
        shown = [view.model_dump(mode="json", by_alias=True) for view in views]
        return shown if service is None else shown[0]

    def _client(self, host: Host) -> Client:
        return Client.connect(host.outside(_home(host)))

    def _answers(self, host: Host) -> bool:
        unit = host.units[MANAGER]
        if not unit.process.runs:
            raise TestbedError(
                f"the manager on {host.name} has ended: {unit.process.printed()[-2000:]}"
            )
        try:
            with self._client(host) as client:
                client.views()
        except HamanagerError:
            return False
        return True

    # --- Clients -------------------------------------------------------------------------------

    def followed(self, service: str) -> Callable[[], Sequence[Target]]:
        """The instances, as they were known last: a client is not held up by a store that is."""
        if service not in self._following:
            self._following[service] = _Following(lambda: self.members(service))
        following = self._following[service]
        return lambda: following.members


class Machine(Fleet):
    """hamanager on a single machine: no host is on record."""

    def __enter__(self) -> Machine:
        self._begin()
        [host] = self.hosts
        self._start_manager(host, "--advertise-host", host.address)
        self._wait_for_manager(host)
        return self


class _Following(threading.Thread):
    """Looks for who the instances are."""

    def __init__(self, look: Callable[[], Sequence[Target]]) -> None:
        super().__init__(name="following", daemon=True)
        self._look = look
        self._stopping = threading.Event()
        self.members = look()
        self.start()

    def run(self) -> None:
        """The thread's life."""
        while not self._stopping.wait(LOOK_SECONDS):
            with suppress(HamanagerError):
                self.members = self._look() or self.members

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stopping.set()
        self.join(10)


def _home(host: Host) -> Path:
    return host.path("hamanager")


def images(engines: Sequence[str]) -> dict[str, str]:
    """What hosts need for those engines: defaults by name, for `ensure_images`."""
    drivers = load_drivers()
    return {name: str(drivers[name].traits.image) for name in engines} | {SIDECAR: IMAGE}
