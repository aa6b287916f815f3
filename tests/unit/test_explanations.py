"""`why` and `what-if` as the API has them, and as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hamanager.api.reasons import Fault, FaultKind, ForecastView
from hamanager.cli.reasons import _moment
from hamanager.cli.reasons_text import forecast_text, reasons_text
from hamanager.daemon.explanations import forecast, kept_facts, reasons_view
from hamanager.errors import NotFoundError, UsageError
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import Action, phrase
from hamanager.model.history import HistoryEntry
from hamanager.model.kept import Facts, packed
from hamanager.model.snapshot import Role, Snapshot
from tests.support.altered import altered
from tests.unit.test_decide import ACKNOWLEDGING, ELECTING, NOW, PROMOTED, instance, up
from tests.unit.test_why import RECORD, SPEC, SYNCED, facts

KILL, HANG, PARTITION = FaultKind.KILL, FaultKind.HANG, FaultKind.PARTITION
NEVER = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def entry(at: float, run: str, seen: str) -> HistoryEntry:
    kept = packed(facts(seen))
    return HistoryEntry(at=at, service="db", kind="decision", text="t", run=run, seen=kept)


HISTORY = [
    entry(100, "a", "dead"),
    HistoryEntry(at=101, service="db", kind="step", text="s", run="a"),
    entry(200, "b", "standby gone"),
]


@pytest.mark.parametrize(
    ("at", "run", "found"),
    [(150, None, "a"), (200, None, "b"), (1e12, None, "b"), (None, "a", "a")],
)
def test_the_history_keeps_what_was_decided_by(
    at: float | None, run: str | None, found: str
) -> None:
    known, _ = kept_facts(HISTORY, "db", at, run)
    assert known.run == found


@pytest.mark.parametrize(("at", "run"), [(99.0, None), (None, "nosuch")])
def test_what_was_not_kept_is_said(at: float | None, run: str | None) -> None:
    with pytest.raises(NotFoundError, match=r"the history of 'db' keeps nothing of what"):
        kept_facts(HISTORY, "db", at, run)


def test_the_reasons_read_well() -> None:
    known, kept = kept_facts(HISTORY, "db", None, "a")
    text = reasons_text(reasons_view("db", kept, PROMOTED, HISTORY, known))
    assert "(run a): decided to fail over to db.1, by the rule `primary-dead`\n" in text
    assert "    the primary is dead: the runtime says that its process has ended\n" in text
    assert "    db.1: answers; takes no writes; attached to db.0; link to its source" in text
    assert " -> primary-dead: decided\n" in text
    assert "other rules were not concerned: --all tells them" in text


def test_every_rule_is_told_when_it_is_asked_for() -> None:
    view = reasons_view("db", facts("well"), PROMOTED, HISTORY)
    text = reasons_text(view, every=True)
    assert all(f" {rule.rule}: " in text for rule in view.rules)
    assert "--run a  t\n" in text
    assert "would decide if an operator had paused it" in text


def test_what_was_decided_long_before_is_told_as_such() -> None:
    known, kept = kept_facts(HISTORY, "db", NOW + 3600, None)
    view = reasons_view("db", kept, PROMOTED, HISTORY, known)
    text = reasons_text(view, asked_about=NOW + 3600)
    assert "    from then to 1970-01-01 03:46:40 UTC (1h0m) nothing else was decided\n" in text
    assert "from then to" not in reasons_text(view, asked_about=NOW + 20)


def test_a_wait_is_listed_with_its_time() -> None:
    """Rounded up to the millisecond: asked about that time it is found again."""
    wait = altered(entry(1_000.000_4, "", "suspect"), kind="note")
    text = reasons_text(reasons_view("db", facts("well"), PROMOTED, [*HISTORY, wait]))
    assert "    1970-01-01 00:16:40 UTC  --at 1970-01-01T00:16:40.001  t\n" in text
    at = _moment("1970-01-01T00:16:40.001", NEVER)
    assert kept_facts([*HISTORY, wait], "db", at, None)[0] is wait


@pytest.mark.parametrize("action", Action)
def test_each_action_reads_well_after_to(action: Action) -> None:
    assert phrase(action, None)[0].islower()
    told = phrase(action, "db.1")
    assert "{}" not in told
    assert ("db.1" in told) == (action not in (Action.WAIT, Action.NOTHING))


# --- What if ------------------------------------------------------------------------------------


def asked(
    capabilities: Capabilities, *faults: tuple[FaultKind, str], of: Facts | None = None
) -> ForecastView:
    named = [Fault(kind=kind, instance=name) for kind, name in faults]
    return forecast("db", of or facts("well"), capabilities, None, named)


def test_a_killed_primary_is_replaced_at_once() -> None:
    found = asked(PROMOTED, (KILL, "db.0"))
    assert [(m.after_seconds, m.action, m.instance) for m in found.moments] == [
        (0.0, "fail over", "db.1")
    ]
    assert found.leads == "db.1"


def test_a_hung_one_is_given_its_time() -> None:
    found = asked(PROMOTED, (HANG, "db.0"))
    assert [(m.after_seconds, m.rule) for m in found.moments] == [
        (0.0, "primary-cut-off"),
        (3.0, "primary-dead"),
    ]
    assert found.leads == "db.1"


def test_a_standby_costs_nobody_anything() -> None:
    found = asked(PROMOTED, (KILL, "db.1"))
    assert found.leads == "db.0"
    assert found.lost == "nothing: the primary goes on"


def test_what_a_synchronized_heir_costs() -> None:
    found = asked(ACKNOWLEDGING, (KILL, "db.0"), of=facts("well", record=SYNCED))
    assert found.lost == "nothing that was acknowledged: db.1 holds all of it on its disk"


def test_two_of_three_that_elect_are_the_majority() -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": up(), "db.2": up()}
    members = tuple(instance(name) for name in seen)
    spec = SPEC.model_validate({**dict(SPEC), "instances": 3})
    record = RECORD.model_validate({**dict(RECORD), "instances": members})
    known = Facts(spec, record, Snapshot(NOW, seen, ("db.1", "db.2")))
    found = asked(ELECTING, (KILL, "db.0"), (KILL, "db.1"), of=known)
    assert found.moments[0].rule == "majority-lost"
    assert found.leads is None
    assert found.lost.startswith("nothing by itself")
    assert "leads: nobody\n" in forecast_text(found)


def test_whoever_else_may_have_received_most_by_then_is_named() -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": up(), "db.2": up()}
    members = tuple(instance(name) for name in seen)
    spec = SPEC.model_validate({**dict(SPEC), "instances": 3})
    record = RECORD.model_validate({**dict(RECORD), "instances": members})
    known = Facts(spec, record, Snapshot(NOW, seen, ("db.2", "db.1")))
    found = asked(ELECTING, (KILL, "db.0"), of=known)
    assert (found.leads, found.may_lead) == ("db.2", ["db.1"])
    told = forecast_text(found)
    assert "    leads: db.2, or db.1 if more has reached it by then\n" in told
    assert asked(ELECTING, (KILL, "db.1"), of=known).may_lead == []


@pytest.mark.parametrize(
    ("faults", "error", "sentence"),
    [
        ([], UsageError, "nothing is said to fail"),
        ([(KILL, "db.7")], NotFoundError, "there is no instance 'db.7' of 'db'"),
        ([(KILL, "db.0"), (HANG, "db.0")], UsageError, "'db.0' is said to fail twice"),
    ],
)
def test_nonsense_is_refused(
    faults: list[tuple[FaultKind, str]], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        asked(PROMOTED, *faults)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("14:03", datetime(2026, 1, 31, 14, 3, 59, 999_999, tzinfo=UTC)),
        ("14:03:10", datetime(2026, 1, 31, 14, 3, 10, 999_999, tzinfo=UTC)),
        ("2026-01-30 14:03:10 UTC", datetime(2026, 1, 30, 14, 3, 10, 999_999, tzinfo=UTC)),
        ("2026-01-30T15:03:10+01:00", datetime(2026, 1, 30, 14, 3, 10, 999_999, tzinfo=UTC)),
    ],
)
def test_times(text: str, at: datetime) -> None:
    assert _moment(text, NEVER) == at.timestamp()


def test_no_time() -> None:
    with pytest.raises(UsageError, match="'soon' is no time"):
        _moment("soon", NEVER)
