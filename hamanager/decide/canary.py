"""What the canary's writes tell: whether writes go through, and whether one that was acknowledged
is there no more. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

STALLED_SECONDS = 3.0
"""For so long no write may be acknowledged before that is said; a failover takes less."""


@dataclass(frozen=True)
class CanaryState:
    """What is known of one service's canary. Times are monotonic seconds, by one clock."""

    number: int = 0
    """The last one that was acknowledged; 0 for none."""
    acknowledged_at: float | None = None
    term: int = 0
    """Of the record when it was."""
    begun_at: float | None = None
    """When the first beat was begun that has not been acknowledged; None when all were."""
    error: str = ""
    """Of the last beat; '' when it went through."""

    def begun(self, now: float) -> CanaryState:
        """A beat begins."""
        return self if self.begun_at is not None else replace(self, begun_at=now)

    def failed(self, error: str) -> CanaryState:
        """It was not acknowledged."""
        return replace(self, error=error)

    def acknowledged(self, number: int, term: int, now: float) -> CanaryState:
        """It was."""
        return CanaryState(number=number, acknowledged_at=now, term=term)


def lost(before: CanaryState, found: int | None, term: int) -> str:
    """Why a write that was acknowledged is there no more, as a sentence; '' when all is as it was.
    `found`: what was there when the next one was written, in that term."""
    if not before.number or (found is not None and found >= before.number):
        return ""
    if found is None and term == before.term:
        return ""  # somebody removed it: no other server leads since
    held = f"write {found}" if found is not None else "none of them"
    when = f"in term {before.term}" if term != before.term else f"in this term {term}"
    return (
        f"an acknowledged write is lost: the canary's write {before.number} was acknowledged"
        f" {when}, and in term {term} the primary holds {held}"
    )


def stalled(state: CanaryState, now: float, primary: str | None, *, primary_answers: bool) -> str:
    """What to say while no write goes through; '' when they do, or when it is plain why not: the
    primary does not answer."""
    if state.begun_at is None or primary is None or not primary_answers:
        return ""
    seconds = now - state.begun_at
    if seconds < STALLED_SECONDS:
        return ""
    why = f": {state.error}" if state.error else ""
    return (
        f"no write has been acknowledged for {seconds:.0f} s although {primary} answers: its disk"
        f" may be full or stalled, or it waits for a standby{why}"
    )
