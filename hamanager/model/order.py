"""An operator's one-time order: to be carried out once, or refused with the reason."""

from __future__ import annotations

from enum import StrEnum

from hamanager.model.frozen import Frozen

ORDER_SECONDS = 60.0
"""An order that could not be begun for so long is refused: nobody expects it any more."""


PATIENCE_SECONDS = 5.0
"""How long a switchover waits for long transactions when nobody says otherwise."""
LONGEST_PATIENCE_SECONDS = 20.0
"""How long a switchover may be told to wait for long transactions."""


class OrderKind(StrEnum):
    """What can be ordered."""

    SWITCHOVER = "switchover"
    """A planned change of primary, without loss."""
    FAILOVER = "failover"
    """Promote an instance although acknowledged writes may be lost: an operator decided."""
    DISCARD = "discard"
    """Delete a retained volume."""
    REPLACE = "replace"
    """Make an instance anew on another host, as its own does not answer."""
    REBALANCE = "rebalance"
    """Move instances that share a host although there is another one."""


class Order(Frozen):
    """One order."""

    number: int
    """Grows by one with each order of the service."""
    kind: OrderKind
    asked_at: float
    """Seconds since the epoch."""
    to: str | None = None
    """The instance (or, for `discard`, the volume) that it is about; None: the best one (all)."""
    volumes: tuple[str, ...] = ()
    """For `discard` of all: those that were retained when it was given. What is set aside between
    that and its turn nobody has seen yet."""
    patience_seconds: float = PATIENCE_SECONDS
    """How long a switchover waits for long transactions to end by themselves."""
    kill: bool = True
    """Whether it then ends them, or is refused."""


class OrderResult(Frozen):
    """What became of an order."""

    number: int
    ok: bool
    text: str
    """One sentence."""
    at: float
    """Seconds since the epoch."""


def pending(order: Order | None, result: OrderResult | None, kind: OrderKind) -> Order | None:
    """The order, if it is of that kind and was neither carried out nor refused yet."""
    if order is None or order.kind is not kind:
        return None
    return order if result is None or result.number < order.number else None
