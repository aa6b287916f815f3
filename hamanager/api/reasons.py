"""What the API says about why something was decided, and what would be."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class SightView(_View):
    """What was seen of one instance."""

    instance: str
    primary: bool
    """It was the primary on record."""
    words: str


class RuleView(_View):
    """What became of one rule."""

    rule: str
    standing: str
    """`decided`, `held up`, `does not apply`, `overruled` (it would decide if no earlier one did)
    or `not asked`."""
    when: str
    """When it applies."""
    reason: str = ""
    """What it decides or would decide, and why."""
    would_if: list[str] = []
    """Of one that does not apply: each of these alone would have made it."""


class RunView(_View):
    """A decision that was carried out, or a wait that began."""

    run: str
    """'' for a wait: it is asked about by its time."""
    at: float
    """Seconds since the epoch."""
    text: str


class ReasonsView(_View):
    """Why something was decided."""

    service: str
    at: float
    """When that was seen on which it stands (seconds since the epoch)."""
    run: str = ""
    """The run that carried it out; '' for what is decided now, and for a wait."""
    now: bool
    """It is the present decision; otherwise one that the history kept."""
    rule: str
    action: str
    instance: str | None = None
    reason: str
    evidence: str
    """About the primary on record."""
    seen: list[SightView]
    instead_if: list[str]
    """What would have changed who leads."""
    rules: list[RuleView]
    """In the order in which they are asked."""
    runs: list[RunView] = []
    """The last decisions that were carried out and waits that began, of which the same can be
    asked."""


class FaultKind(StrEnum):
    """How an instance fails in a forecast."""

    KILL = "kill"
    """Its process ends."""
    HANG = "hang"
    """Its process runs and answers nobody."""
    PARTITION = "partition"
    """Nobody reaches it, nor, where there are several hosts, its host's engine."""


class Fault(_View):
    """One failure to be put in."""

    kind: FaultKind
    instance: str


class MomentView(_View):
    """What would be decided some time after the failures."""

    after_seconds: float
    rule: str
    action: str
    instance: str | None = None
    reason: str


class ForecastView(_View):
    """What would happen."""

    service: str
    at: float
    """When the present state was seen (seconds since the epoch)."""
    faults: list[Fault]
    moments: list[MomentView]
    leads: str | None
    """Who would lead then; null for nobody."""
    may_lead: list[str] = []
    """Others that are as good as it: the one that has received most when the failure comes leads,
    and as seen now that is `leads`."""
    lost: str
    """What would be lost of what was acknowledged, in a sentence."""
