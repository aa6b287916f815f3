"""Addresses for instances: one that clients and servers can both use."""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
import threading
import time
from urllib.parse import urlsplit

import docker
from docker.errors import NotFound

from hamanager.errors import RuntimeFailedError

VARIABLE = "HAMANAGER_ADVERTISE_HOST"
FIRST_PORT, LAST_PORT = 20_000, 29_999
"""Below the range that Linux takes outgoing connections' ports from (32768 and up)."""
HANDED_OUT_SECONDS = 60.0


def choose_host(client: docker.DockerClient, advertised: str | None) -> str:
    """The advertised host if there is one, else the machine of a remote engine, else the default
    bridge's address on this machine (containers of all networks reach it, other machines do
    not), else this machine's own address."""
    named = advertised or os.environ.get(VARIABLE)
    if named:
        return named
    url = client.api.base_url
    if is_remote(url):
        return str(urlsplit(url).hostname)
    return _bridge_address(client) or _primary_address()


def is_remote(url: str) -> bool:
    """Whether an engine at that URL is another machine's."""
    parts = urlsplit(url)
    remote = parts.scheme in ("http", "https", "tcp", "ssh")
    return remote and bool(parts.hostname) and not _is_loopback(str(parts.hostname))


def bind_address(host: str) -> str:
    """The IP address to publish on: an engine takes no names.

    Raises:
        RuntimeFailedError: nobody knows that name.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise RuntimeFailedError(
            f"the advertised host '{host}' has no address here; correct {VARIABLE}"
        ) from error


class HandedOut:
    """Ports that were given to somebody a moment ago: until that is on record only this keeps
    another service from getting the same. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: dict[int, float] = {}
        """With when it was (monotonic)."""

    def choose(self, address: str, taken: frozenset[int]) -> int:
        """One that nobody has; see `free_port`."""
        with self._lock:
            since = time.monotonic() - HANDED_OUT_SECONDS
            self._ports = {port: at for port, at in self._ports.items() if at > since}
            port = free_port(address, taken | self._ports.keys())
            self._ports[port] = time.monotonic()
            return port


def free_port(address: str, taken: frozenset[int]) -> int:
    """A port that is not taken and that nobody listens on now, from a random start so that two
    managers rarely choose the same.

    Raises:
        RuntimeFailedError: there is none.
    """
    count = LAST_PORT - FIRST_PORT + 1
    start = random.randrange(count)
    for offset in range(count):
        port = FIRST_PORT + (start + offset) % count
        if port not in taken and _is_free(address, port):
            return port
    raise RuntimeFailedError(f"no port between {FIRST_PORT} and {LAST_PORT} is free on {address}")


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            # Another machine's address: only its engine can tell.
            return error.errno == errno.EADDRNOTAVAIL
    return True


def _bridge_address(client: docker.DockerClient) -> str | None:
    try:
        bridge = client.networks.get("bridge")
    except NotFound:
        return None
    for config in bridge.attrs["IPAM"]["Config"] or []:
        network = ipaddress.ip_network(config["Subnet"])
        if network.version == 4:
            # The gateway is named only where it was configured; it is the first address.
            return str(config.get("Gateway") or next(network.hosts()))
    return None


def _primary_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # only asks the routing table; nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
