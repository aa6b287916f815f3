"""sysbench, which knows nothing of hamanager, goes on through a kill of the primary."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.sysbench import compare, prepare, run_with_a_kill
from hamanager.chaos.sandbox import Sandbox

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("sysbench") is None,
        reason="sysbench is not installed, and only root can install it",
    ),
]
SECONDS = 12


def test_sysbench_goes_on_through_a_kill_of_the_primary(sandbox: Sandbox) -> None:
    sandbox.command("create", "db", "--engine", "mysql", "--instances", "2", "--memory", "1G")
    before = sandbox.primary("db").name
    prepare(sandbox)
    load = run_with_a_kill(sandbox, SECONDS)
    assert sandbox.primary("db").name != before
    assert load.reconnects >= 1
    second_half = load.per_second[SECONDS // 2 + 2 :]
    assert second_half
    assert min(second_half) > 0, load.per_second
    compare(sandbox)
