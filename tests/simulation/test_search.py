"""The search itself: what it draws is repeatable, what it finds gets small, and it finds things."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation import search
from tests.simulation.happenings import Event
from tests.simulation.histories import Failure, History, drawn, failure_of
from tests.simulation.search import Found, Search
from tests.simulation.shrinking import shrunk

HISTORIES_AT_MOST = 200
MODE = "asynchronous, strict"

DIGEST = """
import hashlib
from tests.simulation.histories import drawn, told_by
print(hashlib.sha256("".join(told_by(drawn(f"9-{n}")) for n in range(6)).encode()).hexdigest())
"""


def digest(hash_seed: str) -> str:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, "-c", DIGEST],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


def test_a_seed_is_a_history_and_a_history_has_one_course() -> None:
    """In each process, however it hashes."""
    assert drawn("7-1") == drawn("7-1") != drawn("7-2")
    assert digest("1") == digest("2")


def test_the_product_as_it_is_survives_the_first_histories() -> None:
    looks = Search(0)
    assert [found for number in range(10) if (found := looks.look(number))] == []
    assert looks.tally.histories == 10
    assert looks.tally.faults > 0


def found_without(mutant: str) -> Found:
    looks = Search(1, mutant)
    tried = (looks.look(number) for number in range(HISTORIES_AT_MOST))
    return next(found for found in tried if found is not None)


def test_a_rule_that_is_left_out_is_found_and_told_in_few_events() -> None:
    for mutant in ("nothing is kept", "no fence before a promotion"):
        found = found_without(mutant)
        assert 1 <= len(found.history.events) <= 5, str(found)
        assert failure_of(found.history) is None, "with the rule all is well"


def test_what_is_found_is_told_as_a_test() -> None:
    history = History(MODE, 3, (("pass amid", (4, "hang", "db.1")), ("time", 2.0)), busy=5)
    told = history.as_test("found by seed 7-1", "after time 2.0: gone")
    assert told == (
        "def test_found_by_seed_7_1() -> None:\n"
        "    # after time 2.0: gone\n"
        '    simulation = begun("asynchronous, strict", 3)\n'
        "    simulation.busy = 5\n"
        "    simulation.events(\n"
        '        ("pass amid", (4, "hang", "db.1")),\n'
        '        ("time", 2.0),\n'
        "    )\n"
        "    simulation.settle()\n"
    )


def test_equal_failures_have_one_signature() -> None:
    first = Failure("after effect 12: writes {3} are on no disk any more")
    second = Failure("after kill db.0: writes {4, 17} are on no disk any more")
    assert first.signature == second.signature == "writes ... are on no disk any more"
    assert Failure("not healthy after 200 s: Pass(... rule='start' ...)").signature == (
        "not healthy: start"
    )


# --- Shrinking -------------------------------------------------------------------------------


def kinds_of(history: History) -> list[str]:
    return [kind for kind, _ in history.events]


def test_only_what_is_needed_is_left_in_the_simplest_form() -> None:
    noise: list[Event] = [("write", n % 3) for n in range(40)]
    events = (
        *noise,
        ("kill", "db.2"),
        *noise,
        ("pass amid", (9, "hang", "db.2")),
        ("live", 8),
        *noise,
    )
    history = History(MODE, 5, events, busy=255, passes_meanwhile=1, meanwhile=(("write", 0),))

    def fails(smaller: History) -> bool:
        kinds = kinds_of(smaller)
        after = kinds[kinds.index("kill") :] if "kill" in kinds else []
        return "hang" in after or "pass amid" in after

    smallest = shrunk(history, fails, lambda: True)
    assert smallest == History(MODE, 1, (("kill", "db.0"), ("hang", "db.0")))


def test_what_cannot_be_made_smaller_stays() -> None:
    history = History(MODE, 2, (("kill", "db.1"), ("write", 1)), busy=1)
    assert shrunk(history, lambda smaller: smaller == history, lambda: True) == history


def test_shrinking_ends_with_its_time() -> None:
    history = History(MODE, 2, (("kill", "db.1"),) * 100)
    left = iter([True] * 5)
    tried: list[History] = []

    def fails(smaller: History) -> bool:
        tried.append(smaller)
        return bool(smaller.events)

    smallest = shrunk(history, fails, lambda: next(left, False))
    assert len(tried) == 5
    assert 0 < len(smallest.events) < 100


# --- The command -------------------------------------------------------------------------------


def test_a_search_on_two_cores_ends_in_time_and_says_how_far_it_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search.main(["--seconds", "2", "--seed", "0", "--workers", "2"]) == 0
    told = capsys.readouterr().out
    assert "seed 0, 2 workers, 2 s" in told
    assert "faults (" in told
    assert "nothing was found" in told


def runs(process: str) -> bool:
    """It is there, and more than an entry that nobody has read yet."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_workers_outlive_nobody() -> None:
    """A search that is killed leaves none behind."""
    command = [
        sys.executable,
        "-m",
        "tests.simulation.search",
        "--seconds",
        "600",
        "--workers",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        lines = iter(killed.stdout.readline, "")
        assert any("histories" in line for line in lines)
        children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
        killed.kill()
    assert children
    until = time.monotonic() + 60
    while any(runs(child) for child in children):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_mutant_ends_a_search_with_one_and_its_seed_can_be_replayed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mutant = ["--mutant", "nothing is kept"]
    command = ["--seconds", "60", "--seed", "1", "--workers", "2", "--first"]
    assert search.main([*command, *mutant]) == 1
    told = capsys.readouterr().out
    seed = told.partition("FAILED seed ")[2].partition(":")[0]
    assert f"def test_found_by_seed_{seed.replace('-', '_')}()" in told
    assert search.main(["--replay", seed, *mutant]) == 1
    assert search.main(["--replay", seed]) == 0
