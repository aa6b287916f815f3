"""The append-only story of a service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import SkipJsonSchema


class HistoryEntry(BaseModel):
    """One thing that happened.

    `kind` is one of `command` (an operator asked), `decision` (the loop chose a playbook, with
    the reason), `step` (one step of it ended), `outcome` (the playbook ended), `note`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    at: float
    """Seconds since the epoch."""
    service: str
    kind: str
    text: str
    by: str = ""
    """Of a command: who asked, such as `token laptop`; '' at the manager's own machine."""
    run: str = ""
    """Identifies the playbook run that the entry belongs to."""
    playbook: str = ""
    rule: str = ""
    """Of a decision, or a wait: the rule that decided."""
    number: int | None = None
    """Of the step, from 1."""
    step: str = ""
    """The step's name; `text` has what came of it as well."""
    seconds: float | None = None
    """How long the step or the whole run took."""
    ok: bool = True
    seen: SkipJsonSchema[str] = ""
    """What was decided by (`hamanager.model.kept`), with a decision or a wait; '' elsewhere."""
