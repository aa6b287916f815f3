"""The rules beside the mutants that leave them out: docs/rules.md, and what it has to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hamanager.decide.table import RULES, STATELESS_RULES, Rule
from hamanager.model.decision import Action
from tests.simulation.left_out import MUTANTS

DOCUMENT = Path(__file__).parents[2] / "docs/rules.md"
BESIDE = "route-clients"
"""Not a rule of the table: done beside whatever it decides (docs/decisions/0017)."""

INTRODUCTION = """\
Written by `HAMANAGER_GOLDEN=write pytest tests/unit/test_rules_document.py`, and compared with the
code by it. The first rule that applies decides. A mutant leaves a rule out, or does wrongly what it
decides, and the simulation has to turn red by that
([`left_out.py`](../tests/simulation/left_out.py)). A rule that *protects data* has one at least; a
rule that decides something grave and has none says why."""

GRAVE = frozenset(
    {
        *(Action.INITIALIZE, Action.SEED, Action.ATTACH, Action.MARK_SYNCHRONIZED, Action.REBUILD),
        *(Action.JOIN_SYNC_SET, Action.LEAVE_SYNC_SET, Action.SET_REQUIRED_ACKS),
        *(Action.END_WAITING, Action.FAIL_OVER, Action.RESUME, Action.ADOPT, Action.DEMOTE),
        *(Action.FORCE, Action.SWITCHOVER, Action.ABANDON_SWITCHOVER, Action.DISCARD),
        *(Action.UPGRADE, Action.REMOVE_INSTANCE, Action.DESTROY),
    }
)
"""They change who leads, for whom writes wait, or whose data is there."""

WHY_NONE = {
    "stuck-undoing": "the set elects, and what it undoes had no majority; its volume is retained",
    "destroy": "an operator's word",
    "set-up": "nothing was written yet",
    "move": "a planned change: the driver's hand-over proves again what it needs",
    "replace": "an operator's word, about one that does not answer",
    "upgrade-undone": "the same data, and a primary that hangs anyway",
    "primary-is-ending": "a planned change: the driver's hand-over proves again what it needs",
    "discard": "an operator's word",
    "switchover": "a planned change: the driver's hand-over proves again what it needs",
}
"""Rules that decide something grave and need no mutant."""


def missing() -> Iterator[str]:
    """Everything that the document should show and cannot, in a sentence."""
    names = {rule.name for rule in RULES}
    for rule in RULES:
        told = _mutants_of(rule.name)
        if rule.protects and not told:
            yield f"the rule {rule.name} protects data, and no mutant leaves it out"
        if told and not rule.protects:
            yield f"the rule {rule.name} has a mutant, and is not said to protect data"
        if GRAVE & set(rule.may) and not rule.protects and rule.name not in WHY_NONE:
            yield f"the rule {rule.name} decides something grave, and has neither mutant nor excuse"
    for mutant in MUTANTS:
        for unknown in set(mutant.rules) - names - {BESIDE}:
            yield f"the mutant '{mutant.name}' names a rule that does not exist: {unknown}"
    for name in set(WHY_NONE) - names:
        yield f"it is said why the rule {name} has no mutant, and it does not exist"
    if not _mutants_of(BESIDE):
        yield "clients are led by something that no mutant leaves out"


def document() -> str:
    """The whole text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The rules, and the mutants that leave them out"
    yield ""
    yield INTRODUCTION
    yield ""
    yield from _table(RULES)
    yield ""
    yield "## Beside what was decided"
    yield ""
    yield "| | when | may | left out by |"
    yield "|---|---|---|---|"
    when = "The service's addresses do not lead where the record and the last look say."
    yield f"| {BESIDE} | {when} | publish | {_listed(_mutants_of(BESIDE))} |"
    yield ""
    yield "## What every action stands on"
    yield ""
    for mutant in MUTANTS:
        if not mutant.rules:
            yield f"- {mutant.name}"
    yield ""
    yield "## Services without data"
    yield ""
    yield from _table(STATELESS_RULES, mutants=False)


def _table(rules: Sequence[Rule], *, mutants: bool = True) -> Iterator[str]:
    yield "| rule | when | may |" + (" left out by |" if mutants else "")
    yield "|---|---|---|" + ("---|" if mutants else "")
    for rule in rules:
        when = " ".join((rule.decides.__doc__ or "").split()).replace("|", "\\|")
        if rule.only:
            when += f" *Only {rule.only}.*"
        may = ", ".join(action.value for action in rule.may)
        row = f"| {rule.name}{' *(protects data)*' * rule.protects} | {when} | {may} |"
        if mutants:
            why = WHY_NONE.get(rule.name)
            row += f" {_listed(_mutants_of(rule.name)) or (f'none: {why}' if why else '')} |"
        yield row


def _mutants_of(rule: str) -> list[str]:
    return [mutant.name for mutant in MUTANTS if rule in mutant.rules]


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names)
