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

from hamanager.model.snapshot import Contact, Observation, Process, links_to

OWN_SILENCE_SECONDS = 1.0
"""For so long the manager itself has to have asked in vain, the server or the engine of its host
(which it asks before it leads, too): more than one lost answer."""
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
    host_silent_seconds: float = 0.0,
) -> Evidence:
    """The verdict on a primary at `address`, given how its standbys see it. `host_silent_seconds`:
    for how long the engine of its host has not answered this manager."""
    if primary.gone:
        return Evidence(Verdict.DEAD, f"the runtime says that {_ended(primary)}")
    if primary.alive:
        return Evidence(Verdict.ALIVE, "it answers")
    standbys = list(standbys)
    links = links_to(address, (seen.status for seen in standbys))
    heard: list[float | None] = []
    any_answers = False
    for seen in standbys:
        if (status := seen.status) is None:
            continue
        any_answers = True
        if status.is_standby_of(address):
            heard.append(status.link_age_seconds)
        if status.believes_in is None:
            # It has given that one up, and this manager has not seen whom it believed in.
            heard.append(status.heard_seconds.get(address))
    if any(links):
        return Evidence(Verdict.CUT_OFF, "a standby still replicates from it")
    if primary.contact is Contact.REFUSED and links:
        return Evidence(Verdict.DEAD, "it refuses connections and every standby lost its link")
    silent_seconds = _silent_seconds(primary, heard, host_silent_seconds)
    for_seconds = f"no sign of life for {silent_seconds:.1f} s"
    if silent_seconds < down_after_seconds:
        return Evidence(
            Verdict.SUSPECT, f"{for_seconds}, counts as failed after {down_after_seconds:g} s"
        )
    told = "every standby lost its link"
    if not links:
        told = f"no standby {'follows it' if any_answers else 'could be asked'}"
    return Evidence(
        Verdict.SILENT,
        f"{for_seconds} (counts as failed after {down_after_seconds:g} s) and {told}",
    )


def _silent_seconds(
    primary: Observation, heard_seconds: Sequence[float | None], host_silent_seconds: float
) -> float:
    """For how long, at the least. `heard_seconds`: how long ago each standby heard of it."""
    own = primary.silent_seconds
    known = [seconds for seconds in heard_seconds if seconds is not None]
    asked_in_vain = max(own, host_silent_seconds)
    if asked_in_vain < OWN_SILENCE_SECONDS or not known or max(known) > LONGEST_WITNESS_SECONDS:
        return own
    told = min(known) - PING_SECONDS
    if primary.answered_seconds is not None:
        told = min(told, primary.answered_seconds)  # their links had broken before
    if host_silent_seconds > 0:
        told = min(told, asked_in_vain)
    return max(own, told)


def _ended(primary: Observation) -> str:
    return "its process has ended" if primary.process is Process.EXITED else "it has no container"
