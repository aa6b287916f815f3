"""Real servers in containers, through testcontainers.

A `Server` is started exactly as the product's runtime would start it: the driver's launch
spec, an unprivileged user, a published port on an address that hosts and containers share.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image needs a registry

import docker
import pytest
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer

from hamanager.authority.certificates import Certified, Wanted, issue, new_authority
from hamanager.contracts.driver import DATA_DIRECTORY, Driver, LaunchSpec
from hamanager.contracts.replication import HandOver
from hamanager.errors import ServerError
from hamanager.model.encryption import Encryption, identity
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import ServerStatus
from hamanager.runtimes.docker import address
from hamanager.runtimes.docker.archive import SERVER_UID, launch_archive
from hamanager.runtimes.docker.images import resolve_image

LABEL = "hamanager.tests"
_ENCRYPTED = "encrypted in tests"

D = TypeVar("D", bound=Driver, covariant=True)
One = TypeVar("One", bound=Driver)


class EngineContainer(DockerContainer):
    """A testcontainers container that gets its files the way the product's runtime does it."""

    def __init__(self, image: str, launch: LaunchSpec, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self._launch = launch
        self.with_copy_into_container(b"", "/hamanager/unused")

    def _transfer_into_container(self, *_: Any) -> None:
        self.get_wrapped_container().put_archive("/", launch_archive(self._launch))


class Server(Generic[D]):
    """One real server with a data volume of its own."""

    def __init__(self, driver: D, service: ServiceContext, serial: int) -> None:
        self.driver = driver
        self.service = service
        self.client = docker.from_env()
        host = gateway(self.client)
        admin = free_port(host) if driver.traits.admin_interface else None
        self.target = Target(f"{service.name}.{serial}", host, free_port(host), serial, admin)
        self.volume = f"hamanager-test-{uuid.uuid4().hex[:10]}"
        self.client.volumes.create(self.volume, labels={LABEL: "1"})
        self._testcontainer: EngineContainer | None = None

    @property
    def container(self) -> Container:
        """The docker package's handle of the container."""
        assert self._testcontainer is not None
        return self._testcontainer.get_wrapped_container()

    def start(self) -> Self:
        """Create and start it; does not wait until it answers."""
        launch = self.driver.launch_spec(self.service, self.target)
        image = resolve_image(self.client, self.driver.engine, self.driver.traits.image)
        testcontainer = EngineContainer(image, launch)
        testcontainer.with_command(["/bin/sh", "-c", launch.script])
        testcontainer.with_volume_mapping(self.volume, DATA_DIRECTORY, "rw")
        # A port bound to one address is not something with_bind_ports can say.
        ports = {str(launch.port): (self.target.host, self.target.port)}
        if launch.admin_port and self.target.admin_port:
            ports[str(launch.admin_port)] = (self.target.host, self.target.admin_port)
        testcontainer.ports = ports  # type: ignore[assignment]
        testcontainer.with_kwargs(
            user=f"{SERVER_UID}:{SERVER_UID}",
            entrypoint=[],
            cap_drop=["ALL"],
            stop_signal=launch.stop_signal,
            labels={LABEL: "1"},
        )
        self._testcontainer = testcontainer.start()
        return self

    def wait(
        self,
        until: Callable[[ServerStatus], bool] = lambda _: True,
        seconds: float = 60,
    ) -> ServerStatus:
        """Probe until it answers and the condition holds; fails the test with the last word."""
        deadline = time.monotonic() + seconds
        last = "never probed"
        while time.monotonic() < deadline:
            try:
                status = self.driver.probe(self.service, self.target)
            except ServerError as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if until(status):
                    return status
                last = repr(status)
            time.sleep(0.05)
        pytest.fail(
            f"{self.target.name} did not get there in {seconds:.0f} s; last: {last}\n"
            f"{self.container.logs(tail=30).decode(errors='replace')}"
        )

    def kill(self) -> None:
        """SIGKILL its process; returns when the container has exited."""
        self.container.kill()
        self.container.wait(timeout=20)

    def start_again(self) -> None:
        """Start the exited container."""
        self.container.start()

    def remove(self) -> None:
        """Remove the container and its data."""
        self.driver.forget(self.target)
        if self._testcontainer is not None:
            with contextlib.suppress(docker.errors.NotFound):
                self.container.remove(force=True, v=True)
        self.client.volumes.get(self.volume).remove(force=True)
        self.client.close()


@contextlib.contextmanager
def servers(
    driver: One, count: int, memory_bytes: int | None = None
) -> Iterator[list[Server[One]]]:
    """That many started servers of a fresh service, removed afterwards."""
    encryption = encryption_for(driver)
    service = ServiceContext(
        "t", driver.engine, memory_bytes, driver.new_secrets(), encryption=encryption
    )
    made = [Server(driver, service, serial) for serial in range(count)]
    try:
        yield [server.start() for server in made]
    finally:
        for server in made:
            server.remove()


def encrypted(driver: One) -> One:
    """Have that driver's servers encrypt what they say."""
    driver.__dict__[_ENCRYPTED] = True
    return driver


def encryption_for(driver: Driver, authority: Certified | None = None) -> Encryption | None:
    """What they do it with; None unless they are to."""
    if not driver.__dict__.get(_ENCRYPTED):
        return None
    client = docker.from_env()
    try:
        hosts = (identity("t"), gateway(client), "127.0.0.1", "localhost")
    finally:
        client.close()
    signer = authority or new_authority("tests", time.time())
    made = issue(signer, Wanted("t", hosts), time.time())
    return Encryption(trusted=signer.certificate, certificate=made.certificate, key=made.key)


def gateway(client: docker.DockerClient) -> str:
    """The default bridge's address on the host: reachable from the host and from containers."""
    config = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    # Docker names the gateway only when it was configured; it takes the first address.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


def free_port(host: str) -> int:
    """A port that nobody uses now on that address, each once; none of those that outgoing
    connections take, as one of them could have it before the server does."""
    port = address.free_port(host, frozenset(_handed_out))
    _handed_out.add(port)
    return port


_handed_out: set[int] = set()


TERMS = HandOver(
    before_stop=lambda: None,
    before_promotion=lambda: None,
    before_undo=lambda: None,
    required_acks=0,
    term=None,
    patience_seconds=0.0,
    kill=True,
)
"""A plain planned change of primary."""
