"""Several hosts behind one runtime: each call goes to the host that the instance is placed on.

Instances that are placed on no host are on this machine's own engine, as in an installation
without hosts. Which hosts there are is read again every second.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.runtime import (
    Container,
    InstanceRef,
    LogLine,
    RuntimeEvent,
    Sidecar,
)
from hamanager.errors import HamanagerError, RuntimeFailedError
from hamanager.model.host import Host, HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.snapshot import Process
from hamanager.runtimes.hosts.member import HostRuntime, Member

log = logging.getLogger("hamanager")

Answer = TypeVar("Answer")

READ_SECONDS = 1.0
EVENT_SECONDS = 0.25


class HostsRuntime:
    """The runtime contract. `here` is this machine's own engine; `on` names the host that this
    machine is, if it is one. Thread-safe."""

    def __init__(
        self,
        here: HostRuntime,
        load: Callable[[], Sequence[Host]],
        connect: Callable[[Host], HostRuntime],
        on: str = "",
    ) -> None:
        self.here = here
        self._load = load
        self._connect = connect
        self._on = on
        self._lock = threading.Lock()
        self._members: Mapping[str, Member] = {}
        self._closed = threading.Event()
        self._problem = ""

    def begin(self) -> None:
        """Read which hosts there are, now and every second from now on."""
        self.read()
        threading.Thread(target=self._follow, name="hosts", daemon=True).start()

    def close(self) -> None:
        """Release connections; the containers go on."""
        self._closed.set()
        for member in self._members.values():
            member.close()
        self.here.close()

    def read(self) -> None:
        """Read which hosts there are. While that cannot be read they are the ones they were."""
        try:
            found = {host.name: host for host in self._load()}
        except HamanagerError as error:
            if str(error) != self._problem:
                log.warning("which hosts there are cannot be read: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        with self._lock:
            before = self._members
            members = {}
            for name, host in found.items():
                kept = before.get(name)
                if kept is not None and _same_engine(kept.host, host):
                    kept.host = host
                    members[name] = kept
                else:
                    members[name] = self._member_for(host)
            self._members = members
        for name, member in before.items():
            if members.get(name) is not member:
                member.close()

    def _member_for(self, host: Host) -> Member:
        is_here = host.name == self._on
        member = Member(host, self.here if is_here else self._connect(host), is_here=is_here)
        member.begin()
        return member

    def _follow(self) -> None:
        while not self._closed.wait(READ_SECONDS):
            self.read()

    # --- Hosts -----------------------------------------------------------------------------

    def hosts(self) -> Sequence[HostSeen]:
        """Every host on record as it was seen last, by name."""
        return [member.seen for _, member in sorted(self._members.items())]

    def reserve_address(self, taken: frozenset[int], placed_on: str = "") -> tuple[str, int]:
        """An address of that host, and a port that is free there."""
        return self._change(placed_on, lambda runtime: runtime.reserve_address(taken))

    def provide_image(self, image: PinnedImage, placed_on: str) -> None:
        """Make sure that this very image is there."""
        self._change(placed_on, lambda runtime: runtime.provide_image(image, ""))

    # --- One instance ------------------------------------------------------------------------

    def start(self, ref: InstanceRef, container: Container) -> None:
        """Start it where it is placed."""
        self._change(ref.placed_on, lambda runtime: runtime.start(ref, container))

    def rewrite_files(self, ref: InstanceRef, launch: LaunchSpec) -> None:
        """Put them into its container where it is placed."""
        self._change(ref.placed_on, lambda runtime: runtime.rewrite_files(ref, launch))

    def process(self, ref: InstanceRef) -> Process:
        """Whether its process runs; UNKNOWN at once while its host is known not to answer."""
        return self._observe(ref.placed_on, lambda runtime: runtime.process(ref), Process.UNKNOWN)

    def known_process(self, ref: InstanceRef) -> Process | None:
        """Only of those on this machine there are handles; one of that name may have been here."""
        return self.here.known_process(ref) if ref.placed_on in ("", self._on) else None

    def request_stop(self, ref: InstanceRef) -> None:
        """Ask its process to end."""
        self._change(ref.placed_on, lambda runtime: runtime.request_stop(ref))

    def kill(self, ref: InstanceRef) -> None:
        """End its process by force."""
        self._change(ref.placed_on, lambda runtime: runtime.kill(ref))

    def remove(self, ref: InstanceRef, *, discard_data: bool) -> None:
        """Remove its container, and its volume when asked to."""
        self._change(ref.placed_on, lambda runtime: runtime.remove(ref, discard_data=discard_data))

    def file_names(self, ref: InstanceRef, directory: str) -> tuple[str, ...]:
        """Names of files in its data volume."""
        return self._change(ref.placed_on, lambda runtime: runtime.file_names(ref, directory))

    def discard_volume(self, ref: InstanceRef) -> None:
        """Delete its data volume."""
        self._change(ref.placed_on, lambda runtime: runtime.discard_volume(ref))

    def volume_name(self, ref: InstanceRef) -> str:
        """The same on every host."""
        return self.here.volume_name(ref)

    def handle(self, ref: InstanceRef) -> str:
        """The same on every host."""
        return self.here.handle(ref)

    def labels(self, ref: InstanceRef) -> Mapping[str, str]:
        """The same on every host."""
        return self.here.labels(ref)

    def set_memory(self, ref: InstanceRef, memory_bytes: int | None) -> None:
        """Change its memory limit."""
        self._change(ref.placed_on, lambda runtime: runtime.set_memory(ref, memory_bytes))

    def memory_used(self, ref: InstanceRef) -> int | None:
        """What it uses; None while its host is known not to answer."""
        return self._observe(ref.placed_on, lambda runtime: runtime.memory_used(ref), None)

    def logs(self, ref: InstanceRef, lines: int, after: str = "") -> Sequence[LogLine]:
        """Its last lines."""
        return self._change(ref.placed_on, lambda runtime: runtime.logs(ref, lines, after))

    def exit_descriptor(self, ref: InstanceRef) -> int | None:
        """Where the host is this machine."""
        return self._observe(ref.placed_on, lambda runtime: runtime.exit_descriptor(ref), None)

    def started_from(self, ref: InstanceRef) -> str | None:
        """What its container was made from."""
        return self._change(ref.placed_on, lambda runtime: runtime.started_from(ref))

    # --- This machine --------------------------------------------------------------------------

    def start_sidecar(self, sidecar: Sidecar) -> None:
        """On this machine."""
        self.here.start_sidecar(sidecar)

    def remove_sidecar(self, name: str) -> None:
        """From this machine."""
        self.here.remove_sidecar(name)

    # --- All hosts -----------------------------------------------------------------------------

    def destroy_service(self, service: str) -> None:
        """Remove everything of it from every host; from those that answer, if one does not."""
        errors: list[HamanagerError] = []
        places = sorted(name for name in self._members if name != self._on)
        for name in ("", *places):
            try:
                self._change(name, lambda runtime: runtime.destroy_service(service))
            except HamanagerError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        """By the first host that has it or can get it."""
        return self._first(lambda runtime: runtime.resolve_image(engine, default, configured))

    def pin_image(self, image: str) -> PinnedImage:
        """By the first host that has it."""
        return self._first(lambda runtime: runtime.pin_image(image))

    def image_version(self, image: str, program: str) -> str:
        """By the first host that has it."""
        return self._first(lambda runtime: runtime.image_version(image, program))

    def volume_bytes(self, ref: InstanceRef, image: str) -> int:
        """Where it lies."""
        return self._change(ref.placed_on, lambda runtime: runtime.volume_bytes(ref, image))

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        """Of every host, also of one that is added meanwhile."""
        events: queue.SimpleQueue[RuntimeEvent] = queue.SimpleQueue()
        followed: dict[str, Member] = {}
        ended = threading.Event()

        def pump(name: str, runtime: HostRuntime, over: Callable[[], bool]) -> None:
            for event in runtime.events(over):
                events.put(replace(event, placed_on=name))

        def follow(name: str, runtime: HostRuntime, over: Callable[[], bool]) -> None:
            threading.Thread(
                target=pump, args=(name, runtime, over), name=f"events-{name}", daemon=True
            ).start()

        follow(self._on, self.here, ended.is_set)
        try:
            while not stopped():
                for name, member in self._members.items():
                    if followed.get(name) is not member and not member.is_here:
                        followed[name] = member
                        follow(name, member.runtime, _over(member, ended))
                with suppress(queue.Empty):
                    yield events.get(timeout=EVENT_SECONDS)
        finally:
            ended.set()

    # --- Parts -----------------------------------------------------------------------------------

    def _member(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise RuntimeFailedError(
                f"there is no host '{name}' on record: `hamanager host add` brings it back",
                permanent=True,
            )
        return member

    def _change(self, placed_on: str, ask: Callable[[HostRuntime], Answer]) -> Answer:
        if not placed_on:
            return ask(self.here)
        member = self._member(placed_on)
        return member.change(lambda: ask(member.runtime))

    def _observe(
        self, placed_on: str, ask: Callable[[HostRuntime], Answer], otherwise: Answer
    ) -> Answer:
        if not placed_on:
            return ask(self.here)
        member = self._members.get(placed_on)
        if member is None:
            return otherwise
        return member.observe(lambda: ask(member.runtime), otherwise)

    def _first(self, ask: Callable[[HostRuntime], Answer]) -> Answer:
        """The answer of this machine, if it is a host (or the only engine), else of the first host
        that has one."""
        members = sorted(self._members.values(), key=lambda m: (not m.is_here, m.host.name))
        if not members:
            return ask(self.here)
        errors: list[HamanagerError] = []
        for member in members:
            try:
                return self._change(member.host.name, ask)
            except HamanagerError as error:
                errors.append(error)
        raise errors[0]


def _same_engine(one: Host, other: Host) -> bool:
    """Whether what is connected to the one is connected to the other."""
    return (one.docker, one.tls, one.address, one.engine_id) == (
        other.docker,
        other.tls,
        other.address,
        other.engine_id,
    )


def _over(member: Member, ended: threading.Event) -> Callable[[], bool]:
    return lambda: ended.is_set() or member.is_closed
