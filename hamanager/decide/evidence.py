"""Is the primary dead? The evidence, weighed: pure, no clock, no engine names.

| the runtime    | the server | the standbys' links     | verdict                               |
|----------------|------------|-------------------------|---------------------------------------|
| process gone   | any        | any                     | DEAD: proven, act at once             |
| any other      | answers    | any                     | ALIVE (also "busy", "loading" ...)    |
| any other      | no answer  | one is alive            | CUT_OFF: from us alone; never act     |
| any other      | refused    | all seen ones are down  | DEAD: proven by two sides             |
| any other      | no answer  | none alive, a short time| SUSPECT: wait for `down_after`        |
| any other      | no answer  | none alive, longer      | SILENT: act, but fence first          |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hamanager.model.snapshot import Contact, Observation, Process


class Verdict(StrEnum):
    """What the evidence amounts to."""

    ALIVE = "alive"
    DEAD = "dead"
    CUT_OFF = "cut off"
    SUSPECT = "suspect"
    SILENT = "silent"


@dataclass(frozen=True)
class Evidence:
    """A verdict with its reason as part of a sentence: `the process is gone`."""

    verdict: Verdict
    reason: str

    @property
    def failed(self) -> bool:
        """Whether the primary may be replaced."""
        return self.verdict in (Verdict.DEAD, Verdict.SILENT)


def weigh(
    primary: Observation,
    address: str,
    standbys: Iterable[Observation],
    down_after_seconds: float,
) -> Evidence:
    """The verdict on a primary at `address`, given how its standbys see it."""
    if primary.gone:
        return Evidence(Verdict.DEAD, f"the runtime says that {_ended(primary)}")
    if primary.alive:
        return Evidence(Verdict.ALIVE, "it answers")
    links = [
        seen.status.link_up
        for seen in standbys
        if seen.status is not None and (seen.status.believes_in or seen.status.source) == address
    ]
    if any(links):
        return Evidence(Verdict.CUT_OFF, "a standby still replicates from it")
    if primary.contact is Contact.REFUSED and links:
        return Evidence(Verdict.DEAD, "it refuses connections and every standby lost its link")
    for_seconds = f"no sign of life for {primary.silent_seconds:.1f} s"
    if primary.silent_seconds < down_after_seconds:
        return Evidence(
            Verdict.SUSPECT, f"{for_seconds}, counts as failed after {down_after_seconds:g} s"
        )
    return Evidence(Verdict.SILENT, for_seconds)


def _ended(primary: Observation) -> str:
    return "its process has ended" if primary.process is Process.EXITED else "it has no container"
