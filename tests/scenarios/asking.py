"""`hamanager why` about what has just been done. Over the daemon's socket and with the command's
own text: a process for each question would cost more than the failure."""

from __future__ import annotations

from hamanager.api.client import Client
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.cli.reasons_text import reasons_text

SECONDS = 30.0


def why_now(sandbox: Sandbox, service: str = "db") -> str:
    """Why what is done now is done."""
    with Client.connect(sandbox.home) as client:
        return reasons_text(client.reasons(service))


def why_of_run(sandbox: Sandbox, playbook: str, began: int = 0, service: str = "db") -> str:
    """Why that was decided, for the first time since the history was so long."""
    found: list[str] = []

    def decided() -> bool:
        entries = sandbox.ask("history", service)[began:]
        found[:] = [
            entry["run"]
            for entry in entries
            if entry["kind"] == "decision" and entry["playbook"] == playbook
        ]
        return bool(found)

    wait_for(f"`{playbook}` to be decided", SECONDS, decided, 0.05)
    with Client.connect(sandbox.home) as client:
        return reasons_text(client.reasons(service, run=found[0]))


def why_of_wait(sandbox: Sandbox, words: str, service: str = "db") -> str:
    """Why it waited, for the last time with these words: by the time at which `why` lists it."""
    found: list[float] = []
    with Client.connect(sandbox.home) as client:

        def listed() -> bool:
            runs = client.reasons(service).runs
            found[:] = [one.at for one in runs if not one.run and words in one.text]
            return bool(found)

        wait_for(f"a wait with `{words}` to be listed", SECONDS, listed)
        return reasons_text(client.reasons(service, at=found[-1]))
