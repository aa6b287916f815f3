"""An image that can no longer change under a service's feet."""

from __future__ import annotations

from hamanager.model.frozen import Frozen


class PinnedImage(Frozen):
    """What a name, which may name another image tomorrow, stood for when the service was made, or
    upgraded."""

    id: str
    """The runtime's own word for exactly this content; every instance runs from it."""
    digest: str | None = None
    """Where a registry has it, under a name that cannot move; None for one built locally."""
    name: str = ""
    """What people call it; '' where nobody noted that."""
    version: str = ""
    """Of its server program, as the program itself tells it; '' where nobody asked."""

    @property
    def words(self) -> str:
        """For people: `mysql:8.4 (8.4.3)`."""
        name = self.name or self.id.removeprefix("sha256:")[:12]
        return f"{name} ({self.version})" if self.version else name

    def named(self, name: str, version: str = "") -> PinnedImage:
        """What people call it, and the version of its program where that was asked."""
        return self._with(name=name, version=version or self.version)
