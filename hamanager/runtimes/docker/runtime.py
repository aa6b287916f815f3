"""The runtime contract on a Docker engine (20.10 or later), through its API.

Starting and removing go through the engine. What the loop waits for in a failure, whether a
process is gone and its killing, goes to the kernel first where the engine runs on this machine:
see `docker_handles.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from hamanager.contracts.driver import DATA_DIRECTORY, LaunchSpec
from hamanager.contracts.runtime import Container, InstanceRef, LogLine, RuntimeEvent, Sidecar
from hamanager.errors import AddressTakenError, RuntimeFailedError
from hamanager.model.host import EngineInfo, HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.snapshot import Process
from hamanager.model.upgrade import sources
from hamanager.runtimes.docker import containers as containers
from hamanager.runtimes.docker import sidecars as sidecars
from hamanager.runtimes.docker.address import HandedOut, bind_address, choose_host, is_remote
from hamanager.runtimes.docker.archive import launch_archive
from hamanager.runtimes.docker.engine import (
    CHANGE_SECONDS,
    OBSERVATION_SECONDS,
    Engine,
    Location,
    says,
)
from hamanager.runtimes.docker.events import follow
from hamanager.runtimes.docker.handles import ProcessHandles
from hamanager.runtimes.docker.images import ImageUnavailable, resolve_image
from hamanager.runtimes.docker.info import engine_info
from hamanager.runtimes.docker.memory import memory_of_process, memory_of_stats
from hamanager.runtimes.docker.names import (
    ADDRESS,
    ADMIN_PORT,
    HOLDS_STOP,
    LAUNCH,
    MANAGER,
    Names,
    launch_hash,
)
from hamanager.runtimes.docker.networks import Network
from hamanager.runtimes.docker.pinning import MissingImages, pin
from hamanager.runtimes.docker.reach import Reach
from hamanager.runtimes.docker.version import ImageVersions
from hamanager.runtimes.docker.volume_size import VolumeSizes

KERNEL_KILL_SECONDS = 0.25
"""A process that the kernel does not end in this time is frozen or stuck in a disk."""
FILES_LISTED = 200
GONE_SECONDS = 10
"""How long the engine may take to see that a process is gone."""

Failures = (DockerException, RequestException)


class DockerRuntime:
    """Instances as containers of one Docker engine, each with a named volume, all in one bridge
    network. Thread-safe."""

    def __init__(
        self,
        installation_id: str,
        advertised_host: str | None = None,
        client: docker.DockerClient | None = None,
        location: Location | None = None,
    ) -> None:
        """Connects when first used, to the engine that the environment names unless another
        location is given. A client that is given keeps its own time-outs."""
        self._names = Names(installation_id)
        self._advertised_host = advertised_host
        self._engine = Engine(client, location)
        reached = location.url if location is not None else ""
        self._handles = ProcessHandles(elsewhere=reached.startswith(("tcp://", "ssh://")))
        self._network = Network(self._names)
        self._handed_out = HandedOut()
        self._missing = MissingImages()
        self._versions = ImageVersions(self._names)
        self._volume_sizes = VolumeSizes(self._names)
        self._reach = Reach(self._names)

    def close(self) -> None:
        """Release connections and descriptors; the containers go on."""
        self._handles.close()
        self._engine.close()

    # --- Places ----------------------------------------------------------------------------

    def hosts(self) -> Sequence[HostSeen]:
        """None: this is one engine."""
        return ()

    def ping(self) -> None:
        """The engine is there, within 2 s."""
        with self._engine.asked_to("answer", OBSERVATION_SECONDS) as client:
            client.ping()

    def look(self) -> EngineInfo:
        """What the engine says of itself, within 2 s.

        Raises:
            RuntimeFailedError: nothing.
        """
        with self._engine.asked_to("tell who it is", OBSERVATION_SECONDS) as client:
            return engine_info(client)

    def reserve_address(self, taken: frozenset[int], placed_on: str = "") -> tuple[str, int]:  # noqa: ARG002
        """A host and a free port there. Ports of stopped containers count as taken, those of
        other installations too."""
        with self._engine.asked_to("name an address") as client:
            host = choose_host(client, self._advertised_host)
            made = client.api.containers(all=True, filters={"label": [MANAGER]})
        labels = [container["Labels"] for container in made]
        told = [found.get(ADDRESS, "").rpartition(":")[2] for found in labels]
        told += [found.get(ADMIN_PORT, "") for found in labels]
        ports = {int(port) for port in told if port.isdecimal()}
        return host, self._handed_out.choose(bind_address(host), taken | ports)

    def volume_name(self, ref: InstanceRef) -> str:
        """The name of the data volume, for people."""
        return self._names.volume(ref)

    def volume_bytes(self, ref: InstanceRef, image: str) -> int:
        """By a container that runs for a moment."""
        volume = self._names.volume(ref)
        with self._engine.asked_to(f"count what {volume} takes on disk") as client:
            return self._volume_sizes.count(client, image, volume)

    def labels(self, ref: InstanceRef) -> Mapping[str, str]:
        """By these a container is found; it carries two more about its launch."""
        return self._names.labels(ref)

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        """The name of an image that is present, pulled when it has to be."""
        with self._engine.asked_to(f"find an image for {engine}") as client:
            try:
                return resolve_image(client, engine, default, configured)
            except ImageUnavailable as error:
                raise RuntimeFailedError(str(error)) from error

    def pin_image(self, image: str) -> PinnedImage:
        """By the id of its configuration, and the digest under which a registry has it."""
        with self._engine.asked_to(f"tell what the image {image} is") as client:
            return pin(client, image)

    def provide_image(self, image: PinnedImage, placed_on: str) -> None:  # noqa: ARG002
        """Fetched in the background when it is not there."""
        with self._engine.asked_to(f"tell whether it has the image {image.words}") as client:
            try:
                client.images.get(image.id)
            except ImageNotFound as error:
                raise self._missing.fetch(client, image.id, sources(image)) from error

    def image_version(self, image: str, program: str) -> str:
        """By a container that runs for a moment."""
        with self._engine.asked_to(f"ask the image for the version of {program}") as client:
            return self._versions.ask(client, image, program)

    def started_from(self, ref: InstanceRef) -> str | None:
        """As its container's configuration has it."""
        with self._engine.asked_to(f"tell what {ref.instance} runs from") as client:
            found = containers.inspect(client, self._names, ref)
        return None if found is None else str(found["Config"]["Image"])

    def listen(self, images: Sequence[str], address: str, port: int, word: str) -> None:
        """Answer with that word at that address and port, until `end_reach`."""
        with self._engine.asked_to("try out its address") as client:
            self._reach.listen(client, images, address, port, word)

    def call(self, images: Sequence[str], address: str, port: int) -> str:
        """What answers there, as containers of this engine see it; '' nothing."""
        with self._engine.asked_to("try out an address") as client:
            return self._reach.call(client, images, address, port)

    def end_reach(self) -> None:
        """Nothing of that is left."""
        with self._engine.asked_to("clear away what tried out an address") as client:
            self._reach.end(client)

    # --- Processes -------------------------------------------------------------------------

    def start(self, ref: InstanceRef, container: Container) -> None:
        """Make the container where needed, write its files, start its process."""
        name = self._names.container(ref)
        with self._engine.asked_to(f"start {ref.instance}") as client:
            found = containers.inspect(client, self._names, ref)
            if found is not None and found["State"]["Running"]:
                if self._handles.learn(name, found) is Process.RUNNING:
                    return
                # The kernel knows already that it ended; the engine starts nothing before it
                # has seen it too.
                client.api.wait(name, timeout=GONE_SECONDS)
                found = containers.inspect(client, self._names, ref)
            self._handles.forget(name)
            try:
                self._launch(client, ref, container, found)
            except ImageNotFound as error:
                gone = self._missing.fetch(client, container.image, container.image_sources)
                raise RuntimeFailedError(
                    f"{ref.instance} cannot start: {gone}",
                    permanent=not container.image_sources,  # nothing to fetch it from
                ) from error
            finally:
                self._handles.forget(name)

    def rewrite_files(self, ref: InstanceRef, launch: LaunchSpec) -> None:
        """Put the files into the container, whether or not it runs."""
        with self._engine.asked_to(f"write the files of {ref.instance}") as client:
            client.api.put_archive(self._names.container(ref), "/", launch_archive(launch))

    def process(self, ref: InstanceRef) -> Process:
        """Whether its process runs: microseconds while the kernel tells, else the engine's word
        within 2 s. A paused container's process runs."""
        name = self._names.container(ref)
        word = self._handles.word(name)
        if word is not None:
            return word
        try:
            found = containers.inspect(self._engine.client(OBSERVATION_SECONDS), self._names, ref)
        except RuntimeFailedError:
            found = None  # a stranger's container of that name is not this instance
        except Failures:
            return Process.EXITED if self._handles.has_ended(name) else Process.UNKNOWN
        if found is None:
            self._handles.forget(name)
            return Process.MISSING
        return self._handles.learn(name, found)

    def known_process(self, ref: InstanceRef) -> Process | None:
        """By its handle."""
        return self._handles.word(self._names.container(ref))

    def exit_descriptor(self, ref: InstanceRef) -> int | None:
        """A pidfd of the running process where the engine is local, None otherwise."""
        if self.process(ref) is not Process.RUNNING:
            return None
        return self._handles.duplicate(self._names.container(ref))

    def request_stop(self, ref: InstanceRef) -> None:
        """SIGTERM, or what its guard does not hold back; a paused container is resumed, as the
        signal waits until then."""
        with self._engine.asked_to(f"stop {ref.instance}") as client:
            found = None if self._is_gone(ref) else containers.inspect(client, self._names, ref)
            if found is None:
                return
            held = HOLDS_STOP in found["Config"]["Labels"]
            self._signal(client, self._names.container(ref), "SIGINT" if held else "SIGTERM")

    def kill(self, ref: InstanceRef) -> None:
        """SIGKILL, straight through the kernel where possible, which works while the engine
        hangs; returns when the process is proven gone."""
        name = self._names.container(ref)
        if self._is_gone(ref) or self._handles.kill(name, KERNEL_KILL_SECONDS):
            return
        with self._engine.asked_to(f"kill {ref.instance}") as client:
            if containers.inspect(client, self._names, ref) is None:
                return
            self._signal(client, name, "SIGKILL")
            try:
                client.api.wait(name, timeout=GONE_SECONDS)
            except NotFound:
                return

    def logs(self, ref: InstanceRef, lines: int, after: str = "") -> Sequence[LogLine]:
        """Of this container; one that was made anew begins anew."""
        with self._engine.asked_to(f"read the log of {ref.instance}") as client:
            if containers.inspect(client, self._names, ref) is None:
                return []
            raw: bytes = client.api.logs(self._names.container(ref), tail=lines, timestamps=True)
        found = []
        for line in raw.decode(errors="replace").splitlines():
            at, _, text = line.partition(" ")
            if at > after:
                found.append(LogLine(at=at, text=text))
        return found

    def handle(self, ref: InstanceRef) -> str:
        """The container's name."""
        return self._names.container(ref)

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        """What happens to this manager's containers."""
        return follow(lambda: self._engine.client(CHANGE_SECONDS), self._names.filters(), stopped)

    # --- Memory ----------------------------------------------------------------------------

    def set_memory(self, ref: InstanceRef, memory_bytes: int | None) -> None:
        """Change the limit in place; None makes it as large as the machine.

        Raises:
            RuntimeFailedError: among others, more than the new limit is in use: the kernel
                would end the server (control groups v2) or refuse (v1).
        """
        used = self.memory_used(ref)
        if memory_bytes is not None and used is not None and used > memory_bytes:
            raise RuntimeFailedError(
                f"{ref.instance} uses {used >> 20} MB now, so its limit cannot become"
                f" {memory_bytes >> 20} MB; it was left as it is"
            )
        with self._engine.asked_to(f"limit the memory of {ref.instance}") as client:
            if containers.inspect(client, self._names, ref) is None:
                raise RuntimeFailedError(f"{ref.instance} has no container to limit")
            containers.limit_memory(client, self._names.container(ref), memory_bytes)

    def memory_used(self, ref: InstanceRef) -> int | None:
        """Bytes in use without the page cache; the engine is asked only when it is remote."""
        name = self._names.container(ref)
        if self.process(ref) is not Process.RUNNING:
            return None
        pid = self._handles.pid(name)
        used = memory_of_process(pid) if pid is not None else None
        if used is not None:
            return used
        try:
            api = self._engine.client(OBSERVATION_SECONDS).api
            return memory_of_stats(api.stats(name, stream=False, one_shot=True))
        except Failures:
            return None

    # --- Ends ------------------------------------------------------------------------------

    def remove(self, ref: InstanceRef, *, discard_data: bool) -> None:
        """Remove the container, and its volume when asked to."""
        with self._engine.asked_to(f"remove {ref.instance}") as client:
            name = self._names.container(ref)
            if containers.inspect(client, self._names, ref) is not None:
                containers.discard_container(client, name)
            self._handles.forget(name)
            if discard_data:
                containers.discard_volume(client, self._names, self._names.volume(ref))

    def discard_volume(self, ref: InstanceRef) -> None:
        """Remove the volume of that generation."""
        volume = self._names.volume(ref)
        with self._engine.asked_to(f"delete {volume}") as client:
            containers.discard_volume(client, self._names, volume)

    def file_names(self, ref: InstanceRef, directory: str) -> tuple[str, ...]:
        """By a shell inside the container."""
        script = (
            f'cd "{DATA_DIRECTORY}/$0" 2>/dev/null || exit 0; for f in */* *; do echo "$f"; done'
        )
        name = self._names.container(ref)
        with self._engine.asked_to(f"list the files of {ref.instance}") as client:
            api = client.api
            run = api.exec_create(name, ["/bin/sh", "-c", script, directory], stderr=False)
            printed: bytes = api.exec_start(run["Id"])
        found = printed.decode(errors="replace").splitlines()[:FILES_LISTED]
        return tuple(sorted(name for name in found if "*" not in name))

    def start_sidecar(self, sidecar: Sidecar) -> None:
        """A container on the host's network, with the restart policy `always`."""
        if is_remote(self._engine.url):
            raise RuntimeFailedError(
                f"{sidecar.name} needs a Docker engine on this machine, and DOCKER_HOST names"
                " another one"
            )
        with self._engine.asked_to(f"start {sidecar.name}") as client:
            sidecars.start(client, self._names, sidecar)

    def remove_sidecar(self, name: str) -> None:
        """Remove its container."""
        with self._engine.asked_to(f"remove {name}") as client:
            sidecars.remove(client, self._names, name)

    def destroy_service(self, service: str) -> None:
        """Remove everything of the service, kept volumes too, and with the last one the network."""
        with self._engine.asked_to(f"remove the service '{service}'") as client:
            for name in containers.discard_service(client, self._names, service):
                self._handles.forget(name)
            self._network.remove_unused(client)

    # --- Parts -----------------------------------------------------------------------------

    def _is_gone(self, ref: InstanceRef) -> bool:
        return self.process(ref) in (Process.EXITED, Process.MISSING)

    def _launch(
        self,
        client: docker.DockerClient,
        ref: InstanceRef,
        container: Container,
        found: Mapping[str, Any] | None,
    ) -> None:
        """Start the container that was found, if it still fits and can be started, else a new
        one (its network may have been removed, for instance)."""
        name = self._names.container(ref)
        if found is not None:
            if _fits(found, ref, container):
                try:
                    if found["HostConfig"]["Memory"] != (container.memory_bytes or 0):
                        containers.limit_memory(client, name, container.memory_bytes)
                    self._run(client, name, ref, container)
                    return
                except APIError:
                    pass
            containers.discard_container(client, name)
        self._create(client, ref, container)
        self._run(client, name, ref, container)

    def _create(self, client: docker.DockerClient, ref: InstanceRef, container: Container) -> None:
        self._network.attach(
            client, lambda network: containers.create(client, self._names, ref, container, network)
        )

    def _run(
        self, client: docker.DockerClient, name: str, ref: InstanceRef, container: Container
    ) -> None:
        def again() -> None:
            self._create(client, ref, container)
            containers.write_files(client, name, container)

        try:
            containers.write_files(client, name, container)
            self._network.start(client, name, again)
        except APIError as error:
            containers.discard_container(client, name)
            if full := self._network.full(client, error):
                raise full from error
            if containers.is_address_taken(error):
                raise AddressTakenError(
                    f"{ref.instance} cannot listen at {container.host}:{container.port}:"
                    " somebody else does"
                ) from error
            raise

    @staticmethod
    def _signal(client: docker.DockerClient, name: str, signal: str) -> None:
        """Send a signal; a paused container is resumed after it, so that it runs not one step
        further before the signal is acted on."""
        try:
            client.api.kill(name, signal)
        except NotFound:
            return
        except APIError as error:
            if not says(error, "is not running"):
                raise
            return
        with contextlib.suppress(NotFound):
            if client.api.inspect_container(name)["State"]["Paused"]:
                containers.resume(client, name)


def _fits(found: Mapping[str, Any], ref: InstanceRef, container: Container) -> bool:
    """Whether a container that does not run can be started as it is."""
    if found["State"]["Status"] not in ("created", "exited"):
        return False
    return bool(found["Config"]["Labels"].get(LAUNCH) == launch_hash(ref, container))
