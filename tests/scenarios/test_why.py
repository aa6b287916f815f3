"""What `hamanager why` says after real failures: the examples of docs/why.md.

Nine of them here, on one Redis service, as the engine does not matter. The two that need MySQL's
sync set and MongoDB's elections are asserted where these fail anyway, in test_operations.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.scenarios.asking import why_now, why_of_run, why_of_wait
from tests.support.told import untold

SECONDS = 30.0


@dataclass(frozen=True)
class Stage:
    """The service `db`, whole, and the names as they are before anything fails."""

    sandbox: Sandbox
    faults: Faults
    primary: str
    standby: str
    began: int
    """How long its history was."""

    def tells(self, title: str, text: str) -> None:
        missing = untold(title, text, self.primary, self.standby)
        assert not missing, f"missing: {missing}\n{text}"

    def says(self, words: str) -> None:
        """`info` does, or comes to it."""
        wait_for(f"`{words}`", SECONDS, lambda: words in self.message(), 0.05)

    def message(self) -> str:
        return str(self.sandbox.ask("info", "db")["message"])

    def leads(self, name: str) -> None:
        record = self.sandbox.record
        wait_for(f"{name} to lead", SECONDS, lambda: record("db").primary == name, 0.05)

    def run_that(self, playbook: str) -> str:
        return why_of_run(self.sandbox, playbook, self.began)


@pytest.fixture(scope="module")
def created() -> Iterator[tuple[Sandbox, Faults]]:
    with Sandbox() as sandbox, Faults(sandbox.docker, sandbox.manager_id) as faults:
        sandbox.command("create", "db", "--engine", "redis", "--instances", "2")
        yield sandbox, faults
        faults.heal()
        print(f"--- daemon log\n{sandbox.daemon_log()[-20_000:]}")


@pytest.fixture
def stage(created: tuple[Sandbox, Faults]) -> Iterator[Stage]:
    sandbox, faults = created
    view = sandbox.wait_for_state("db", "running", SECONDS, 2)
    (standby,) = [i["name"] for i in view["instances"] if i["role"] == "standby"]
    yield Stage(sandbox, faults, view["primary"], standby, len(sandbox.ask("history", "db")))
    faults.heal()


def test_it_hangs_for_a_moment(stage: Stage) -> None:
    stage.faults.hang(stage.primary)
    stage.says("counts as failed after")
    stage.faults.wake(stage.primary)
    stage.says("is primary")
    stage.tells("It hangs for a moment", why_of_wait(stage.sandbox, "counts as failed after"))
    assert stage.sandbox.record("db").primary == stage.primary


def test_it_is_cut_off_from_the_manager_alone(stage: Stage) -> None:
    member = next(t for t in stage.sandbox.members("db") if t.name == stage.primary)
    stage.faults.cut_manager(*{member.port, member.replication_port})
    stage.says("still replicates from it")
    stage.tells("It is cut off from the manager alone", why_now(stage.sandbox))


def test_a_standby_is_killed(stage: Stage) -> None:
    stage.faults.kill(stage.standby)
    stage.tells("A standby is killed", stage.run_that("start instance"))


@pytest.mark.long
def test_a_switchover_is_ordered(stage: Stage) -> None:
    stage.sandbox.command("switchover", "db")
    stage.tells("A switchover is ordered", stage.run_that("switchover"))


def test_somebody_else_stops_it(stage: Stage) -> None:
    stage.faults.stop(stage.primary)
    stage.tells("Somebody else stops it", stage.run_that("switchover"))


def test_it_hangs_and_the_next_one_hangs_soon_after(stage: Stage) -> None:
    """The first failover of the service, so silence is enough; then it is not."""
    stage.faults.hang(stage.primary)
    stage.tells("The primary hangs", stage.run_that("fail over"))
    stage.leads(stage.standby)
    stage.sandbox.wait_for_state("db", "running", SECONDS, 2)
    soon = replace(stage, primary=stage.standby, standby=stage.primary)
    soon.faults.hang(soon.primary)
    soon.says("needs proof of death")
    soon.tells("It hangs soon after a failover", why_now(soon.sandbox))
    soon.faults.wake(soon.primary)


@pytest.mark.long
def test_it_is_killed_while_the_service_is_paused(stage: Stage) -> None:
    stage.sandbox.command("pause", "db")
    stage.faults.kill(stage.primary)
    stage.says("its process has ended")
    stage.tells("It is killed while the service is paused", why_now(stage.sandbox))
    stage.sandbox.command("resume", "db")
    stage.leads(stage.standby)


def test_it_is_killed(stage: Stage) -> None:
    stage.faults.kill(stage.primary)
    stage.tells("The primary is killed", stage.run_that("fail over"))
