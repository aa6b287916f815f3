"""The simulation as a search: histories drawn from a seed, on all cores, for as long as one likes.

    python -m tests.simulation.search [--seconds 600] [--seed 7] [--first]
    python -m tests.simulation.search --replay 7-123
    python -m tests.simulation.search --mutant "nothing is kept"    (or --mutants: all of them)

History 123 of seed 7 is the same on every machine. What fails is shrunk and printed as a test. See
docs/simulation.md.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import queue
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event as Flag
from typing import Any

import pytest
from rich.console import Console

from tests.simulation.histories import Failure, History, drawn, failure_of
from tests.simulation.left_out import MUTANTS
from tests.simulation.shrinking import shrunk

REPORT_SECONDS = 1.0
"""How often a worker tells how far it has come."""
PROGRESS_SECONDS = 5.0
SHRINK_SECONDS = 60.0
SHRINK_A_BIT_SECONDS = 5.0
LATE_SECONDS = SHRINK_SECONDS + 30.0
"""How long after the end workers may take to shrink what they found last."""
LONGEST_TEXT = 600


@dataclass(frozen=True)
class Found:
    """A failure, and the smallest history that was found for it."""

    seed: str
    failure: Failure
    history: History

    def __str__(self) -> str:
        text = self.failure.text
        if len(text) > LONGEST_TEXT:
            text = f"{text[:LONGEST_TEXT]} ..."
        return f"seed {self.seed}: {self.failure.signature}\n\n" + self.history.as_test(
            f"found by seed {self.seed}", text
        )


@dataclass
class Tally:
    """What was carried out."""

    histories: int = 0
    events: int = 0
    faults: int = 0
    failures: int = 0

    def add(self, other: Tally) -> None:
        self.histories += other.histories
        self.events += other.events
        self.faults += other.faults
        self.failures += other.failures


@dataclass(frozen=True)
class Plan:
    """What a search is asked for."""

    seed: int
    seconds: float
    workers: int = 1
    first: bool = False
    """End with the first failure."""
    mutant: str = ""
    """Which safety rule is left out."""
    shrink_seconds: float = SHRINK_SECONDS


# --- One after the other ---------------------------------------------------------------------


@contextlib.contextmanager
def without_its_rule(mutant: str) -> Iterator[None]:
    """The product without that safety rule; '' is the product as it is."""
    with pytest.MonkeyPatch.context() as patch:
        for named in MUTANTS:
            if named.name == mutant:
                named.leave_out(patch)
        yield


class Search:
    """Carries out history after history; equal failures are shrunk once."""

    def __init__(self, seed: int, mutant: str = "", shrink_seconds: float = SHRINK_SECONDS) -> None:
        self.tally = Tally()
        self._seed, self._mutant, self._shrink_seconds = seed, mutant, shrink_seconds
        self._known: set[str] = set()

    def look(self, number: int) -> Found | None:
        """Carry out that history; what is new in it."""
        seed = f"{self._seed}-{number}"
        history = drawn(seed)
        failure = self._failure_of(history)
        if failure is not None and self._mutant and failure_of(history) is not None:
            failure = None  # it needs no mutant to fail
        self.tally.add(Tally(1, len(history.events), history.faults, failure is not None))
        if failure is None or failure.signature in self._known:
            return None
        self._known.add(failure.signature)
        return self._small(seed, history, failure)

    def _failure_of(self, history: History) -> Failure | None:
        with without_its_rule(self._mutant):
            return failure_of(history)

    def _small(self, seed: str, history: History, failure: Failure) -> Found:
        """The same failure by a history as small as the time allows."""
        until = time.monotonic() + self._shrink_seconds
        last = failure

        def fails(smaller: History) -> bool:
            nonlocal last
            present = self._failure_of(smaller)
            if present is None or present.signature != failure.signature:
                return False
            last = present
            return True

        smallest = shrunk(history, fails, lambda: time.monotonic() < until)
        return Found(seed, last, smallest)


# --- On all cores ----------------------------------------------------------------------------


def _work(plan: Plan, which: int, reports: Any, over: Flag) -> None:
    """One worker: every history whose number leaves `which` when divided by the workers."""
    until = time.monotonic() + plan.seconds
    search = Search(plan.seed, plan.mutant, plan.shrink_seconds)
    number, told = which, time.monotonic()
    parent = multiprocessing.parent_process()
    assert parent is not None
    while time.monotonic() < until and not over.is_set() and parent.is_alive():
        found = search.look(number)
        number += plan.workers
        if found is not None or time.monotonic() - told > REPORT_SECONDS:
            reports.put((search.tally, found))
            search.tally, told = Tally(), time.monotonic()
    reports.put((search.tally, None))
    reports.put(None)
    if not parent.is_alive():
        reports.cancel_join_thread()  # nobody reads any more


def searched(
    plan: Plan, tell: Callable[[Found], None], progress: Callable[[Tally, float], None]
) -> tuple[Tally, list[Found]]:
    """All histories that the time allows; each new failure is told at once."""
    context = multiprocessing.get_context("spawn")
    reports, over = context.Queue(), context.Event()
    workers = [
        context.Process(target=_work, args=(plan, which, reports, over), daemon=True)
        for which in range(plan.workers)
    ]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    tally, found, known = Tally(), list[Found](), set[str]()
    left, late = len(workers), began + plan.seconds + LATE_SECONDS
    while left and time.monotonic() < late:
        try:
            report = reports.get(timeout=PROGRESS_SECONDS)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                break
            continue
        if report is None:
            left -= 1
            continue
        tally.add(report[0])
        if report[1] is not None and report[1].failure.signature not in known:
            known.add(report[1].failure.signature)
            found.append(report[1])
            tell(report[1])
            if plan.first:
                over.set()
        progress(tally, time.monotonic() - began)
    for worker in workers:
        if worker.is_alive():
            worker.terminate()
        worker.join(PROGRESS_SECONDS)
    if left:
        raise SystemExit(f"{left} of {len(workers)} workers came to no end: the search is void")
    return tally, found


# --- For people --------------------------------------------------------------------------------


class Screen:
    """A line that stays up to date on a terminal, and one every few seconds elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._told = 0.0
        if self._status is not None:
            self._status.start()

    def say(self, text: str) -> None:
        self._console.print(text)
        sys.stdout.flush()

    def progress(self, tally: Tally, seconds: float) -> None:
        if self._status is not None:
            self._status.update(line(tally, seconds))
        elif seconds - self._told >= PROGRESS_SECONDS:
            self._told = seconds
            self.say(line(tally, seconds))

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()


def line(tally: Tally, seconds: float) -> str:
    """How far it has come."""
    pace = max(seconds, 0.001)
    return (
        f"{seconds:5.0f} s  {tally.histories:,} histories ({tally.histories / pace:,.0f}/s)"
        f"  {tally.events:,} events  {tally.faults:,} faults ({tally.faults / pace:,.0f}/s)"
        f"  {tally.failures:,} failed"
    )


def replay(seed: str, mutant: str) -> int:
    """Draw that history again and carry it out."""
    history = drawn(seed)
    with without_its_rule(mutant):
        failure = failure_of(history)
    print(history.as_test(f"drawn by seed {seed}", failure.text if failure else "all is well"))
    return 1 if failure else 0


def all_mutants(plan: Plan, screen: Screen) -> int:
    """Which safety rules the search misses by itself, each within the time."""
    missed = 0
    for mutant in MUTANTS:
        one = replace(plan, first=True, mutant=mutant.name, shrink_seconds=SHRINK_A_BIT_SECONDS)
        began = time.monotonic()
        tally, found = searched(one, lambda _: None, lambda *_: None)
        missed += not found
        told = "-"
        for one_found in found:
            told = f"{len(one_found.history.events):3} events  {one_found.failure.signature}"
        screen.say(
            f"{mutant.name:52} {time.monotonic() - began:4.0f} s {tally.histories:7,} histories"
            f"  {told}"
        )
    screen.say(f"{len(MUTANTS) - missed} of {len(MUTANTS)} were found")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 nothing found, 1 something, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.search")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to search")
    parser.add_argument("--seed", type=int, help="by default another one each time")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--first", action="store_true", help="end with the first failure")
    parser.add_argument("--replay", metavar="SEED-NUMBER", help="carry out this history alone")
    names = [mutant.name for mutant in MUTANTS]
    parser.add_argument("--mutant", default="", choices=["", *names], help="leave out this rule")
    parser.add_argument("--mutants", action="store_true", help="each mutant for so many seconds")
    asked = parser.parse_args(arguments)
    if asked.replay:
        return replay(asked.replay, asked.mutant)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    plan = Plan(seed, asked.seconds, max(1, asked.workers), asked.first, asked.mutant)
    screen = Screen()
    screen.say(f"seed {plan.seed}, {plan.workers} workers, {plan.seconds:g} s")
    began = time.monotonic()
    try:
        if asked.mutants:
            return all_mutants(plan, screen)
        tally, found = searched(plan, lambda f: screen.say(f"\nFAILED {f}"), screen.progress)
    except KeyboardInterrupt:
        return 130
    finally:
        screen.close()
    screen.say(line(tally, time.monotonic() - began))
    screen.say(f"{len(found)} different failures" if found else "nothing was found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
