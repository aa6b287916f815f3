"""A promotion that was begun and not finished."""

from __future__ import annotations

from hamanager.model.decision import Action
from hamanager.model.primary_change import Promotion, Switchover
from hamanager.model.snapshot import Role
from tests.unit.test_decide import ACKNOWLEDGING, BUSY, GONE, table, up


def test_a_begun_promotion_is_finished() -> None:
    seen = {"db.0": GONE, "db.1": up(), "db.2": up()}
    decision = table(seen, ("db.2", "db.1"), record={"under_way": Promotion(to="db.1")})
    assert (decision.action, decision.instance) == (Action.FAIL_OVER, "db.1")
    other = table({**seen, "db.1": GONE}, ("db.2",), record={"under_way": Promotion(to="db.1")})
    assert (other.action, other.instance) == (Action.FAIL_OVER, "db.2"), "it took no writes yet"
    begun = {"under_way": Promotion(to="db.1", may_write=True)}
    gone = table({**seen, "db.1": GONE}, ("db.2",), record=begun)
    assert (gone.action, gone.instance) == (Action.START_INSTANCE, "db.1")


def test_what_came_back_without_its_data_is_not_what_was_to_be_promoted() -> None:
    empty, begun = (
        up(empty=True),
        {"under_way": Promotion(to="db.1", may_write=True)},
    )
    seen = {"db.0": up(source=None), "db.1": empty}
    lost = table(seen, record=begun, capabilities=ACKNOWLEDGING)
    assert lost.action is Action.WAIT
    assert "db.1 may have taken writes in term 3 and was restarted without its data" in lost.reason
    assert "`hamanager failover db --to db.0 --force` lets db.0 go on" in lost.reason
    before = table(
        seen,
        record={"under_way": Promotion(to="db.1")},
        primary_has_all=True,
        capabilities=ACKNOWLEDGING,
    )
    assert (before.action, before.instance) == (Action.RESUME, "db.0"), "it took no writes yet"
    published = {"under_way": Switchover(to="db.1", may_write=True)}
    planned = table(seen, record=published, capabilities=ACKNOWLEDGING)
    assert planned == lost
    undone = {**seen, "db.0": up(Role.PRIMARY)}
    there = table(undone, record=published, capabilities=ACKNOWLEDGING)
    assert (there.action, there.instance) == (Action.RESUME, "db.0")
    planned_only = {"under_way": Switchover(to="db.1")}
    early = table(undone, record=planned_only, capabilities=ACKNOWLEDGING)
    assert early.action is Action.ABANDON_SWITCHOVER


def test_a_primary_that_works_after_all_goes_on_unless_the_other_one_may_have_led() -> None:
    seen = {"db.0": up(Role.PRIMARY), "db.1": up()}
    begun = {"under_way": Promotion(to="db.1"), "sync_set": ("db.1",)}
    woke = table(seen, ("db.1",), record=begun, capabilities=ACKNOWLEDGING)
    assert (woke.action, woke.instance) == (Action.RESUME, "db.0")
    published = {**begun, "under_way": Promotion(to="db.1", may_write=True)}
    led = table(seen, ("db.1",), record=published, capabilities=ACKNOWLEDGING)
    assert (led.action, led.instance) == (Action.FAIL_OVER, "db.1")
    left = table(seen, record={**published, "sync_set": ()}, capabilities=ACKNOWLEDGING)
    assert (left.action, left.instance) == (Action.RESUME, "db.0"), "it has gone on without it"


def test_a_promotion_that_may_have_led_waits_for_its_instance_to_answer() -> None:
    seen, begun = {"db.0": GONE, "db.1": BUSY, "db.2": up()}, {"under_way": Promotion(to="db.1")}
    assert table(seen, ("db.2",), record=begun).instance == "db.2"
    waits = table(seen, ("db.2",), record={"under_way": Promotion(to="db.1", may_write=True)})
    assert (waits.action, waits.instance) == (Action.WAIT, "db.1")
