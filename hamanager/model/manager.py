"""What managers tell each other."""

from __future__ import annotations

from hamanager.model.frozen import Frozen


class Manager(Frozen):
    """One manager's row in the store. As long as it changes the manager's session lasts."""

    name: str
    incarnation: str = ""
    """Another one with each start of the process."""
    place: str = ""
    """Which state directory, of which running machine: there is one process at a time in it."""
    version: str = ""
    """Of the program."""
    started_at: float = 0.0
    """Seconds since the epoch."""
    addresses: tuple[str, ...] = ()
    """Where its API is reached by others."""
    leads: tuple[str, ...] = ()
    """The services that it acts on: a hint, the service's lock decides."""
    counter: int = 0
    """Grows with each sign of life."""
    ended_at: float | None = None
    """Since when another manager takes it for dead (seconds since the epoch)."""

    def alive(self, leads: tuple[str, ...]) -> Manager:
        """The next sign of life."""
        return self._with(counter=self.counter + 1, leads=leads, ended_at=None)

    def ended(self, at: float) -> Manager:
        """Its session is over: it cannot go on with it, only begin another one."""
        return self._with(ended_at=at)
