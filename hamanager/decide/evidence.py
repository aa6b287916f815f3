"""Is the primary dead? The evidence, weighed: pure, no clock, no engine names.

| the runtime    | the server | the standbys' links     | verdict                               |
|----------------|------------|-------------------------|---------------------------------------|
| process gone   | any        | any                     | DEAD: proven, act at once             |
| any other      | answers    | any                     | ALIVE (also "busy", "loading" ...)    |
| any other      | no answer  | one is alive            | CUT_OFF: from us alone; never act     |
| any other      | refused    | all seen ones are down  | DEAD: proven by two sides             |
| any other      | no answer  | none alive, a short time| SUSPECT: wait for `down_after`        |
| any other      | no answer  | none alive, longer      | SILENT: act, but fence first          |

How long it has been silent its standbys know as well: a manager that has only just taken over does
not have to wait for all of `down_after` itself when each of them has heard nothing for so long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hamanager.model.snapshot import Contact, Observation, Process

OWN_SILENCE_SECONDS = 1.0
"""For so long the manager itself has to have asked in vain: more than one lost answer."""
PING_SECONDS = 1.0
"""A healthy primary may say nothing to its standbys for so long."""
LONGEST_WITNESS_SECONDS = 15.0
"""A link that has been silent for longer was broken before: it is no witness of this silence."""


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
    told = [
        seen.status
        for seen in standbys
        if seen.status is not None and (seen.status.believes_in or seen.status.source) == address
    ]
    links = [status.link_up for status in told]
    if any(links):
        return Evidence(Verdict.CUT_OFF, "a standby still replicates from it")
    if primary.contact is Contact.REFUSED and links:
        return Evidence(Verdict.DEAD, "it refuses connections and every standby lost its link")
    silent_seconds = _silent_seconds(primary, [status.link_age_seconds for status in told])
    for_seconds = f"no sign of life for {silent_seconds:.1f} s"
    if silent_seconds < down_after_seconds:
        return Evidence(
            Verdict.SUSPECT, f"{for_seconds}, counts as failed after {down_after_seconds:g} s"
        )
    return Evidence(Verdict.SILENT, for_seconds)


def _silent_seconds(primary: Observation, heard_seconds: Sequence[float | None]) -> float:
    """For how long, at the least. `heard_seconds`: how long ago each standby heard of it."""
    own = primary.silent_seconds
    known = [seconds for seconds in heard_seconds if seconds is not None]
    if own < OWN_SILENCE_SECONDS or not known or max(known) > LONGEST_WITNESS_SECONDS:
        return own
    return max(own, min(known) - PING_SECONDS)


def _ended(primary: Observation) -> str:
    return "its process has ended" if primary.process is Process.EXITED else "it has no container"
