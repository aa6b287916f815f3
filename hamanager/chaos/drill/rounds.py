"""The arithmetic of a round, from what was recorded to what is reported. Pure."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hamanager import formats
from hamanager.chaos.drill.values import Measures, RoundResult
from hamanager.chaos.watch import Looks, duplicates
from hamanager.chaos.workload import Acknowledged
from hamanager.model.decision import Action
from hamanager.model.history import HistoryEntry

INTERRUPTION_SECONDS = 0.5
"""A shorter gap between two writes is not called an interruption: a slow server makes many."""
CHANGES_OF_PRIMARY = (Action.FAIL_OVER.value, Action.ADOPT.value)


@dataclass(frozen=True)
class Trace:
    """Everything recorded of one round; moments in monotonic seconds."""

    number: int
    instance: str
    """The primary that the fault was injected into."""
    primary: str | None
    """The primary at the end."""
    fault_at: float
    undone_at: float | None
    """The end of a fault that lasts."""
    healthy_at: float | None
    """From then on full health was seen without a break; None when it was never left, or not
    reached again."""
    recovered: bool
    ended_at: float
    epoch_at_zero: float
    """Seconds since the epoch when the monotonic clock was zero."""
    writes: Sequence[Acknowledged]
    looks: Looks
    history: Sequence[HistoryEntry]
    lost: int | None
    message: str
    """Of the manager, at the end."""


@dataclass(frozen=True)
class Round:
    """What the report shows of a round; moments in seconds since the fault."""

    result: RoundResult
    write_times: array[float]
    looks: Looks
    undone_at: float | None
    began_at: float
    ended_at: float


def measure(trace: Trace) -> Round:
    """The round as it is reported."""
    fault_at = trace.fault_at
    first = first_write(trace)
    result = RoundResult(
        number=trace.number,
        instance=trace.instance,
        primary=trace.primary,
        fault_at=round(fault_at + trace.epoch_at_zero, 3),
        detect_seconds=_since_fault(trace, detected(trace)),
        promote_seconds=_since_fault(trace, promoted(trace)),
        first_write_seconds=_rounded(first.at - fault_at) if first else None,
        first_write_on=first.instance if first else None,
        healthy_seconds=_rounded(trace.healthy_at - fault_at) if trace.healthy_at else None,
        longest_gap_seconds=_rounded(longest_gap(trace)),
        acknowledged=len(trace.writes),
        lost=trace.lost,
        duplicate_primaries=len(duplicates(trace.looks)),
        recovered=trace.recovered,
        message="" if trace.recovered else trace.message,
    )
    times = array("d", (write.at - fault_at for write in trace.writes))
    return Round(
        result=result,
        write_times=times,
        looks={
            name: [
                replace(k, asked_at=k.asked_at - fault_at, answered_at=k.answered_at - fault_at)
                for k in looks
            ]
            for name, looks in trace.looks.items()
        },
        undone_at=trace.undone_at - fault_at if trace.undone_at is not None else None,
        began_at=min(times[0], 0.0) if times else 0.0,
        ended_at=trace.ended_at - fault_at,
    )


# --- What the history tells -----------------------------------------------------------------------


def detected(trace: Trace) -> HistoryEntry | None:
    """The manager's first decision after the fault."""
    return next((e for e in _after_fault(trace) if e.kind == "decision"), None)


def promoted(trace: Trace) -> HistoryEntry | None:
    """The end of the first change of primary to another instance."""

    def changed(entry: HistoryEntry) -> bool:
        ended = entry.kind == "outcome" and entry.ok and entry.playbook in CHANGES_OF_PRIMARY
        return ended and f"{entry.playbook} {trace.instance}:" not in entry.text

    return next((e for e in _after_fault(trace) if changed(e)), None)


def _after_fault(trace: Trace) -> Sequence[HistoryEntry]:
    fault_at = trace.fault_at + trace.epoch_at_zero
    return [entry for entry in trace.history if entry.at >= fault_at]


# --- What the client saw --------------------------------------------------------------------------


def first_write(trace: Trace) -> Acknowledged | None:
    """The first write on another instance after the fault; when there is none, the first one after
    the longest interruption."""
    after = [write for write in trace.writes if write.at > trace.fault_at]
    elsewhere = next((write for write in after if write.instance != trace.instance), None)
    if elsewhere is not None:
        return elsewhere
    gaps = _gaps(trace)
    longest = max(gaps, key=lambda gap: gap[0], default=None)
    if longest is None or longest[0] < INTERRUPTION_SECONDS:
        return None
    return longest[1]


def longest_gap(trace: Trace) -> float | None:
    """Between two acknowledged writes, of which the later came after the fault; writes that never
    came again count to the end of the round. None when there was no write at all."""
    if not trace.writes:
        return None
    to_the_end = trace.ended_at - trace.writes[-1].at
    return max([to_the_end, *(seconds for seconds, _ in _gaps(trace))])


def _gaps(trace: Trace) -> list[tuple[float, Acknowledged]]:
    """Seconds, and the write that ended them."""
    return [
        (after.at - before.at, after)
        for before, after in zip(trace.writes, trace.writes[1:], strict=False)
        if after.at > trace.fault_at
    ]


# --- All rounds together --------------------------------------------------------------------------


def summarize(rounds: Sequence[Measures], how: Callable[[list[float]], float]) -> Measures:
    """Each measure over all rounds in which there is one."""
    values: dict[str, float | None] = {}
    for field in Measures.model_fields:
        known = [v for v in (getattr(r, field) for r in rounds) if v is not None]
        values[field] = _rounded(how(known)) if known else None
    return Measures(**values)


def median(rounds: Sequence[Measures]) -> Measures:
    """The middle one."""
    return summarize(rounds, statistics.median)


def worst(rounds: Sequence[Measures]) -> Measures:
    """The longest one."""
    return summarize(rounds, max)


def failures(
    rounds: Sequence[RoundResult], lost_at_end: int | None, *, lossless: bool
) -> list[str]:
    """Why a drill failed, in sentences."""
    found = []
    for done in rounds:
        if not done.recovered:
            why = f" ({done.message})" if done.message else ""
            found.append(f"round {done.number}: not healthy again within two minutes{why}")
        if done.duplicate_primaries:
            looks = formats.count(done.duplicate_primaries, "look")
            found.append(f"round {done.number}: two servers took writes at once, in {looks}")
        if lossless and done.lost:
            writes = formats.count(done.lost, "acknowledged write")
            found.append(f"round {done.number}: {writes} lost, although the service promises none")
    if lost_at_end is None:
        found.append("whether writes are lost is not known: the primary could not be asked")
    elif lossless and lost_at_end and not any(done.lost for done in rounds):
        writes = formats.count(lost_at_end, "acknowledged write")
        found.append(f"{writes} of earlier rounds lost by the end of the drill")
    return found


def _since_fault(trace: Trace, entry: HistoryEntry | None) -> float | None:
    return None if entry is None else _rounded(entry.at - trace.epoch_at_zero - trace.fault_at)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
