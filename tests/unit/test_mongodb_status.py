"""What a server's answers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Timestamp

from hamanager.model.service import Target
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_drivers.mongodb.status import NOT_INITIATED, rank, relate, server_status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
ADDRESSES = ["h:0", "h:1", "h:2"]
STATES = {"PRIMARY": 1, "SECONDARY": 2, "RECOVERING": 3, "STARTUP2": 5}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def seen_by(
    me: int,
    state: str = "SECONDARY",
    *,
    primary: int | None = 0,
    voting: tuple[int, ...] = (0, 1, 2),
    following: tuple[int, ...] = (),
    down: tuple[int, ...] = (),
    optime: tuple[int, int] = (1, 100),
    behind_seconds: float = 0.0,
    heard_seconds: float = 0.3,
    last_primary: str | None = None,
    source: int | None = 0,
    **status: Any,
) -> ServerStatus:
    hello: dict[str, Any] = {
        "me": ADDRESSES[me],
        "setName": "db",
        "isWritablePrimary": state == "PRIMARY",
        "hosts": [ADDRESSES[n] for n in voting],
    }
    if primary is not None:
        hello["primary"] = ADDRESSES[primary]
    if following:
        hello["passives"] = [ADDRESSES[n] for n in following]
    members = []
    for number in sorted({*voting, *following, me}):
        entry = {
            "name": ADDRESSES[number],
            "health": 0.0 if number in down else 1.0,
            "stateStr": state if number == me else "SECONDARY",
            "optime": {"t": optime[0], "ts": Timestamp(optime[1], 1)},
            "lastAppliedWallTime": ago(behind_seconds if number == me else 0),
        }
        if number == me:
            entry["self"] = True
        else:
            entry["lastHeartbeat"] = ago(0.01 if number in down else heard_seconds)
            entry["lastHeartbeatRecv"] = ago(heard_seconds)
        members.append(entry)
    answer = {"date": NOW, "members": members, **status}
    answer["syncSourceHost"] = "" if source is None else ADDRESSES[source]
    return server_status(hello, answer, "6.0.5", last_primary)


PRIMARY = seen_by(0, "PRIMARY", source=None)


def relation(standby: ServerStatus, primary: ServerStatus = PRIMARY) -> Relation:
    return relate(Target("db.1", "h", 1, 1), standby, primary)


def test_a_following_standby() -> None:
    status = seen_by(1, behind_seconds=0.5)
    assert status.role is Role.STANDBY
    assert status.synchronized
    assert status.link_up
    assert status.link_age_seconds == pytest.approx(0.3)
    assert status.lag_seconds == pytest.approx(0.5)
    assert (status.source, status.believes_in) == ("h:0", "h:0")
    assert relation(status) is Relation.ATTACHED


def test_the_primary() -> None:
    assert PRIMARY.role is Role.PRIMARY
    assert PRIMARY.link_up is None
    assert PRIMARY.lag_seconds is None
    assert "majority" not in PRIMARY.facts


def test_elected_but_not_writable_yet_is_a_standby() -> None:
    hello = {"me": "h:0", "setName": "db", "isWritablePrimary": False, "hosts": ADDRESSES}
    answer = {"date": NOW, "members": [{"name": "h:0", "self": True, "stateStr": "PRIMARY"}]}
    assert server_status(hello, answer, "", None).role is Role.STANDBY


def test_a_silent_primary_is_no_live_link() -> None:
    status = seen_by(1, heard_seconds=2.1)
    assert status.link_up is False
    assert status.believes_in == "h:0"


def test_a_failed_heartbeat_is_no_word_from_the_primary() -> None:
    status = seen_by(1, down=(0,), heard_seconds=4.0)
    assert status.link_up is False
    assert status.link_age_seconds == pytest.approx(4.0)
    assert status.lag_seconds is None


def test_a_lost_primary_is_remembered_as_evidence() -> None:
    status = seen_by(1, primary=None, down=(0,), last_primary="h:0", source=None)
    assert status.believes_in == "h:0"
    assert status.link_up is False
    assert status.facts["primary"] == "none known"


def test_of_whom_it_heard_when_it_knows_of_no_primary() -> None:
    """Whoever has not seen it before can tell all the same how long the former one is silent."""
    status = seen_by(1, primary=None, down=(0,), heard_seconds=4.0, source=None)
    assert status.believes_in is None
    assert status.heard_seconds == {"h:0": pytest.approx(4.0), "h:2": pytest.approx(4.0)}


def test_a_lost_majority_is_a_fact() -> None:
    status = seen_by(1, primary=None, down=(0, 2), source=None)
    assert status.facts["majority"] == "lost: 1 of 3 members up"


def test_a_member_without_a_vote_does_not_count_for_the_majority() -> None:
    status = seen_by(1, primary=None, voting=(0, 1), following=(2,), down=(0,), source=None)
    assert status.facts["majority"] == "lost: 1 of 2 members up"


def test_one_that_was_never_in_a_set() -> None:
    hello = {"isreplicaset": True, "isWritablePrimary": False}
    status = server_status(hello, {"state": NOT_INITIATED}, "6.0.5", None)
    assert status.role is Role.STANDBY
    assert not status.synchronized
    assert relation(status, seen_by(0, "PRIMARY", voting=(0,))) is Relation.DETACHED
    entered = seen_by(0, "PRIMARY", voting=(0,), following=(1,))
    assert relation(status, entered) is Relation.SEEDING


COPYING = {
    "failedInitialSyncAttempts": 1,
    "approxTotalDataSize": 200,
    "approxTotalBytesCopied": 50,
    "remainingInitialSyncEstimatedMillis": 3000,
    "databases": {"databasesToClone": 1, "databasesCloned": 1},
}


def test_the_first_copy_shows_its_progress() -> None:
    entered = seen_by(0, "PRIMARY", voting=(0,), following=(1,))
    status = seen_by(1, "STARTUP2", voting=(0,), following=(1,), initialSyncStatus=COPYING)
    assert status.sync is not None
    assert status.sync.stage == "cloning databases"
    assert (status.sync.percent, status.sync.eta_seconds) == (25.0, 3.0)
    assert status.facts["failed copies"] == "1"
    assert relation(status, entered) is Relation.SEEDING
    assert relation(status, PRIMARY) is Relation.DETACHED, "its vote has to be taken"


def test_the_estimate_made_from_the_first_bytes_is_not_shown() -> None:
    early = {**COPYING, "approxTotalBytesCopied": 1, "approxTotalDataSize": 10_000}
    status = seen_by(1, "STARTUP2", initialSyncStatus=early)
    assert status.sync is not None
    assert status.sync.eta_seconds is None


@pytest.mark.parametrize(
    ("sync", "stage"),
    [
        ({}, "choosing a source"),
        ({"databases": {"databasesToClone": 0, "databasesCloned": 3}}, "applying oplog"),
    ],
)
def test_the_stages_of_a_copy(sync: dict[str, Any], stage: str) -> None:
    status = seen_by(1, "STARTUP2", initialSyncStatus=sync)
    assert status.sync is not None
    assert status.sync.stage == stage


def test_the_vote_comes_when_it_has_caught_up() -> None:
    entered = seen_by(0, "PRIMARY", voting=(0,), following=(1,))
    late = seen_by(1, voting=(0,), following=(1,), behind_seconds=5)
    close = seen_by(1, voting=(0,), following=(1,), behind_seconds=1)
    assert relation(late, entered) is Relation.SEEDING
    assert relation(close, entered) is Relation.DETACHED


def test_too_stale_means_rebuild() -> None:
    stale = seen_by(1, "RECOVERING", tooStale=True)
    assert relation(stale) is Relation.DIVERGED
    assert "oplog" in stale.facts
    assert relation(seen_by(1, "RECOVERING")) is Relation.SEEDING


def test_one_that_follows_another_is_not_called_attached() -> None:
    assert relation(seen_by(1, primary=2)) is Relation.UNKNOWN
    assert relation(seen_by(1, heard_seconds=9)) is Relation.UNKNOWN


def test_one_that_has_nothing_of_the_primarys_term_does_not_follow_it_yet() -> None:
    """A former primary that came back is a secondary before it has looked for a source: writes that
    no majority had are undone only then."""
    primary = seen_by(0, "PRIMARY", source=None, optime=(2, 100))
    assert relation(seen_by(1, optime=(1, 101)), primary) is Relation.UNKNOWN
    assert relation(seen_by(1, optime=(2, 100)), primary) is Relation.ATTACHED
    undoing = seen_by(1, "ROLLBACK", optime=(1, 101))
    assert undoing.undoes
    assert relation(undoing, primary) is Relation.UNKNOWN


def test_ranking_by_the_last_operation_terms_first() -> None:
    standbys = {
        "db.0": seen_by(0, optime=(1, 900)),
        "db.1": seen_by(1, optime=(2, 100)),
        "db.2": seen_by(2, optime=(2, 200)),
    }
    assert rank(standbys) == ("db.2", "db.1", "db.0")


def test_only_members_that_can_be_elected_are_ranked() -> None:
    standbys = {
        "db.0": seen_by(0, voting=(1, 2), following=(0,)),
        "db.1": seen_by(1, "RECOVERING"),
        "db.2": seen_by(2),
    }
    assert rank(standbys) == ("db.2",)
    assert rank({}) == ()


def test_of_equal_ones_the_source_of_the_others_comes_first() -> None:
    chained = {"db.1": seen_by(1, source=2), "db.2": seen_by(2)}
    assert rank(chained) == ("db.2", "db.1")
    equal = {"db.2": seen_by(2), "db.1": seen_by(1)}
    assert rank(equal) == ("db.1", "db.2")
