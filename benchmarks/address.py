"""What a plain client on the one address notices: `make address`.

A client of the engine's own library writes in a reconnect loop to the address that `hamanager url`
prints. Its primary is killed again and again, hangs, is shut down by somebody else, or planned
away; told are the gaps between accepted writes, failed attempts to connect, what was lost, and how
long it took until the old primary was back in step: on record as a standby that holds everything.
Until then the next failure would cost something.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial

from docker.models.containers import Container

from hamanager.chaos.faults import Faults
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.errors import HamanagerError
from hamanager.model.spec import Spec
from tests.support.clients import PlainWriter

SIZES = {"mysql": 2, "redis": 2, "mongodb": 3}
SETTLED_SECONDS = 240.0
"""A member of MongoDB that comes to no end with undoing is started anew, then rebuilt."""
UNDER_WAY_SECONDS = 0.7
"""So long it writes undisturbed before each round."""
HEARD_SECONDS = 20.0
TOLD_ABOVE_SECONDS = 0.2
STEP_TOLD_ABOVE_SECONDS = 6.0
"""The history of a round with a longer gap, or that took longer until all were in step, is printed,
so that it can be explained."""


@dataclass(frozen=True)
class Round:
    """What came of one."""

    gap_seconds: float
    """The longest between accepted writes."""
    in_step_seconds: float
    """From the fault until every instance was back in step."""


def main() -> int:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--fault", choices=["kill", "hang", "terminate", "stop", "switchover"], default="kill"
    )
    parser.add_argument("--hooks", default="", help="with these hooks")
    chosen = parser.parse_args()
    options = ["--hooks", chosen.hooks] if chosen.hooks else []
    for engine in chosen.engine or SIZES:
        with Sandbox(serve_options=options) as sandbox:
            print(_measure(sandbox, engine, chosen.fault, chosen.rounds), flush=True)
    return 0


def _measure(sandbox: Sandbox, engine: str, fault: str, rounds: int) -> str:
    words = ["--engine", engine, "--instances", str(SIZES[engine])]
    explained_above_seconds = TOLD_ABOVE_SECONDS
    if fault == "hang":
        # One silence after the other: each is enough.
        words += ["--failover-period", "0"]
        explained_above_seconds += Spec.model_fields["down_after_seconds"].default
    sandbox.command("create", "db", *words)
    url = sandbox.command("url", "db").strip()
    writer = PlainWriter(engine, url)
    writer.start()
    rounds_done: list[Round] = []
    try:
        for number in range(1, rounds + 1):
            time.sleep(UNDER_WAY_SECONDS)
            began_at = time.time()
            try:
                done = one_round(sandbox, writer, fault)
            except HamanagerError as error:
                _explain(sandbox, f"round {number} of {engine} did not end: {error}", began_at)
                print(
                    f"  the client was turned away last by: {writer.turned_away[-1:]}", flush=True
                )
                raise
            if (
                done.gap_seconds > explained_above_seconds
                or done.in_step_seconds > explained_above_seconds + STEP_TOLD_ABOVE_SECONDS
            ):
                took = f"{done.gap_seconds:.3f} s, back in step after {done.in_step_seconds:.3f} s"
                _explain(sandbox, f"round {number} of {engine} had a gap of {took}", began_at)
            rounds_done.append(done)
    finally:
        writer.stop()
    same = sandbox.command("url", "db").strip() == url
    gaps = told([done.gap_seconds for done in rounds_done])
    in_step = told([done.in_step_seconds for done in rounds_done])
    return (
        f"{engine}: {rounds} x {fault}: gap min / median / max {gaps}; back in step {in_step};"
        f" {len(writer.accepted)} accepted, {writer.lost()} lost, {writer.cut} connections cut,"
        f" {len(writer.turned_away)} attempts to connect failed;"
        f" the address {'never changed' if same else 'CHANGED'}"
    )


def _explain(sandbox: Sandbox, what: str, since: float) -> None:
    """Print what the history has of it."""
    print(what, flush=True)
    for entry in sandbox.ask("history", "db") or ():
        if entry["at"] >= since:
            seconds = entry["seconds"]
            took = "" if seconds is None else f" ({seconds:.3f} s)"
            print(
                f"  {entry['at'] - since:7.3f} {entry['kind']}: {entry['text']}{took}", flush=True
            )
    print(f"  now: {sandbox.ask('info', 'db')}", flush=True)


def told(seconds: list[float]) -> str:
    """Minimum, median and maximum."""
    return f"{min(seconds):.3f} / {statistics.median(seconds):.3f} / {max(seconds):.3f} s"


def one_round(sandbox: Sandbox, writer: PlainWriter, fault: str) -> Round:
    """Do it to the primary and wait until all is well."""
    began = time.monotonic()
    record = sandbox.record("db")
    term, primary = record.term, sandbox.container(record.primary or "")
    if fault == "switchover":
        sandbox.command("switchover", "db")
    else:
        match fault:
            case "kill":
                primary.kill()
            case "hang":
                Faults(sandbox.docker, sandbox.manager_id).hang(record.primary or "")
            case "terminate":
                primary.kill(signal="SIGTERM")
            case "stop":
                primary.stop()
    moment = time.monotonic()
    wait_for(
        "a write after it",
        HEARD_SECONDS,
        lambda: bool(writer.accepted) and writer.accepted[-1].at > moment,
    )
    if fault == "terminate":
        # Its place is taken before it ends, and until then all are in step.
        wait_for("its end", HEARD_SECONDS, partial(_has_ended, sandbox, primary))
    in_step_seconds = sandbox.wait_until_in_step("db", term, SETTLED_SECONDS) - began
    view = sandbox.wait_for_state("db", "running", SETTLED_SECONDS)
    assert len(view["instances"]) == view["desired"]["instances"]
    return Round(writer.gap_seconds(began), in_step_seconds)


def _has_ended(sandbox: Sandbox, before: Container) -> bool:
    """Whether that process of it has; perhaps it was started again."""
    now = sandbox.docker.api.inspect_container(before.id or "")["State"]
    return not now["Running"] or now["StartedAt"] != before.attrs["State"]["StartedAt"]


if __name__ == "__main__":
    raise SystemExit(main())
