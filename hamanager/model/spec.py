"""What is wanted of a service. It is written by commands and never by the loop; the record is
written by the loop and never by commands. That split is why every command survives a crash of the
manager half-way: the loop compares the two and acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from hamanager.model.durability import Durability
from hamanager.model.frozen import Frozen
from hamanager.model.image import PinnedImage
from hamanager.model.order import Order


class SpecSettings(TypedDict, total=False):
    """What an operator can choose, by the names that a spec has for it."""

    durability: Durability
    down_after_seconds: float
    failover_period_seconds: float
    reads_max_lag_seconds: float | None
    allow_drills: bool
    canary: bool
    replace_after_seconds: float


class Spec(Frozen):
    """What the user wants of one service."""

    name: str
    engine: str
    instances: int
    memory_bytes: int | None = None
    """Limit of each instance; None is no limit."""
    image: str
    """As the user named it, or as it was found."""
    pinned: PinnedImage | None = None
    """What that stood for when the service was made, or upgraded; every instance is to run from it.
    None: the service is older than that, and its instances run from what the name stands for."""
    made_from: PinnedImage | None = None
    """What stood there before the first upgrade: an instance runs from that whose record does not
    say what it runs from."""
    down_after_seconds: float = 3.0
    """How long a primary must be silent, unproven dead, before it counts as failed."""
    created_at: float
    """Seconds since the epoch."""
    durability: Durability = Durability.AVAILABILITY
    failover_period_seconds: float = 60.0
    """A second automatic failover within it needs proof of the primary's death."""
    encrypted: bool = False
    """Its servers speak TLS only, to each other, to the manager and to clients; for its whole
    life."""
    replace_after_seconds: float = 600.0
    """How long an instance's host must have been silent before it is made anew on another one."""
    allow_drills: bool = False
    """An operator said that failures may be injected into it on purpose."""
    canary: bool = False
    """The manager writes something small through its address once a second, to see that writes go
    through and that none is lost."""
    paused: bool = False
    """An operator asked the manager to observe and not to act."""
    port: int | None = None
    """Of a service without data: where its program listens inside the container."""
    health_path: str | None = None
    """Of a service without data: what is asked to see whether it is well; None: nothing, it is well
    when its port accepts connections."""
    reads_max_lag_seconds: float | None = None
    """A second address offers standbys that are no further behind for reading; None: there is no
    such address."""
    order: Order | None = None
    """The last one-time order; carried out once, or refused."""
    destroy: bool = False
    restarts: Mapping[str, int] = {}
    """Per instance the number of restarts asked for so far (an operator's `restart db.0`)."""

    # --- What is asked for -------------------------------------------------------------------

    def scaled(self, instances: int | None, memory_bytes: int | None) -> Spec:
        """Another size or limit; None leaves it as it is."""
        return self._with(
            instances=self.instances if instances is None else instances,
            memory_bytes=self.memory_bytes if memory_bytes is None else memory_bytes,
        )

    def set_to(self, chosen: SpecSettings) -> Spec:
        """Other settings; the others stay as they are."""
        return self._with(**chosen)

    def upgraded(self, image: PinnedImage, made_from: PinnedImage) -> Spec:
        """Another image; `made_from`: what instances run from that have none on record."""
        return self._with(image=image.name, pinned=image, made_from=made_from)

    def restarting(self, instance_name: str, number: int) -> Spec:
        """So many restarts of that instance in all."""
        return self._with(restarts={**self.restarts, instance_name: number})

    def ordering(self, order: Order) -> Spec:
        """A one-time order, in the place of the one before.

        Raises:
            ValueError: it is no later one, so that nobody would carry it out.
        """
        if self.order is not None and order.number <= self.order.number:
            raise ValueError(f"order {order.number} comes after order {self.order.number}")
        return self._with(order=order)

    def with_pause(self, paused: bool) -> Spec:
        """The manager observes and does not act, or acts again."""
        return self._with(paused=paused)

    def destroyed(self) -> Spec:
        """It and all its data are to be gone."""
        return self._with(destroy=True)
