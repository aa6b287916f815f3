"""What hooks that hang, fail or are slow cost a failover: `make hooks`.

Of one service, under a plain client that writes, the primary is killed again and again: in turns
without hooks and with three that are told of everything, one of which hangs, one fails and one is
slow. Both kinds of round take turns at being first, so that whatever else the machine does meets
both alike. Told are the gaps between accepted writes, and the ratio of their medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import yaml

from benchmarks.address import SIZES, UNDER_WAY_SECONDS, one_round, told
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.daemon.events import EventKind
from tests.support.clients import PlainWriter

READ_SECONDS = 15.0
"""The manager looks at the file once a second; hooks of before that still work are waited for."""
NONE, BAD = "without hooks", "with three bad ones"


def main() -> int:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    chosen = parser.parse_args()
    for engine in chosen.engine or ("mysql", "redis"):
        with tempfile.TemporaryDirectory(prefix="hamanager-hooks-") as directory:
            hooks = Hooks(Path(directory))
            with Sandbox(serve_options=["--hooks", str(hooks.path)]) as sandbox:
                print(_measure(sandbox, engine, hooks, chosen.rounds), flush=True)
    return 0


class Hooks:
    """The file that names them, and what they leave when they are begun."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "hooks.yaml"
        self._begun = directory / "begun"
        self._times = 0
        self._write([])

    def use(self, sandbox: Sandbox, kind: str) -> None:
        """From now on that kind, which the manager has read."""
        begin = f"echo $HAMANAGER_EVENT >> {self._begun};"
        programs = {"hangs": "exec sleep 1000", "fails": "exit 1", "slow": "sleep 3"}
        events = [kind.value for kind in EventKind]
        self._write(
            [
                {"name": name, "command": ["sh", "-c", f"{begin} {does}"], "events": events}
                for name, does in programs.items()
                if kind == BAD
            ]
        )
        self._times += 1
        wait_for("the hooks to be read", READ_SECONDS, partial(self._were_read, sandbox))

    def begun(self) -> int:
        """How many programs were begun until now."""
        return len(self._begun.read_text().splitlines()) if self._begun.exists() else 0

    def _write(self, hooks: list[dict[str, object]]) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text(yaml.safe_dump({"hooks": hooks}))
        draft.replace(self.path)

    def _were_read(self, sandbox: Sandbox) -> bool:
        return sandbox.daemon_log().count("hooks were read from") >= self._times


def _measure(sandbox: Sandbox, engine: str, hooks: Hooks, rounds: int) -> str:
    sandbox.command("create", "db", "--engine", engine, "--instances", str(SIZES[engine]))
    writer = PlainWriter(engine, sandbox.command("url", "db").strip())
    writer.start()
    gaps: dict[str, list[float]] = {NONE: [], BAD: []}
    begun = {NONE: 0, BAD: 0}
    loads: list[float] = []
    try:
        for number in range(rounds):
            for kind in (NONE, BAD) if number % 2 else (BAD, NONE):
                hooks.use(sandbox, kind)
                time.sleep(UNDER_WAY_SECONDS)
                before = hooks.begun()
                gaps[kind].append(one_round(sandbox, writer, "kill").gap_seconds)
                begun[kind] += hooks.begun() - before
                loads.append(os.getloadavg()[0])
    finally:
        writer.stop()
    # Not always three: a round that is over sooner leaves out what has not been begun.
    assert begun[BAD] >= rounds, f"the hooks were begun {begun[BAD]} times only"
    medians = {kind: statistics.median(seconds) for kind, seconds in gaps.items()}
    lines = [
        f"{engine}, {kind}: {rounds} x kill: gap min / median / max {told(seconds)};"
        f" {begun[kind]} programs begun"
        for kind, seconds in gaps.items()
    ]
    ratio = medians[BAD] / medians[NONE]
    lines.append(
        f"{engine}: ratio of the medians {ratio:.2f}; {len(writer.accepted)} accepted,"
        f" {writer.lost()} lost; load average {statistics.median(loads):.1f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
