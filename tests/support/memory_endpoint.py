"""An endpoint that only remembers: for the simulation and unit tests."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.contracts.endpoint import Listener


class MemoryEndpoint:
    """Where it was told to lead."""

    def __init__(self) -> None:
        self.listeners: dict[str, tuple[Listener, ...]] = {}

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        """Remember."""
        self.listeners[service] = tuple(listeners)

    def published(self, service: str) -> tuple[Listener, ...]:
        """As it was told."""
        return self.listeners.get(service, ())

    def services(self) -> frozenset[str]:
        """All that it was told of."""
        return frozenset(name for name, listeners in self.listeners.items() if listeners)

    def settle(self, service: str) -> None:
        """It always is."""

    def connections(self, listener: str, instance: str) -> int:
        """Nobody connects here."""
        return 0

    def check(self) -> None:
        """Nothing can be wrong."""

    def leads_to(self, name: str) -> tuple[str, ...]:
        """The instances that the listener of that name leads to."""
        return tuple(
            route.instance
            for listeners in self.listeners.values()
            for listener in listeners
            if listener.name == name
            for route in listener.routes
        )
