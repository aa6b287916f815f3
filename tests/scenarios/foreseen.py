"""What `what-if` says before a failure, and what happened then."""

from __future__ import annotations

import json
from typing import Any

from hamanager.chaos.sandbox import Sandbox

TRIES = 3
"""The manager may do something of its own at the same time."""


class Foreseen:
    """Made right before the failure; `came_true` is asked when all is over."""

    def __init__(self, sandbox: Sandbox, *faults: str, service: str = "db") -> None:
        """`faults` as on the command line: `--kill db.0`."""
        self._sandbox = sandbox
        self._service = service
        self.forecast: Any = None
        for _ in range(TRIES):
            self._record = sandbox.record(service)
            told = sandbox.command("what-if", service, *faults, "--output", "json")
            self.forecast = json.loads(told)
            if sandbox.record(service) == self._record:
                return
        raise AssertionError("a forecast touches nothing")

    def came_true(self) -> None:
        """Who leads was foreseen; so was the decision, and `why` tells the same of it."""
        record = self._sandbox.record(self._service)
        possible = [self.forecast["leads"], *self.forecast["may_lead"]]
        assert record.primary in possible, self.forecast
        last = self.forecast["moments"][-1]
        if record.term == self._record.term:
            assert last["action"] != "fail over", "it was foreseen that another one would lead"
            return
        why = self._why_it_leads(record.primary or "")
        # `elected`: the servers were quicker than the manager.
        assert why["rule"] in (last["rule"], "elected")
        assert why["instance"] == record.primary
        decided = [rule["rule"] for rule in why["rules"] if rule["standing"] == "decided"]
        assert decided == [why["rule"]]

    def _why_it_leads(self, primary: str) -> Any:
        """The reasons of the run that made it the primary."""
        history = self._sandbox.ask("history", self._service)
        runs = [
            entry["run"]
            for entry in history
            if entry["kind"] == "decision"
            and entry["playbook"] in ("fail over", "adopt")
            and f" {primary}: " in entry["text"]
        ]
        asked = ("why", self._service, "--run", runs[-1], "--output", "json")
        return json.loads(self._sandbox.command(*asked))
