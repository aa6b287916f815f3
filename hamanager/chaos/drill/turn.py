"""A drill's turn: it is the only one of its service, and what became of it is kept."""

from __future__ import annotations

import logging
import secrets
import time
from types import TracebackType

from hamanager.chaos.drill.values import DrillReport
from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, HamanagerError
from hamanager.model.drill import NOTED, Claim, DrilledRound, DrillFault, DrillResult, Outcome
from hamanager.model.history import HistoryEntry
from hamanager.stores import drills

log = logging.getLogger("hamanager")

PREPARING_SECONDS = 120.0
"""Until the first round, at the most."""


class Turn:
    """Use as a context manager; whatever ends it, what became of the drill is told once."""

    def __init__(
        self, store: Store, name: str, fault: DrillFault, rounds: int, due_at: float | None
    ) -> None:
        """`due_at`: of one by schedule."""
        self._store = store
        self._name = name
        now = time.time()
        self._claim = Claim(
            id=secrets.token_hex(4),
            fault=fault,
            rounds=rounds,
            began_at=now,
            until=now + PREPARING_SECONDS,
            due_at=due_at,
        )
        self._begun = False
        self._report: DrillReport | None = None
        self._verdict = ""

    def __enter__(self) -> Turn:
        """Raises:
        ConflictError: another drill of that service is under way, or that due time was seen to.
        """
        try:
            drills.claim(self._store, self._name, self._claim, time.time())
        except ConflictError as error:
            self._end(error)
            raise
        # While it is claimed nobody tells that nothing came of it.
        due_at = self._claim.due_at
        if due_at is not None and drills.result_of(self._store, self._name, due_at) is not None:
            drills.change_claim(self._store, self._name, self._claim, None)
            raise ConflictError(
                f"what became of that drill of '{self._name}' is told already; nothing was done"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._end(error)
            drills.change_claim(self._store, self._name, self._claim, None)
        except HamanagerError as problem:  # whoever waits for the numbers gets them all the same
            log.warning("%s: what became of the drill is not kept: %s", self._name, problem)

    def begin_round(self, seconds: float) -> None:
        """One more round, of so many seconds at the most."""
        now = time.time()
        extended = self._claim.extended(now + seconds)
        drills.change_claim(self._store, self._name, self._claim, extended)
        self._claim = extended

    def broken(self) -> None:
        """From now on something is broken on purpose."""
        self._begun = True

    def done(self, report: DrillReport, verdict: str) -> None:
        """It was carried out; `verdict`: in a sentence, after the word that says how it ended."""
        self._report, self._verdict = report, verdict.partition(": ")[2]

    def _end(self, error: BaseException | None) -> None:
        by_schedule = self._claim.due_at is not None
        if not self._begun and not by_schedule:
            return  # whoever typed it has been told, and nothing has happened
        result = self._result(error)
        kept = drills.keep(self._store, result, self._claim.id, time.time())
        if not by_schedule and kept:
            self._note(result)

    def _result(self, error: BaseException | None) -> DrillResult:
        claim, report = self._claim, self._report
        outcome, text = self._outcome(error)
        return DrillResult(
            service=self._name,
            engine=report.engine if report else "",
            version=report.version if report else None,
            fault=claim.fault,
            rounds_wanted=claim.rounds,
            outcome=outcome,
            text=text,
            due_at=claim.due_at,
            began_at=round(claim.began_at, 3),
            ended_at=round(time.time(), 3),
            lossless=bool(report and report.lossless),
            rounds=tuple(
                DrilledRound(
                    first_write_seconds=done.first_write_seconds,
                    longest_gap_seconds=done.longest_gap_seconds,
                    acknowledged=done.acknowledged,
                    lost=done.lost,
                    duplicate_primaries=done.duplicate_primaries,
                    recovered=done.recovered,
                )
                for done in (report.rounds if report else ())
            ),
            acknowledged=report.acknowledged if report else 0,
            lost=report.lost if report else None,
        )

    def _outcome(self, error: BaseException | None) -> tuple[Outcome, str]:
        report = self._report
        if isinstance(error, HamanagerError):
            told = str(error)
        elif isinstance(error, KeyboardInterrupt):
            told = "it was stopped; what was broken is undone"
        else:
            told = f"it failed unexpectedly ({type(error).__name__})"
        if not self._begun:
            return Outcome.REFUSED, report.failures[-1] if report and error is None else told
        if error is not None or report is None:
            return Outcome.UNFINISHED, told
        return Outcome.PASSED if report.passed else Outcome.FAILED, self._verdict

    def _note(self, result: DrillResult) -> None:
        text = f"drill by hand ({result.fault}): {result.outcome}: {result.text}"
        entry = HistoryEntry(
            at=result.ended_at,
            service=self._name,
            kind="note",
            text=text,
            rule=NOTED,
            ok=result.outcome is Outcome.PASSED,
        )
        self._store.append(entry)
