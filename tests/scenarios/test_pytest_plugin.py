"""The example of pytest-hamanager: a right client passes, a wrong one fails, and its report says
why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "testing/pytest-hamanager/example"
SECONDS = 280


@pytest.mark.long
@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_example_tells_a_right_client_from_a_wrong_one(tmp_path: Path, workers: str) -> None:
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    words += ["--rootdir", str(EXAMPLE), "--basetemp", str(tmp_path / "b"), str(EXAMPLE)]
    words += ["--numprocesses", workers]  # of xdist, which share one installation
    done = subprocess.run(
        words, cwd=EXAMPLE, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    told = done.stdout
    assert "1 failed, 2 passed" in told, told + done.stderr
    failed = "FAILED test_accounts.py::test_money_neither_vanishes_nor_appears[naive_transfer]"
    assert failed in told
    assert "{'ada': 100, 'bob': 130}" in told, "what it had done before is gone"
    title = "what happened to test-mysql (seconds since the test began)"
    timeline = told.partition(title)[2]
    killed, led = (
        timeline.index("the test: kill test-mysql."),
        timeline.index("promote test-mysql."),
    )
    assert killed < led
