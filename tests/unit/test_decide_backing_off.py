"""What is decided while playbooks that failed a moment ago back off."""

from __future__ import annotations

from dataclasses import replace

from hamanager.decide.table import RULES, STATELESS_RULES
from hamanager.model.decision import Action, BackingOff
from hamanager.model.snapshot import (
    Contact,
    Relation,
    Role,
)
from tests.unit.test_decide import GONE, LINK_DOWN, SILENT, failed, table, up

LOOSE = up(relation=Relation.DETACHED)


def test_others_have_their_turn_while_one_backs_off() -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": LOOSE, "db.2": LOOSE}
    first = table(seen)
    assert (first.rule, first.action, first.instance) == ("rejoin", Action.ATTACH, "db.1")
    pauses: tuple[BackingOff, ...] = (failed("rejoin", Action.ATTACH, "db.1"),)
    second = table(seen, backing_off=pauses)
    assert (second.rule, second.action, second.instance) == ("rejoin", Action.ATTACH, "db.2")
    pauses += (failed("rejoin", Action.ATTACH, "db.2"),)
    third = table(seen, backing_off=pauses, spec={"instances": 4})
    assert (third.rule, third.action, third.instance) == ("missing", Action.ADD_INSTANCE, "db.3")
    pauses += (failed("missing", Action.ADD_INSTANCE, "db.3", 1),)
    last = table(seen, backing_off=pauses, spec={"instances": 4})
    assert (last.rule, last.action) == ("backing-off", Action.WAIT)
    assert last.reason == (
        "attach db.1: tried 3 times, again within 0.8 s: it is broken;"
        " attach db.2: tried 3 times, again within 0.8 s: it is broken;"
        " add instance db.3: tried once, again within 0.8 s: it is broken"
    )


def test_another_action_for_the_same_instance_is_not_held_up() -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": up(relation=Relation.EMPTY)}
    decision = table(seen, backing_off=(failed("rejoin", Action.ATTACH, "db.1"),))
    assert decision.action is Action.SEED


def test_what_a_later_wait_is_about_is_told_first() -> None:
    seen = {"db.0": replace(SILENT, contact=Contact.BUSY), "db.1": GONE}
    decision = table(seen, backing_off=(failed("start", Action.START_INSTANCE, "db.1"),))
    assert decision.rule == "primary-not-ready"
    told = "db.0 is not ready to take writes; start instance db.1: tried 3 times, again within"
    assert decision.reason.startswith(told)


def test_who_leads_holds_everything_up() -> None:
    seen = {"db.0": GONE, "db.1": LINK_DOWN, "db.2": GONE}
    pauses = (failed("primary-dead", Action.FAIL_OVER, "db.1"),)
    decision = table(seen, ("db.1",), backing_off=pauses)
    assert (decision.action, decision.instance) == (Action.WAIT, "db.1")
    assert decision.reason == "fail over db.1: tried 3 times, again within 0.8 s: it is broken"
    other = table({**seen, "db.2": LINK_DOWN}, ("db.2", "db.1"), backing_off=pauses)
    assert (other.action, other.instance) == (Action.FAIL_OVER, "db.2"), "another may lead"
    assert other.urgent


def test_which_rules_are_never_passed_over() -> None:
    """Before nearly all that yield; and the end of an instance, which `start` would undo."""
    firm = [rule.name for rule in RULES if not rule.yields]
    at = [rule.name for rule in RULES].index("sync-adjust")
    before = [rule.name for rule in RULES[:at]]
    before.remove("primary-is-ending")  # a planned change that fails must not delay the failover
    before.remove("left-behind")  # nor may what cannot be ended on a host that is back
    assert firm[: at - 2] == before
    later = ["refusal", "surplus", "primary-not-ready", "restart-done", "switchover", "rebalanced"]
    later += ["no-room", "upgrade-stopped", "well"]
    assert firm[at - 2 :] == later
    stateless = [rule.name for rule in STATELESS_RULES if not rule.yields]
    first = ["destroy", "paused", "blind", "first-address", "surplus"]
    assert stateless == [*first, "upgrade-stopped", "well"]
