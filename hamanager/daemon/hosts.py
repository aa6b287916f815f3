"""Hosts are added, left and removed: each is checked before anything changes."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Protocol

from hamanager.api.hosts import HostView
from hamanager.contracts.clock import Clock
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.errors import (
    ConflictError,
    HamanagerError,
    NotFoundError,
    RuntimeFailedError,
    StaleVersionError,
    UnmanageableError,
    UsageError,
)
from hamanager.model.host import EngineInfo, Host, HostTls
from hamanager.model.record import ServiceRecord
from hamanager.stores.repository import host_key, load_hosts, load_record, service_names

OLDEST = (20, 10)
CLOCK_SECONDS = 60.0
"""Clocks that are further apart make nonsense of what is written down."""
CONNECT_SECONDS = 5.0
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SCHEMES = ("unix://", "ssh://", "tcp://")
_UNCHANGED = "; nothing was changed"


class HostEngine(Protocol):
    """What is asked of an engine before it is a host."""

    def look(self) -> EngineInfo:
        """What it says of itself."""
        ...

    def reserve_address(self, taken: frozenset[int]) -> tuple[str, int]:
        """Its address, and a free port there."""
        ...

    def listen(self, images: Sequence[str], address: str, port: int, word: str) -> None:
        """Answer with that word there, until `end_reach`."""
        ...

    def call(self, images: Sequence[str], address: str, port: int) -> str:
        """What answers there, as its containers see it."""
        ...

    def end_reach(self) -> None:
        """End what listens."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Hosts:
    """The hosts of an installation, as operators change them."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        clock: Clock,
        connect: Callable[[Host], HostEngine],
        images: Callable[[], Sequence[str]],
    ) -> None:
        """`images` are names of which some may be on a host already."""
        self._store = store
        self._runtime = runtime
        self._clock = clock
        self._connect = connect
        self._images = images

    def all(self) -> list[HostView]:
        """Every host, with what is on it."""
        return [self._view(host) for host in load_hosts(self._store)]

    def add(
        self,
        name: str,
        docker: str,
        address: str,
        tls: HostTls | None = None,
        *,
        without_tls: bool = False,
    ) -> HostView:
        """Put a host on record that can be one.

        Raises:
            UsageError: a name, URL or address that cannot be.
            ConflictError: it is on record already, or its engine is of no use as it is.
            RuntimeFailedError: its engine does not answer.
        """
        check_words(name, docker, address, tls, without_tls=without_tls)
        known = load_hosts(self._store)
        for other in known:
            if other.name == name:
                raise ConflictError(f"there is a host '{name}' already{_UNCHANGED}")
            if other.address == address:
                raise ConflictError(f"{address} is the address of {other.name} already{_UNCHANGED}")
        asked = Host(name=name, docker=docker, address=address, tls=tls, added_at=self._clock.now())
        with self._engine(asked) as engine:
            info = self._checked(engine, known)
            self._check_reach(asked, engine, known)
        host = asked.identified(info.id)
        try:
            self._store.put(host_key(name), host.model_dump_json(), 0)
        except StaleVersionError:
            raise ConflictError(f"there is a host '{name}' already{_UNCHANGED}") from None
        return self._view(host)

    def change(
        self, name: str, docker: str, tls: HostTls | None = None, *, without_tls: bool = False
    ) -> HostView:
        """Reach a host's engine in another way, such as with another certificate.

        Raises:
            NotFoundError: there is no such host.
            UsageError: a URL that cannot be.
            ConflictError: another engine is there.
            RuntimeFailedError: none answers there.
        """
        host, version = self._known(name)
        check_words(name, docker, host.address, tls, without_tls=without_tls)
        changed = host.reached(docker, tls)
        with self._engine(changed) as engine:
            if engine.look().id != host.engine_id:
                raise ConflictError(f"that is not the Docker engine of {name}{_UNCHANGED}")
        self._store.put(host_key(name), changed.model_dump_json(), version)
        return self._view(changed)

    def drain(self, name: str, *, draining: bool) -> HostView:
        """Let everything move to other hosts, or let it be used again.

        Raises:
            NotFoundError: there is no such host.
            ConflictError: no other host could take anything.
        """
        host, version = self._known(name)
        others = [h for h in self._runtime.hosts() if h.name != name]
        there = self._there(name)
        if draining and there and not any(h.answers and not h.draining for h in others):
            raise ConflictError(
                f"no other host answers that could take {' and '.join(there)}{_UNCHANGED}"
            )
        changed = host.drained(draining)
        if changed != host:
            self._store.put(host_key(name), changed.model_dump_json(), version)
        return self._view(changed)

    def remove(self, name: str, *, lost: bool = False) -> None:
        """Take a host off the record on which nothing is; or, with `lost`, one that does not answer
        and never will again.

        Raises:
            NotFoundError: there is no such host.
            ConflictError: something is there, or it is not lost.
        """
        host, version = self._known(name)
        seen = next((h for h in self._runtime.hosts() if h.name == name), None)
        if lost and seen is not None and seen.answers:
            raise ConflictError(
                f"{name} answers, so it is not lost: `hamanager host drain {name}`{_UNCHANGED}"
            )
        view = self._view(host)
        there = [*view.instances, *view.left]
        if there and not lost:
            raise ConflictError(
                f"{name} has {', '.join(there)}: `hamanager host drain {name}` first, and discard"
                f" retained data, or say with --lost that the machine is gone for good{_UNCHANGED}"
            )
        self._store.delete(host_key(name), version)

    # --- Checks ----------------------------------------------------------------------------------

    def _checked(self, engine: HostEngine, known: Sequence[Host]) -> EngineInfo:
        began = self._clock.now()
        info = engine.look()
        now = (began + self._clock.now()) / 2
        if _version(info.version) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise ConflictError(
                f"its Docker is {info.version}, and {oldest} or later is needed{_UNCHANGED}"
            )
        same = next((other for other in known if other.engine_id == info.id), None)
        if same is not None:
            raise ConflictError(f"that is the Docker engine of {same.name}{_UNCHANGED}")
        if info.now is not None and abs(info.now - now) > CLOCK_SECONDS:
            raise ConflictError(
                f"its clock is {abs(info.now - now):.0f} s off this machine's: set both by NTP"
                f"{_UNCHANGED}"
            )
        return info

    def _check_reach(self, host: Host, engine: HostEngine, known: Sequence[Host]) -> None:
        """What is published there is reached from here and from the other hosts, and vice versa."""
        images, word = list(self._images()), secrets.token_hex(8)
        others = {seen.name: seen for seen in self._runtime.hosts()}
        asked = [other for other in known if other.name in others and others[other.name].answers]
        with _listening(host, engine, images, word) as port:
            if _call_from_here(host.address, port) != word:
                raise ConflictError(
                    f"what is published at {host.address} is not reached from this machine"
                    f"{_UNCHANGED}"
                )
            for other in asked:
                with self._engine(other) as theirs:
                    if theirs.call(images, host.address, port) != word:
                        raise ConflictError(
                            f"what is published at {host.address} is not reached from {other.name}"
                            f"{_UNCHANGED}"
                        )
        for other in asked:
            with (
                self._engine(other) as theirs,
                _listening(other, theirs, images, word) as port,
            ):
                if engine.call(images, other.address, port) != word:
                    raise ConflictError(
                        f"it does not reach what is published at {other.address}, the address of"
                        f" {other.name}{_UNCHANGED}"
                    )

    @contextmanager
    def _engine(self, host: Host) -> Iterator[HostEngine]:
        engine = self._connect(host)
        try:
            yield engine
        except RuntimeFailedError as error:
            raise RuntimeFailedError(f"{host.name}: {error}{_UNCHANGED}") from error
        finally:
            engine.close()

    # --- What is there ---------------------------------------------------------------------------

    def _known(self, name: str) -> tuple[Host, int]:
        kept = self._store.get(host_key(name))
        if kept is None:
            names = ", ".join(host.name for host in load_hosts(self._store)) or "none"
            raise NotFoundError(f"there is no host '{name}': there is {names}")
        return Host.model_validate_json(kept.value), kept.version

    def _records(self) -> Iterator[tuple[str, ServiceRecord]]:
        for service in service_names(self._store):
            with suppress(UnmanageableError):
                yield service, load_record(self._store, service)[0]

    def _there(self, name: str) -> list[str]:
        return [
            instance.name
            for _, record in self._records()
            for instance in record.instances
            if instance.placed_on == name
        ]

    def _view(self, host: Host) -> HostView:
        seen = next((h for h in self._runtime.hosts() if h.name == host.name), None)
        promised, left = 0, []
        for _, record in self._records():
            here = [i for i in record.instances if i.placed_on == host.name]
            promised += sum(instance.memory_bytes or 0 for instance in here)
            left += [
                f"what is left of {one.instance}"
                for one in record.left_behind
                if one.placed_on == host.name
            ]
            left += [
                f"the retained volume {volume.volume}"
                for volume in record.retained
                if volume.placed_on == host.name
            ]
        return HostView(
            name=host.name,
            docker=host.docker,
            address=host.address,
            draining=host.draining,
            silent_seconds=seen.silent_seconds if seen else 0.0,
            problem=seen.problem if seen else "",
            memory_bytes=seen.memory_bytes if seen else None,
            promised_bytes=promised,
            instances=self._there(host.name),
            left=left,
        )


def check_words(
    name: str, docker: str, address: str, tls: HostTls | None, *, without_tls: bool
) -> None:
    """Whether these can be a host's.

    Raises:
        UsageError: they cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"'{name}' cannot be a host's name: write a small letter, then up to 30 small letters,"
            f" digits or hyphens{_UNCHANGED}"
        )
    if not docker.startswith(_SCHEMES):
        raise UsageError(
            f"'{docker}' is no place of a Docker engine: write for example ssh://root@10.0.0.2,"
            f" tcp://10.0.0.2:2376 or unix:///var/run/docker.sock{_UNCHANGED}"
        )
    if docker.startswith("tcp://") and tls is None and not without_tls:
        raise UsageError(
            "whoever reaches a Docker engine without TLS is root on its machine: give --tls-ca,"
            f" --tls-cert and --tls-key, or use ssh://, or say --without-tls{_UNCHANGED}"
        )
    try:
        ip = ip_address(address)
    except ValueError:
        raise UsageError(f"--address takes an IP address, not '{address}'{_UNCHANGED}") from None
    if ip.is_loopback or ip.is_unspecified:
        raise UsageError(f"{address} is no address by which others reach it{_UNCHANGED}")


@contextmanager
def _listening(host: Host, engine: HostEngine, images: Sequence[str], word: str) -> Iterator[int]:
    _, port = engine.reserve_address(frozenset())
    try:
        engine.listen(images, host.address, port, word)
        yield port
    finally:
        with suppress(HamanagerError):
            engine.end_reach()


def _call_from_here(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS) as connection:
            connection.settimeout(CONNECT_SECONDS)
            return connection.makefile().readline().strip()
    except OSError:
        return ""


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)
