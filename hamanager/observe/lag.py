"""Replication lag, measured end to end by the manager's own clock.

Each observation of a primary leaves a sample: what it had, and when. A standby is as far behind as
the first sample is old whose content it has not applied yet. That is blind to nothing an engine's
own number is blind to (an applier that has stopped, an idle link, clocks that differ), and needs no
writes; see docs/decisions/0011.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from hamanager.model.snapshot import Observation, Relation, Role, ServerStatus

SAMPLES = 3600
"""While the primary is written to, one in each observation: an hour's worth or less."""
STEP_SECONDS = 10.0
SLOTS = 360
"""So many steps are remembered: an hour."""

HasApplied = Callable[[ServerStatus, ServerStatus], bool]
"""Whether a standby has applied all that a primary had."""


class LagMeter:
    """The lag of one service's standbys. Not thread-safe."""

    def __init__(self, has_applied: HasApplied) -> None:
        self._has_applied = has_applied
        self._leads: str | None = None
        self._samples: deque[tuple[float, ServerStatus]] = deque(maxlen=SAMPLES)
        self._broken_since: dict[str, float] = {}
        self._history: dict[str, _History] = {}

    def measured(
        self,
        primary: str | None,
        seen: Mapping[str, Observation],
        joined: Collection[str],
        at: float,
        now: float,
    ) -> dict[str, Observation]:
        """The observations with their lag; `at` in monotonic seconds, when the servers were asked,
        `now` in seconds since the epoch. Replication can break only where it was: in `joined`."""
        for gone in set(self._history) - set(seen):
            del self._history[gone]
            self._broken_since.pop(gone, None)
        led = seen[primary].status if primary is not None and primary in seen else None
        if primary != self._leads:
            self._leads = primary
            self._samples.clear()
        if led is not None and led.role is Role.PRIMARY:
            self._note(led, at)
        return {
            name: one if name == primary else self._standby(name, one, name in joined, at, now)
            for name, one in seen.items()
        }

    def _note(self, status: ServerStatus, at: float) -> None:
        if not self._samples or not self._has_applied(self._samples[-1][1], status):
            self._samples.append((at, status))

    def _standby(
        self, name: str, seen: Observation, joined: bool, at: float, now: float
    ) -> Observation:
        lag = self._lag_seconds(seen.status, at) if seen.status else None
        broken = self._broken(name, seen, joined, now)
        history = self._history.setdefault(name, _History())
        if broken is not None:
            history.note(None, now)
        elif lag is not None and joined:
            history.note(lag, now)
        return replace(seen, lag_seconds=lag, broken_since=broken, lag_history=history.values(now))

    def _lag_seconds(self, status: ServerStatus, at: float) -> float | None:
        """By bisection: whoever has applied a sample has applied all before it."""
        if not self._samples:
            return status.lag_seconds
        low, high = 0, len(self._samples)
        while low < high:
            middle = (low + high) // 2
            if self._has_applied(status, self._samples[middle][1]):
                low = middle + 1
            else:
                high = middle
        if low == len(self._samples):
            return 0.0
        lag = max(0.0, at - self._samples[low][0])
        # Behind all that is remembered: it may be further behind than that.
        return max(lag, status.lag_seconds or 0.0) if low == 0 else lag

    def _broken(self, name: str, seen: Observation, joined: bool, now: float) -> float | None:
        """Since when it does not replicate; None while it does, or copies, or never did."""
        status = seen.status
        copies = seen.relation in (Relation.SEEDING, Relation.EMPTY)
        works = status is not None and status.link_up is True and seen.relation in REPLICATES
        if (works or copies) and not (status is not None and status.undoes):
            self._broken_since.pop(name, None)
            return None
        if not joined and name not in self._broken_since:
            return None
        age = (status.link_age_seconds if status else None) or seen.silent_seconds
        return self._broken_since.setdefault(name, now - age)


REPLICATES = (Relation.ATTACHED, Relation.UNKNOWN)
"""While the primary cannot be asked, the link alone tells."""


class _History:
    """The worst lag of each step of the last hour."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, float | None]] = deque(maxlen=SLOTS)

    def note(self, lag: float | None, now: float) -> None:
        step = int(now // STEP_SECONDS)
        if self._slots and self._slots[-1][0] == step:
            worst = self._slots.pop()[1]
            lag = None if lag is None or worst is None else max(lag, worst)
        self._slots.append((step, lag))

    def values(self, now: float) -> tuple[float | None, ...]:
        """One for each step since the first, oldest first; None where it was not known."""
        last = int(now // STEP_SECONDS)
        known = {step: lag for step, lag in self._slots if last - SLOTS < step <= last}
        if not known:
            return ()
        if max(known) == last - 1:
            last -= 1  # the present step has only begun
        return tuple(known.get(step) for step in range(min(known), last + 1))
