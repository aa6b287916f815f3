"""What a drill found out: the documented, stable JSON of `hamanager drill --output json`.

Durations are in seconds, times in seconds since the epoch; what did not happen or is not known is
null. Fields may be added, none is renamed or removed.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hamanager.model.drill import DrillFault
from hamanager.model.durability import Durability


class Measures(BaseModel):
    """How long it took; all but the gap count from the fault."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    detect_seconds: float | None = None
    """To the manager's first decision."""
    promote_seconds: float | None = None
    """To the end of the failover; null when the primary stayed."""
    first_write_seconds: float | None = None
    """To the first write acknowledged by another instance; when the primary stayed, to the first
    one after the interruption, null when there was none."""
    healthy_seconds: float | None = None
    """To full health at full size; null when it was never left, or not reached again."""
    longest_gap_seconds: float | None = None
    """Between two acknowledged writes."""


class RoundResult(Measures):
    """One round."""

    number: int
    """From 1."""
    instance: str
    """The primary that the fault was injected into."""
    primary: str | None
    """The primary at the end."""
    fault_at: float
    first_write_on: str | None = None
    acknowledged: int
    """Writes in this round."""
    lost: int | None
    """Of these, how many the primary does not hold at the end of the round; null when it could not
    be asked."""
    duplicate_primaries: int
    """How many looks found a server that took writes while another one did, too."""
    recovered: bool
    """Full health was reached again within two minutes of the fault's end."""
    message: str = ""
    """What the manager said at the end of a round that did not recover."""


class DrillReport(BaseModel):
    """A whole drill."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    engine: str
    version: str | None
    durability: Durability | None
    """null when the daemon did not tell."""
    lossless: bool
    """The service promises not to lose acknowledged writes."""
    instances: int
    fault: DrillFault
    started_at: float
    rounds_wanted: int
    rounds: list[RoundResult]
    median: Measures
    worst: Measures
    acknowledged: int
    """Writes in all rounds."""
    lost: int | None
    """Of all these, how many the primary does not hold at the very end."""
    duplicate_primaries: int
    failures: list[str]
    """Sentences: why the drill failed; empty when the service did what it promises."""

    @property
    def passed(self) -> bool:
        """The service did what it promises."""
        return not self.failures
