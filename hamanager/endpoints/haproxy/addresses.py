"""The IP addresses of advertised hosts. A name that ceases to resolve, or a server of names that
hangs, must not hold up a failover: the last known address goes on being used, and is looked up
again only while nobody waits."""

from __future__ import annotations

import ipaddress
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from hamanager.endpoints.haproxy import shared
from hamanager.errors import EndpointFailedError, HamanagerError

log = logging.getLogger("hamanager")

REFRESH_SECONDS = 60.0


class Addresses:
    """By host. What is known outlives the manager."""

    def __init__(
        self, path: Path, resolve: Callable[[str], str], write: Callable[[str], None]
    ) -> None:
        """`write` keeps a text in the file at `path`."""
        self._resolve = resolve
        self._write = write
        self._known = _load(path)
        self._refreshed_at = time.monotonic()

    def __call__(self, host: str) -> str:
        """The address of a host.

        Raises:
            EndpointFailedError: it was never known, and nobody knows it now.
        """
        if _is_address(host):
            return host
        if host not in self._known:
            try:
                self._learn(host, self._resolve(host))
            except HamanagerError as error:
                raise EndpointFailedError(str(error)) from error
        return self._known[host]

    def refresh(self) -> bool:
        """Look up again, now and then, what is known, which may take as long as it likes; whether
        anything has changed."""
        if time.monotonic() - self._refreshed_at < REFRESH_SECONDS:
            return False
        changed = False
        for host in list(self._known):
            try:
                found = self._resolve(host)
            except HamanagerError as error:
                log.warning("%s; %s is used as before", error, self._known[host])
                continue
            if found != self._known[host]:
                log.warning("%s is at %s now", host, found)
                self._learn(host, found)
                changed = True
        self._refreshed_at = time.monotonic()
        return changed

    def _learn(self, host: str, address: str) -> None:
        self._known = {**self._known, host: address}
        self._write(json.dumps(self._known, indent=1))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _load(path: Path) -> dict[str, str]:
    try:
        known = json.loads(shared.read(path) or "{}")
        return {str(host): str(address) for host, address in known.items()}
    except (ValueError, AttributeError):
        return {}
