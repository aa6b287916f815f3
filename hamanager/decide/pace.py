"""How soon a service is observed again when nothing wakes its worker. Pure."""

from __future__ import annotations

from hamanager.decide.situation import Situation, follows

SHORTEST_SECONDS = 0.05
SHARE = 0.05
"""What is waited for is seen at most so much later than it happened, as a share of the wait."""
LONGEST_SECONDS = 1.0
"""The scheduler's tick comes as often: from then on there is no need for a pause of one's own."""


def unfinished(s: Situation) -> bool:
    """Whether some instance is not, or not yet, where it belongs: it starts, connects, catches up.
    No tripwire and no event tells when it is through."""
    if s.capabilities.stateless:
        return any(seen.status is None for _, seen in s.all)
    return not s.primary_works or not all(follows(seen) for _, seen in s.standbys)


def pause_seconds(unfinished_seconds: float) -> float | None:
    """Until the next observation of what has been unfinished for so long: soon at first, when it is
    probably over in a moment and each one counts, then ever more rarely; None: at the next tick.
    """
    pause = max(SHORTEST_SECONDS, SHARE * unfinished_seconds)
    return pause if pause < LONGEST_SECONDS else None
