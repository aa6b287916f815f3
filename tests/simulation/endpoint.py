"""The endpoint contract on the simulated world: one for all managers, and it outlives them."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.contracts.endpoint import Listener
from hamanager.errors import EndpointFailedError, RuntimeFailedError
from tests.simulation.power import Power
from tests.simulation.world import World

EFFECTS = ("publish",)


class SimEndpoint:
    """Where one manager sends the clients."""

    def __init__(self, world: World, power: Power) -> None:
        self.world, self.power = world, power

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        if self.world.names_lost:
            self.world.misled = True
            raise RuntimeFailedError("the advertised host has no address")
        if tuple(listeners) != self.world.published:
            self.power.effect()
            self.world.published = tuple(listeners)
            self.world.elsewhere.say(listeners)
        self.world.misled = False
        self.settle(service)

    def published(self, service: str) -> tuple[Listener, ...]:
        return self.world.published

    def settle(self, service: str) -> None:
        if self.world.endpoint_down:
            raise EndpointFailedError("the proxy does not answer")

    def connections(self, listener: str, instance: str) -> int:
        return 0

    def check(self) -> None:
        return None
