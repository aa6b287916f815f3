"""When a decision whose playbook failed may be tried again. One that is carried out again and
again, and is due again each time, has failed as well.

| its error                 | most decisions               | urgent ones: who leads, whose |
|                           |                              | acknowledgements writes need  |
|---------------------------|------------------------------|-------------------------------|
| temporary                 | after 0.2, 0.4 ... up to 5 s | after 0.2, 0.4, then 0.5 s    |
| temporary, with its delay | after that, up to 5 s        | after that, up to 0.5 s       |
| permanent                 | each 30 s                    | each 5 s: never given up      |

A change of the spec ends the pause after a permanent error: perhaps it is what was missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamanager.contracts.clock import Clock
from hamanager.errors import HamanagerError
from hamanager.model.decision import Action, BackingOff, Decision

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_URGENT_PAUSE_SECONDS = 0.5
"""Where nobody can write meanwhile, or a failure would lose what is written."""
PERMANENT_PAUSE_SECONDS = 30.0
PERMANENT_URGENT_PAUSE_SECONDS = 5.0
REPETITIONS = 5
"""So often in a row a decision may be carried out. A rule that does not see what its playbook has
done would keep all later ones from their turn."""
FORGOTTEN_SECONDS = 15.0
"""One that was not tried for so long although it could have been is not wanted any more."""

_Key = tuple[str, Action, str | None]


@dataclass(frozen=True)
class _Failed:
    told: BackingOff
    at: float
    """Monotonic seconds."""

    @property
    def until(self) -> float:
        """When it may be tried again."""
        return self.at + self.told.pause_seconds


class Retries:
    """The failures of one service's loop. Not thread-safe: one pass at a time uses it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: dict[_Key, _Failed] = {}
        self._last_done: _Key | None = None
        self._repetitions = 0

    def backing_off(self) -> tuple[BackingOff, ...]:
        """What is not to be tried now."""
        now = self._clock.monotonic()
        for key, failed in list(self._failed.items()):
            if now >= failed.until + FORGOTTEN_SECONDS:
                del self._failed[key]
        return tuple(failed.told for failed in self._failed.values() if now < failed.until)

    def spec_changed(self) -> None:
        """What could not succeed by itself may now."""
        for key, failed in list(self._failed.items()):
            if failed.told.permanent:
                del self._failed[key]

    def last_error(self, decision: Decision) -> str:
        """Why the same failed the last time, whichever rule decided it; '' when it did not."""
        same = [f for key, f in self._failed.items() if key[1:] == _key(decision)[1:]]
        return max(same, key=lambda failed: failed.at).told.error if same else ""

    def rested(self) -> None:
        """There was nothing to do."""
        self._last_done = None

    def succeeded(self, decision: Decision) -> None:
        """The next failure is the first one again, unless it did so too often in a row."""
        again = _key(decision) == self._last_done
        self._last_done = _key(decision)
        self._repetitions = self._repetitions + 1 if again else 1
        if self._repetitions > REPETITIONS:
            times = self._repetitions
            self.failed(
                decision, HamanagerError(f"it was done {times} times in a row, and is due again")
            )
            return
        for key in [key for key in self._failed if key[1:] == _key(decision)[1:]]:
            del self._failed[key]

    def failed(self, decision: Decision, error: HamanagerError) -> None:
        """It was carried out, and did not reach its goal."""
        before = self._failed.get(_key(decision))
        tries = before.told.tries + 1 if before else 1
        pause = _pause_seconds(decision, error, before.told if before else None)
        told = BackingOff(*_key(decision), tries, pause, str(error), error.permanent)
        self._failed[_key(decision)] = _Failed(told, self._clock.monotonic())


def _pause_seconds(decision: Decision, error: HamanagerError, before: BackingOff | None) -> float:
    if error.permanent:
        return PERMANENT_URGENT_PAUSE_SECONDS if decision.urgent else PERMANENT_PAUSE_SECONDS
    longest = LONGEST_URGENT_PAUSE_SECONDS if decision.urgent else LONGEST_PAUSE_SECONDS
    if error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, longest)
    return min(2 * before.pause_seconds, longest) if before else FIRST_PAUSE_SECONDS


def _key(decision: Decision) -> _Key:
    return decision.rule, decision.action, decision.instance
