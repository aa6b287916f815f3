"""An operator forces a primary on a set whose majority is merely out of the manager's reach."""

from __future__ import annotations

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.scenarios.harness import Scenario


def test_a_majority_that_goes_on_without_the_manager_is_fenced(sandbox: Sandbox) -> None:
    """Two of three members, the primary among them, still have each other."""
    with Scenario(
        sandbox, "mongodb", "majority cut off from the manager, by force", lossless=False
    ) as run:
        run.writer_cut_off = True
        chosen = next(t.name for t in reversed(sandbox.members("db")) if t.name != run.primary)
        others = [t for t in sandbox.members("db") if t.name != chosen]
        run.fault(lambda: run.faults.cut_manager(*(t.port for t in others)))

        def out_of_reach() -> bool:
            states = {i["name"]: i["state"] for i in run.info()["instances"]}
            return all(states[target.name] == "down" for target in others)

        wait_for("the manager to have lost both", 60, out_of_reach)
        sandbox.command("failover", "db", "--force", "--to", chosen, "--timeout", "60")
        for target in others:
            assert run.history_says(f"fence {target.name}")
        assert run.primary == chosen
        failover = run.info()["last_failover"]
        assert failover["forced"]
        assert failover["lost"].startswith("whatever only ")
        run.faults.heal()
        run.wait_for_write(from_now=True)
