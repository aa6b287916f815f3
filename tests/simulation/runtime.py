"""The runtime contract on the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.runtime import Container, InstanceRef, LogLine, RuntimeEvent, Sidecar
from hamanager.errors import RuntimeFailedError
from hamanager.model.host import HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.snapshot import Process
from tests.simulation.power import Power, UnansweredError
from tests.simulation.servers import Engine, SimServer, Volume, version_of
from tests.simulation.world import World

EFFECTS = (
    *("start", "request_stop", "kill", "remove", "discard_volume"),
    *("destroy_service", "set_memory"),
)
CALLS = ("process", "file_names", "memory_used", "start", "kill", "remove")
"""Those that can hang or fail by themselves."""


class SimRuntime:
    """Containers and volumes of one service, as one manager may handle them."""

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power

    def hosts(self) -> Sequence[HostSeen]:
        now = self.world.clock.monotonic()
        return [
            HostSeen(
                name,
                address_of(name),
                draining=name in self.world.leaving,
                silent_seconds=now - self.world.silent[name] + 0.01
                if name in self.world.silent
                else 0.0,
            )
            for name in self.world.hosts
        ]

    def provide_image(self, image: PinnedImage, placed_on: str) -> None:
        if placed_on in self.world.silent:
            raise RuntimeFailedError(f"the host {placed_on} does not answer")

    def reserve_address(self, taken: frozenset[int], placed_on: str = "") -> tuple[str, int]:
        while self.world.next_port in taken:
            self.world.next_port += 1
        self.world.next_port += 1
        return address_of(placed_on), self.world.next_port - 1

    def start(self, ref: InstanceRef, container: Container) -> None:
        self._effect("start", ref)
        self.world.make_way(ref)
        key, volume = (ref.service, ref.instance), self.volume_name(ref)
        self.world.volumes.setdefault(volume, Volume())
        self.world.images[ref.instance] = container
        server = self.world.servers.get(key)
        if server is None or server.volume != volume:
            address = f"{container.host}:{container.port}"
            server = self.world.servers[key] = SimServer(ref, address, volume, running=False)
            server.stop_signal = container.launch.stop_signal
            server.holds_stop = container.launch.holds_stop
        if not server.running:
            server.image = container.image
            self.world.start_process(server)

    def process(self, ref: InstanceRef) -> Process:
        if self.world.runtime_down or "process" in self.world.runtime_out:
            return Process.UNKNOWN
        if ref.placed_on in self.world.silent:
            return Process.UNKNOWN
        server = self.world.placed(ref)
        if server is None:
            return Process.MISSING
        return Process.RUNNING if server.running else Process.EXITED

    def known_process(self, ref: InstanceRef) -> Process | None:
        return None  # so that it can hang

    def request_stop(self, ref: InstanceRef) -> None:
        self._effect("request_stop", ref)
        server = self.world.placed(ref)
        if server is not None:
            self.world.stop(server)

    def kill(self, ref: InstanceRef) -> None:
        self._effect("kill", ref)
        server = self.world.placed(ref)
        if server is not None:
            self.world.stop_process(server)

    def remove(self, ref: InstanceRef, *, discard_data: bool) -> None:
        self._effect("remove", ref)
        server = self.world.placed(ref)
        for key in [key for key, found in self.world.servers.items() if found is server]:
            del self.world.servers[key]
        if discard_data:
            self.world.volumes.pop(self.volume_name(ref), None)

    def discard_volume(self, ref: InstanceRef) -> None:
        self._effect("discard_volume", ref)
        gone = self.world.volumes.pop(self.volume_name(ref), None)
        # Where each failover may leave some behind only the newest sets of data are kept.
        if gone is not None and self.world.engine is Engine.ASYNCHRONOUS:
            self.world.archive |= set(gone.log)

    def file_names(self, ref: InstanceRef, directory: str) -> tuple[str, ...]:
        self._may_hang("file_names")
        return ()

    def volume_name(self, ref: InstanceRef) -> str:
        return f"{ref.instance}-g{ref.generation}"

    def destroy_service(self, service: str) -> None:
        self._effect("destroy_service")
        self.world.servers.clear()
        self.world.volumes.clear()

    def rewrite_files(self, ref: InstanceRef, launch: LaunchSpec) -> None:
        raise NotImplementedError

    def set_memory(self, ref: InstanceRef, memory_bytes: int | None) -> None:
        self._effect("set_memory", ref)

    def memory_used(self, ref: InstanceRef) -> int | None:
        self._may_hang("memory_used")
        return self.world.used_bytes

    def start_sidecar(self, sidecar: Sidecar) -> None:
        return None

    def remove_sidecar(self, name: str) -> None:
        return None

    def logs(self, ref: InstanceRef, lines: int, after: str = "") -> list[LogLine]:
        return []

    def handle(self, ref: InstanceRef) -> str:
        return ref.instance

    def exit_descriptor(self, ref: InstanceRef) -> int | None:
        return None

    def events(self, stopped: Callable[[], bool]) -> Iterator[RuntimeEvent]:
        return iter(())

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        return "image"

    def pin_image(self, image: str) -> PinnedImage:
        return PinnedImage(id=image)

    def image_version(self, image: str, program: str) -> str:
        return str(version_of(image))

    def volume_bytes(self, ref: InstanceRef, image: str) -> int:
        return 1024 * len(self.world.volumes[self.volume_name(ref)].log)

    def started_from(self, ref: InstanceRef) -> str | None:
        server = self.world.placed(ref)
        return server.image if server else None

    def labels(self, ref: InstanceRef) -> Mapping[str, str]:
        return {}

    def _may_hang(self, call: str) -> None:
        if call in self.world.runtime_out:
            raise UnansweredError

    def _effect(self, call: str, ref: InstanceRef | None = None) -> None:
        self.power.effect()
        if self.world.silent and (ref is None or ref.placed_on in self.world.silent):
            raise RuntimeFailedError("the host does not answer")
        if self.world.runtime_down or call in self.world.runtime_out:
            raise RuntimeFailedError("the runtime does not answer")


def address_of(host: str) -> str:
    """`h2` is 10.0.0.2; '' is the one engine."""
    return f"10.0.0.{host[1:] or 1}"
