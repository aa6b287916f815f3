"""When an instance is made anew from another image, and when it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.model.decision import Action, Decision
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Contact, Observation, Process, Relation, Role, ServerStatus
from hamanager.model.spec import Spec
from hamanager.model.upgrade import runs_from, sources, to_start, unproven_after, upgraded
from tests.support.altered import altered
from tests.unit.test_decide import (
    ACKNOWLEDGING,
    ELECTING,
    GONE,
    LONG_SILENT,
    NOW,
    PROMOTED,
    instance,
    table,
    up,
)

OLD = PinnedImage(id="sha256:1", name="db:1", version="1.0")
NEW = PinnedImage(id="sha256:2", name="db:2", version="2.0", digest="db@sha256:2")
TOO = {"pinned": NEW, "image": "db:2", "made_from": OLD}


def decided(
    instances: list[InstanceRecord],
    seen: dict[str, Observation] | None = None,
    *,
    record: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **more: Any,
) -> Decision:
    looks = {i.name: up(Role.PRIMARY if i.name == "db.0" else Role.STANDBY) for i in instances}
    standbys = tuple(i.name for i in instances if i.name != "db.0")
    more.setdefault("candidates", standbys)
    if more.get("capabilities") is ACKNOWLEDGING:
        looks = {n: replace_status(look, acknowledges=True) for n, look in looks.items()}
        record = {"sync_set": standbys, **(record or {})}
    return table(
        {**looks, **(seen or {})},
        spec={**TOO, **(spec or {})},
        record=record,
        instances=tuple(instances),
        **more,
    )


def replace_status(seen: Observation, **changes: Any) -> Observation:
    assert isinstance(seen.status, ServerStatus)
    changes.setdefault("acknowledges_from_disk", True)
    return replace(seen, status=replace(seen.status, **changes))


def old(name: str, **changes: Any) -> InstanceRecord:
    return instance(name, image=OLD, **changes)


def new(name: str, **changes: Any) -> InstanceRecord:
    return instance(name, image=NEW, **changes)


def does(decision: Decision) -> tuple[Action, str | None]:
    return decision.action, decision.instance


@pytest.mark.parametrize("engine", [PROMOTED, ELECTING])
def test_the_standby_with_the_highest_number_is_the_first(engine: Any) -> None:
    decision = decided([old("db.0"), old("db.1"), old("db.2")], capabilities=engine)
    assert does(decision) == (Action.UPGRADE, "db.2")
    assert decision.reason == "it is to run from db:2 (2.0)"
    decision = decided([old("db.0"), old("db.1"), new("db.2")], capabilities=engine)
    assert does(decision) == (Action.UPGRADE, "db.1")


def test_a_member_of_the_sync_set_leaves_it_first() -> None:
    three = [old("db.0"), old("db.1"), old("db.2")]
    decision = decided(three, capabilities=ACKNOWLEDGING)
    assert does(decision) == (Action.LEAVE_SYNC_SET, "db.2")
    assert decision.reason == "it is to be upgraded"
    left = {"sync_set": ("db.1",)}
    seen = {"db.2": up()}
    decision = decided(three, seen, capabilities=ACKNOWLEDGING, record=left)
    assert does(decision) == (Action.UPGRADE, "db.2")


def test_nobody_joins_while_it_is_being_stopped() -> None:
    two = [old("db.0"), old("db.1", upgrading=True, restarting_since=NOW - 1)]
    decision = decided(two, {"db.1": up()}, capabilities=ACKNOWLEDGING, record={"sync_set": ()})
    assert decision.action is Action.NOTHING


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        pytest.param(new("db.2"), GONE, id="its process has ended"),
        pytest.param(new("db.2"), LONG_SILENT, id="it is silent"),
        pytest.param(new("db.2"), up(synchronized=False), id="it catches up"),
        pytest.param(new("db.2", restarting_since=NOW - 5), up(), id="its restart is not over"),
        pytest.param(new("db.2", former_image=OLD), up(), id="it has not been seen at work"),
        pytest.param(new("db.2", starts=1), up(), id="it was just started"),
        pytest.param(
            new("db.2", joined=False), up(relation=Relation.SEEDING), id="it makes its copy"
        ),
    ],
)
@pytest.mark.parametrize("engine", [PROMOTED, ELECTING])
def test_not_while_another_is_missing(
    engine: Any, other: InstanceRecord, seen: Observation
) -> None:
    decision = decided([old("db.0"), old("db.1"), other], {"db.2": seen}, capabilities=engine)
    assert decision.action is not Action.UPGRADE
    decision = decided([old("db.0"), new("db.1"), other], {"db.2": seen}, capabilities=engine)
    assert decision.action is not Action.SWITCHOVER


def test_not_while_another_is_not_in_the_sync_set() -> None:
    three = [old("db.0"), old("db.1"), new("db.2")]
    decision = decided(
        three, {"db.2": up()}, capabilities=ACKNOWLEDGING, record={"sync_set": ("db.1",)}
    )
    assert does(decision) == (Action.JOIN_SYNC_SET, "db.2")


def test_not_before_those_that_are_wanted_are_there() -> None:
    decision = decided([old("db.0"), old("db.1")], spec={"instances": 3})
    assert does(decision) == (Action.ADD_INSTANCE, "db.2")


@pytest.mark.parametrize("engine", [PROMOTED, ELECTING])
def test_not_before_those_that_a_majority_needs_are_there(engine: Any) -> None:
    two = [old("db.0"), old("db.1")]
    assert decided(two, capabilities=engine, spec={"instances": 3}).action is Action.ADD_INSTANCE


def test_one_that_is_down_is_the_first() -> None:
    bad = new("db.1", starts=5, started_at=NOW - 1, former_image=OLD)
    back = {"pinned": OLD, "image": "db:1"}
    decision = decided([old("db.0"), bad, old("db.2")], {"db.1": GONE}, spec=back)
    assert does(decision) == (Action.UPGRADE, "db.1")


def test_in_the_end_a_standby_takes_over() -> None:
    decision = decided([old("db.0"), new("db.1"), new("db.2")])
    assert does(decision) == (Action.SWITCHOVER, "db.1")
    assert decision.reason == "every standby runs from db:2 (2.0), and db.0 is to"
    assert decided([old("db.0"), new("db.1")], candidates=()).action is Action.NOTHING
    left = decided([new("db.0"), old("db.1")])
    assert does(left) == (Action.UPGRADE, "db.1")
    assert decided([new("db.0"), new("db.1")]).action is Action.NOTHING


def test_one_instance_alone_is_restarted() -> None:
    decision = decided([old("db.0")])
    assert does(decision) == (Action.UPGRADE, "db.0")
    assert "nothing can be written until it is back" in decision.reason
    stopping = old("db.0", upgrading=True, restarting_since=NOW - 1)
    assert decided([stopping]).action is Action.NOTHING
    stopped = decided([stopping], {"db.0": GONE})
    assert does(stopped) == (Action.START_INSTANCE, "db.0")


def test_a_primary_that_hangs_in_an_image_is_let_out_of_it() -> None:
    hanging = new("db.0", former_image=OLD, restarting_since=NOW - 20, restart_started=True)
    back = {"pinned": OLD, "image": "db:1"}
    seen = {"db.0": LONG_SILENT}
    decision = decided([hanging], seen, spec=back)
    assert does(decision) == (Action.UPGRADE, "db.0")
    assert decided([hanging], seen).action is Action.WAIT
    begun = new("db.0", former_image=OLD, restarting_since=NOW - 1, upgrading=True)
    assert decided([begun], seen, spec=back).action is Action.WAIT
    proven = new("db.0")
    assert decided([proven], seen, spec=back).action is not Action.UPGRADE


def test_one_too_old_to_follow_is_upgraded_whoever_is_missing_and_not_attached() -> None:
    detached = up(relation=Relation.DETACHED)
    three = [new("db.0"), old("db.1"), new("db.2")]
    decision = decided(three, {"db.1": detached, "db.2": LONG_SILENT})
    assert does(decision) == (Action.UPGRADE, "db.1")
    decision = decided(three, {"db.1": up(), "db.2": LONG_SILENT})
    assert decision.action is Action.NOTHING  # it follows, and is missed
    electing = decided(three, {"db.1": detached}, capabilities=ELECTING)
    assert does(electing) == (Action.ATTACH, "db.1")


def test_an_empty_one_is_made_anew_from_what_its_primary_runs_from() -> None:
    empty = {"db.1": up(relation=Relation.EMPTY, synchronized=False)}
    assert does(decided([old("db.0"), new("db.1")], empty)) == (Action.REBUILD, "db.1")
    assert does(decided([old("db.0"), old("db.1")], empty)) == (Action.SEED, "db.1")
    electing = decided([old("db.0"), new("db.1")], empty, capabilities=ELECTING)
    assert does(electing) == (Action.SEED, "db.1")


def test_what_does_not_come_up_stops_it_and_is_not_rebuilt() -> None:
    failing = new("db.2", former_image=OLD, starts=7, started_at=NOW - 1)
    gone = replace(GONE, detail="its process has ended")
    decision = decided([old("db.0"), old("db.1"), failing], {"db.2": gone})
    assert decision.rule == "upgrade-stopped"
    assert decision.reason == (
        "the upgrade has stopped: db.2 does not come up from db:2 (2.0) (its process has ended;"
        " `hamanager logs db.2`), and no other was touched: db.0 and db.1;"
        " `hamanager upgrade db --image db:1` goes back"
    )
    hung = new("db.2", former_image=OLD, starts=1, started_at=NOW - 601)
    for seconds, stopped in ((60, False), (601, True)):
        hung = altered(hung, started_at=NOW - seconds)
        silent = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=seconds)
        decision = decided([old("db.0"), old("db.1"), hung], {"db.2": silent})
        assert (decision.rule == "upgrade-stopped") is stopped
    copying = up(relation=Relation.SEEDING, synchronized=False)
    assert decided([old("db.0"), old("db.1"), hung], {"db.2": copying}).rule != "upgrade-stopped"


# --- What an instance is started from --------------------------------------------------------

SPEC = Spec(name="db", engine="e", instances=3, created_at=0, image="db:2", pinned=NEW)


def starts_from(of: InstanceRecord, *others: InstanceRecord, primary: str | None = "db.0") -> str:
    record = ServiceRecord(primary=primary, instances=(of, *others))
    return to_start(SPEC, record, of).version


def test_only_a_planned_step_gives_data_to_another_image() -> None:
    assert starts_from(old("db.0")) == "1.0"
    assert starts_from(old("db.1"), old("db.0")) == "1.0"
    assert starts_from(old("db.1", upgrading=True), old("db.0")) == "2.0"
    assert starts_from(old("db.0", upgrading=True)) == "2.0"
    assert starts_from(new("db.1"), old("db.0")) == "2.0"


def test_a_standby_is_never_older_than_its_primary() -> None:
    assert starts_from(old("db.1"), new("db.0")) == "2.0"


def test_a_first_copy_is_made_by_the_primary_s_version() -> None:
    assert starts_from(instance("db.1", joined=False), old("db.0")) == "1.0"
    assert starts_from(new("db.1", joined=False), old("db.0")) == "1.0"
    assert starts_from(instance("db.0", joined=False), primary=None) == "2.0"


def test_what_never_worked_from_its_image_gets_another() -> None:
    third = PinnedImage(id="sha256:3", version="3.0")
    failed = instance("db.0", image=third, former_image=OLD)
    assert starts_from(failed) == "2.0"


def test_what_is_noted_at_a_start() -> None:
    record = ServiceRecord(primary="db.0")
    assert unproven_after(SPEC, record, old("db.1"), NEW) == OLD
    assert unproven_after(SPEC, record, new("db.1"), NEW) is None
    assert unproven_after(SPEC, record, new("db.1", former_image=OLD), OLD) is None
    assert unproven_after(SPEC, record, old("db.1", joined=False), NEW) is None


def test_an_instance_of_an_older_record_runs_from_what_the_service_was_made_from() -> None:
    before = Spec(name="db", engine="e", instances=1, created_at=0, image="db:1")
    assert runs_from(before, instance("db.0")).id == "db:1"
    assert sources(runs_from(before, instance("db.0"))) == ()
    spec = upgraded(before, NEW)
    assert (spec.image, spec.pinned) == ("db:2", NEW)
    assert runs_from(spec, instance("db.0")).id == "db:1"
    again = upgraded(spec, PinnedImage(id="sha256:3", name="db:3"))
    assert runs_from(again, instance("db.0")).id == "db:1"
    assert sources(NEW) == ("db@sha256:2", "db:2")
