"""The runtime contract: where instances live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from hamanager.contracts.driver import LaunchSpec
from hamanager.model.host import HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.snapshot import Process


@dataclass(frozen=True)
class InstanceRef:
    """Names one instance towards the runtime."""

    service: str
    instance: str
    """`db.0`."""
    generation: int = 1
    """Of its data volume; a new one starts empty."""
    placed_on: str = ""
    """The host; '' is the one engine of an installation without hosts."""

    @classmethod
    def of(cls, service: str, record: InstanceRecord) -> InstanceRef:
        """The place that an instance of that service has on record."""
        return cls(service, record.name, record.generation, record.placed_on)


@dataclass(frozen=True)
class Container:
    """What to run at a place."""

    image: str
    host: str
    port: int
    """Where the server's own port is published."""
    launch: LaunchSpec
    memory_bytes: int | None = None
    admin_port: int | None = None
    """Where its `LaunchSpec.admin_port` is published, if it has one."""
    image_sources: tuple[str, ...] = ()
    """Names under which that very image may be had again when it is gone, the best one first."""


@dataclass(frozen=True)
class Sidecar:
    """A process of the manager's own, on the machine's network. The runtime starts it again
    whenever it ends, also while the manager is away and after the machine's restart."""

    name: str
    image: str
    script: str
    """What `/bin/sh -c` runs, as a user with no more rights than the manager's."""
    reads: tuple[Path, str]
    """A directory of the manager's, and where it is inside: to be read there, and nothing else."""
    writes: tuple[Path, str]
    """A directory that is the helper's own, and where it is inside. What lies there is its word:
    the manager follows no link there."""


class LogLine(BaseModel):
    """One line of a server's log."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: str
    """When it was written, as the runtime says; later ones compare greater."""
    text: str


ASKED_TO_END = "asked to end"
"""Not by the manager; and its guard holds that back for a moment (`LaunchSpec.holds_stop`)."""


@dataclass(frozen=True)
class RuntimeEvent:
    """Something that happened to an instance's process."""

    service: str
    instance: str
    what: str
    """`started`, `exited`, `removed`, `stalled`, ... or `ASKED_TO_END`."""
    placed_on: str = ""
    """The host where it happened."""


class Runtime(Protocol):
    """Starts, stops and watches server processes, on one engine or on several hosts.

    Every call is bounded in time and raises `RuntimeFailedError` (one sentence) when the
    runtime does not do it; all are idempotent.
    """

    def hosts(self) -> Sequence[HostSeen]:
        """Every host on record as it was seen last, by name; none where there is one engine alone.
        Asks nobody, and never raises."""
        ...

    def reserve_address(self, taken: frozenset[int], placed_on: str = "") -> tuple[str, int]:
        """An address of that host (of this machine: '') that clients and servers can both use, and
        a free port on it that is not among `taken`."""
        ...

    def provide_image(self, image: PinnedImage, placed_on: str) -> None:
        """Make sure that this very image is there.

        Raises:
            RuntimeFailedError: it is not: permanently, or because it is being fetched.
        """
        ...

    def start(self, ref: InstanceRef, container: Container) -> None:
        """Make the container (anew when the image, the generation, the port or the script
        changed), write its files, start its process; does nothing when it runs already.

        Raises:
            AddressTakenError: the port is used by somebody else.
        """
        ...

    def rewrite_files(self, ref: InstanceRef, launch: LaunchSpec) -> None:
        """Write a running instance's files anew, for a server that reads them again."""
        ...

    def process(self, ref: InstanceRef) -> Process:
        """Whether its process runs. Never raises: UNKNOWN when the runtime does not answer."""
        ...

    def known_process(self, ref: InstanceRef) -> Process | None:
        """The same at once, where nobody has to be asked, as the kernel tells; None elsewhere."""
        ...

    def request_stop(self, ref: InstanceRef) -> None:
        """Ask the process to end cleanly and return at once; does nothing when it has ended. No
        guard holds that back, and no event calls it `ASKED_TO_END`."""
        ...

    def kill(self, ref: InstanceRef) -> None:
        """End the process by force; returns only when it is proven gone."""
        ...

    def remove(self, ref: InstanceRef, *, discard_data: bool) -> None:
        """Remove the container; its data volume of this generation too when asked to."""
        ...

    def file_names(self, ref: InstanceRef, directory: str) -> tuple[str, ...]:
        """Names of the files in a directory (and one below it) of the data volume of a running
        instance, some hundred at the most; none when it is not there."""
        ...

    def discard_volume(self, ref: InstanceRef) -> None:
        """Delete the data volume of that generation; does nothing when there is none."""
        ...

    def volume_name(self, ref: InstanceRef) -> str:
        """The name of the data volume, for people."""
        ...

    def volume_bytes(self, ref: InstanceRef, image: str) -> int:
        """How much the data volume of that generation takes on disk. A container of that image
        counts it, which may take seconds; for data that no server uses.

        Raises:
            RuntimeFailedError: it was not counted.
        """
        ...

    def start_sidecar(self, sidecar: Sidecar) -> None:
        """Have it run, made anew when its image or script changed; does nothing when it runs.

        Raises:
            RuntimeFailedError: among others, the runtime is another machine's, which has no part
                in a directory of this one.
        """
        ...

    def remove_sidecar(self, name: str) -> None:
        """End it and remove it; does nothing when there is none."""
        ...

    def destroy_service(self, service: str) -> None:
        """Remove every container and volume (kept ones too) of the service."""
        ...

    def set_memory(self, ref: InstanceRef, memory_bytes: int | None) -> None:
        """Change the memory limit of the running container."""
        ...

    def memory_used(self, ref: InstanceRef) -> int | None:
        """Bytes in use; None when that cannot be known. Never raises."""
        ...

    def logs(self, ref: InstanceRef, lines: int, after: str = "") -> Sequence[LogLine]:
        """The last lines that the server wrote, later than `after` (another line's `at`); none
        when there is no container."""
        ...

    def handle(self, ref: InstanceRef) -> str:
        """How the runtime's own tools call the instance."""
        ...

    def exit_descriptor(self, ref: InstanceRef) -> int | None:
        """A file descriptor that becomes readable the moment the process ends, where the
        platform has one (the caller closes it); None otherwise."""
        ...

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        """Events of all instances as they happen, until `stopped()`; reconnects by itself and
        ends within a second of `stopped()` turning true."""
        ...

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        """The name of an image that is present for that engine, fetching it when needed: the
        configured one, or what stands for the default.

        Raises:
            RuntimeFailedError: it is neither there nor can it be had.
        """
        ...

    def pin_image(self, image: str) -> PinnedImage:
        """What an image that is present is, whatever its name may stand for later.

        Raises:
            RuntimeFailedError: it is not there.
        """
        ...

    def image_version(self, image: str, program: str) -> str:
        """What that program of an image that is present says of its version: the first number with
        dots in it. It runs for a moment, with no network, no data and no rights.

        Raises:
            RuntimeFailedError: the image has no such program, or it says nothing of the kind.
        """
        ...

    def started_from(self, ref: InstanceRef) -> str | None:
        """What the container there was made from, as it was called then; None without one."""
        ...

    def labels(self, ref: InstanceRef) -> Mapping[str, str]:
        """The labels that its container carries."""
        ...
