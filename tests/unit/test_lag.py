"""Lag, measured by what a standby has applied of what the primary was seen to have."""

from __future__ import annotations

from dataclasses import replace

from hamanager.cli.info_text import sparkline
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Process,
    Relation,
    Role,
    ServerStatus,
)
from hamanager.observe.lag import SLOTS, LagMeter

EPOCH = 1_790_000_000.0


def applied(status: ServerStatus, primary: ServerStatus) -> bool:
    return int(status.position["n"]) >= int(primary.position["n"])


def leads(n: int) -> Observation:
    status = ServerStatus(Role.PRIMARY, position={"n": str(n)})
    return Observation(Process.RUNNING, Contact.ANSWERS, status)


def follows(n: int, lag: float | None = None, *, link_up: bool = True) -> Observation:
    status = ServerStatus(
        Role.STANDBY, position={"n": str(n)}, link_up=link_up, link_age_seconds=0.2, lag_seconds=lag
    )
    relation = Relation.ATTACHED if link_up else Relation.DETACHED
    return Observation(Process.RUNNING, Contact.ANSWERS, status, relation)


def look(meter: LagMeter, at: float, primary: Observation, standby: Observation) -> Observation:
    seen = {"db.0": primary, "db.1": standby}
    return meter.measured("db.0", seen, {"db.0", "db.1"}, at, EPOCH + at)["db.1"]


def test_as_old_as_the_first_thing_that_is_missing() -> None:
    meter = LagMeter(applied)
    assert look(meter, 0, leads(10), follows(10)).lag_seconds == 0
    assert look(meter, 1, leads(20), follows(10)).lag_seconds == 0, "written just now"
    assert look(meter, 2, leads(30), follows(10)).lag_seconds == 1
    assert look(meter, 5, leads(30), follows(10)).lag_seconds == 4, "also while nothing is written"
    assert look(meter, 6, leads(30), follows(20)).lag_seconds == 4
    assert look(meter, 7, leads(30), follows(30)).lag_seconds == 0
    assert look(meter, 90, leads(30), follows(30)).lag_seconds == 0, "idle is not behind"


def test_an_engine_s_own_number_counts_where_nothing_else_is_known() -> None:
    meter = LagMeter(applied)
    unknown = replace(leads(10), status=None)
    assert look(meter, 0, unknown, follows(10, lag=7)).lag_seconds == 7
    assert look(meter, 1, leads(10), follows(5, lag=7)).lag_seconds == 7, "longer than we look"
    assert look(meter, 20, leads(10), follows(5, lag=7)).lag_seconds == 19
    assert look(meter, 21, leads(10), follows(10, lag=7)).lag_seconds == 0, "a clock that differs"


def test_after_a_change_of_primary_nothing_old_counts() -> None:
    meter = LagMeter(applied)
    look(meter, 0, leads(10), follows(5))
    seen = {"db.0": follows(12), "db.1": leads(12)}
    assert meter.measured("db.1", seen, {"db.0"}, 9, EPOCH + 9)["db.0"].lag_seconds == 0


def test_broken_since() -> None:
    meter = LagMeter(applied)
    assert look(meter, 0, leads(10), follows(10)).broken_since is None
    broken = look(meter, 5, leads(10), follows(10, link_up=False))
    assert broken.broken_since == EPOCH + 4.8, "its link was last heard of before that"
    assert look(meter, 60, leads(10), follows(10, link_up=False)).broken_since == EPOCH + 4.8
    silent = Observation(Process.RUNNING, Contact.SILENT, silent_seconds=2.0)
    assert look(meter, 70, leads(10), silent).broken_since == EPOCH + 4.8
    assert look(meter, 80, leads(10), follows(10)).broken_since is None
    assert look(meter, 90, leads(10), silent).broken_since == EPOCH + 88
    copying = replace(follows(0, link_up=False), relation=Relation.SEEDING)
    assert look(meter, 91, leads(10), copying).broken_since is None


def test_one_that_undoes_writes_does_not_replicate() -> None:
    """Whatever its link says."""
    meter = LagMeter(applied)
    look(meter, 0, leads(10), follows(10))
    following = follows(10)
    assert following.status is not None
    status = replace(following.status, undoes=True)
    undoing = replace(following, status=status, relation=Relation.UNKNOWN)
    assert look(meter, 5, leads(10), undoing).broken_since == EPOCH + 4.8
    assert look(meter, 9, leads(10), undoing).broken_since == EPOCH + 4.8
    assert look(meter, 11, leads(10), follows(10)).broken_since is None


def test_what_never_followed_is_not_broken() -> None:
    meter = LagMeter(applied)
    starting = follows(0, link_up=False)

    def seen(at: float, standby: Observation, *joined: str) -> Observation:
        pair = {"db.0": leads(10), "db.1": standby}
        return meter.measured("db.0", pair, joined, at, EPOCH + at)["db.1"]

    assert seen(0, starting).broken_since is None
    assert seen(12, follows(10)).lag_history == ()
    assert seen(24, follows(10), "db.1").lag_history == (0.0,)
    assert seen(31, starting, "db.1").broken_since is not None
    assert seen(42, starting).broken_since == EPOCH + 30.8, "it is rebuilt, and was there before"


def test_a_step_that_has_only_begun_is_not_broken() -> None:
    meter = LagMeter(applied)
    assert look(meter, 9, leads(0), follows(0)).lag_history == (0.0,)
    unknown = Observation(Process.RUNNING, Contact.BUSY, relation=Relation.SEEDING)
    assert look(meter, 10, leads(0), unknown).lag_history == (0.0,)
    assert look(meter, 21, leads(0), unknown).lag_history == (0.0, None, None)


def test_the_last_hour() -> None:
    meter = LagMeter(applied)
    seen = look(meter, 0, leads(0), follows(0))
    for second in range(0, 4000, 2):
        behind = 0 if second < 3000 else 10
        seen = look(meter, second, leads(second), follows(second - behind))
    assert len(seen.lag_history) == SLOTS
    assert seen.lag_history[0] == 0
    assert seen.lag_history[-2] is not None
    assert seen.lag_history[-2] >= 8
    broken = look(meter, 4001, leads(4000), follows(4000, link_up=False))
    assert broken.lag_history[-1] is None
    later = look(meter, 4100, leads(4000), follows(4000))
    assert later.lag_history[-5:-1] == (None,) * 4, "nobody looked"


def test_the_sparkline() -> None:
    assert sparkline([0.0] * 12) == "▁▁"
    assert sparkline([0.0] * 6 + [0.0, 2.0, 4.0, 0.0, 0.0, 0.0]) == "▁█"
    assert sparkline([0.0] * 6 + [None] * 6 + [0.2] * 6) == "▁x▂"
    assert len(sparkline([0.0] * SLOTS)) == 60
