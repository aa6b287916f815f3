"""What a server's answers mean: pure.

The position's words: `address`, `state` (the engine's), `term` and `timestamp` (of the last
operation applied), `voting` and `following` (addresses of the members with and without a vote,
as JSON, as this server knows them), `eligible` (it may become primary), `too_stale`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hamanager.model.service import Target
from hamanager.model.snapshot import Relation, Role, ServerStatus, SyncProgress

LINK_SECONDS = 2.0
"""Four heartbeats: a primary not heard of for so long is not "lately"."""
CAUGHT_UP_SECONDS = 2.0
"""A member that is less than this behind gets its vote."""
NOT_INITIATED = "NOT INITIATED"
REMOVED = "REMOVED"
ROLLBACK = "ROLLBACK"


def server_status(
    hello: Mapping[str, Any], status: Mapping[str, Any], version: str, last_primary: str | None
) -> ServerStatus:
    """From the answers to `hello` and `replSetGetStatus`; the latter holds at least `state`.

    `last_primary` is whom this server believed in before: kept while it knows of none, so that
    its lost link is evidence about that one.
    """
    primary = hello.get("primary") or last_primary
    members = {str(member["name"]): member for member in status.get("members", ())}
    own: Mapping[str, Any] = next((m for m in members.values() if m.get("self")), {})
    state = str(own.get("stateStr") or status["state"])
    leads = bool(hello.get("isWritablePrimary"))
    led_by = members.get(primary or "", {})
    link_age = None if leads else _link_age_seconds(led_by, status)
    return ServerStatus(
        role=Role.PRIMARY if leads else Role.STANDBY,
        version=version,
        position=_position(hello, status, own, state),
        source=status.get("syncSourceHost") or None,
        link_up=None if leads or not primary else _link_is_up(hello, led_by, link_age),
        link_age_seconds=link_age,
        lag_seconds=None if leads else _lag_seconds(own, led_by),
        synchronized=state in ("PRIMARY", "SECONDARY"),
        undoes=state == ROLLBACK,
        sync=_progress(status.get("initialSyncStatus")),
        believes_in=primary,
        heard_seconds=_heard_seconds(members, status),
        facts=_facts(hello, status, members, state),
    )


def relate(target: Target, standby: ServerStatus, primary: ServerStatus) -> Relation:
    """By the primary's list of members, then by the standby's state."""
    voting = json.loads(primary.position.get("voting", "[]"))
    following = json.loads(primary.position.get("following", "[]"))
    if target.address not in (*voting, *following):
        return Relation.DETACHED
    if "too_stale" in standby.position:
        return Relation.DIVERGED
    is_voter = target.address in voting
    if standby.sync is not None:
        # Rebuilt from nothing, it must not vote: `attach` takes its vote until it has a copy.
        return Relation.DETACHED if is_voter else Relation.SEEDING
    if standby.position["state"] != "SECONDARY":
        unclear = standby.position["state"] in ("PRIMARY", REMOVED, ROLLBACK)
        return Relation.UNKNOWN if unclear else Relation.SEEDING
    if standby.believes_in != primary.believes_in or not standby.link_up:
        return Relation.UNKNOWN
    if applied_up_to(standby)[0] < applied_up_to(primary)[0]:
        # Not one entry of the primary's term yet: a former primary may have to undo writes first.
        return Relation.UNKNOWN
    if is_voter:
        return Relation.ATTACHED
    return Relation.DETACHED if has_caught_up(standby) else Relation.SEEDING


def has_caught_up(standby: ServerStatus) -> bool:
    """It holds a full copy that is nearly as new as the primary's."""
    lag = standby.lag_seconds
    return standby.synchronized and lag is not None and lag < CAUGHT_UP_SECONDS


def rank(standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
    """By term and time of the last operation: a total order within a set. Of equal ones that
    comes first from which most others replicate: they need no new source after its election,
    for which a member may wait one second."""
    able = {
        name: status
        for name, status in standbys.items()
        if status.synchronized and "eligible" in status.position
    }
    sources = [status.source for status in standbys.values()]

    def merit(name: str) -> tuple[int, int, int, int, str]:
        position = able[name].position
        term, seconds, increment = applied_up_to(able[name])
        followers = sources.count(position["address"])
        return -term, -seconds, -increment, -followers, name

    return tuple(sorted(able, key=merit))


def applied_up_to(status: ServerStatus) -> tuple[int, int, int]:
    """Term and time of the last operation."""
    seconds, _, increment = status.position.get("timestamp", "0.0").partition(".")
    return int(status.position.get("term", -1)), int(seconds), int(increment)


def missing_writes(standby: ServerStatus, primary: ServerStatus) -> str:
    """How far the one's last operation is behind the other's, in words."""
    behind = _operation_second(primary) - _operation_second(standby)
    return f"at least {behind} s of writes" if behind > 0 else ""


def _operation_second(status: ServerStatus) -> int:
    return int(status.position.get("timestamp", "0.0").partition(".")[0])


def _position(
    hello: Mapping[str, Any], status: Mapping[str, Any], own: Mapping[str, Any], state: str
) -> dict[str, str]:
    position = {"state": state, "address": str(hello.get("me", ""))}
    optime = own.get("optime")
    if optime is not None:
        position["term"] = str(optime["t"])
        position["timestamp"] = f"{optime['ts'].time}.{optime['ts'].inc}"
    if hello.get("setName"):
        position["voting"] = json.dumps(hello.get("hosts", []))
        position["following"] = json.dumps(hello.get("passives", []))
        if optime is not None and hello.get("me") in hello.get("hosts", ()):
            position["eligible"] = "yes"
    if status.get("tooStale"):
        position["too_stale"] = "yes"
    return position


def _heard_seconds(
    members: Mapping[str, Mapping[str, Any]], status: Mapping[str, Any]
) -> dict[str, float]:
    """How long ago each other member was heard of: all exchange heartbeats with all."""
    ages = {name: _link_age_seconds(m, status) for name, m in members.items() if not m.get("self")}
    return {name: age for name, age in ages.items() if age is not None}


def _link_age_seconds(primary: Mapping[str, Any], status: Mapping[str, Any]) -> float | None:
    """Since the primary was last heard, by this server's own clock."""
    heard = [primary.get("lastHeartbeatRecv")]
    if primary.get("health"):  # an attempt that failed is noted as a heartbeat, too
        heard.append(primary.get("lastHeartbeat"))
    times = [at for at in heard if isinstance(at, datetime) and at.year > 1970]
    if not times:
        return None
    return _seconds_between(max(times), status["date"])


def _link_is_up(
    hello: Mapping[str, Any], primary: Mapping[str, Any], age_seconds: float | None
) -> bool:
    known = bool(hello.get("primary")) and bool(primary.get("health"))
    return known and age_seconds is not None and age_seconds < LINK_SECONDS


def _lag_seconds(own: Mapping[str, Any], primary: Mapping[str, Any]) -> float | None:
    """Between the last operations' wall clocks, as far as this server has heard of them."""
    mine, theirs = own.get("lastAppliedWallTime"), primary.get("lastAppliedWallTime")
    if not (primary.get("health") and isinstance(mine, datetime) and isinstance(theirs, datetime)):
        return None
    if mine.year <= 1970 or theirs.year <= 1970:
        return None
    return _seconds_between(mine, theirs)


def _seconds_between(earlier: datetime, later: datetime) -> float:
    return max(0.0, (later - earlier).total_seconds())


def _progress(sync: Mapping[str, Any] | None) -> SyncProgress | None:
    if sync is None:
        return None
    total, done = sync.get("approxTotalDataSize"), sync.get("approxTotalBytesCopied")
    databases = sync.get("databases") or {}
    if not databases:
        stage = "choosing a source"
    elif databases.get("databasesToClone"):
        stage = "cloning databases"
    else:
        stage = "applying oplog"
    percent = min(100.0, 100.0 * done / total) if total and done is not None else None
    remaining = sync.get("remainingInitialSyncEstimatedMillis")
    # Extrapolated from the first bytes it says days.
    trusted = remaining is not None and percent is not None and percent >= 1
    return SyncProgress(
        stage=stage,
        percent=percent,
        bytes_done=int(done) if done is not None else None,
        bytes_total=int(total) if total else None,
        eta_seconds=remaining / 1000 if trusted and remaining is not None else None,
        approximate=True,
    )


def _facts(
    hello: Mapping[str, Any],
    status: Mapping[str, Any],
    members: Mapping[str, Mapping[str, Any]],
    state: str,
) -> dict[str, str]:
    facts = {"state": state.lower()}
    voting = hello.get("hosts", ())
    up = sum(1 for name in voting if members.get(name, {}).get("health"))
    if members and 2 * up <= len(voting):
        facts["majority"] = f"lost: {up} of {len(voting)} members up"
    if members and state == "SECONDARY" and not hello.get("primary"):
        facts["primary"] = "none known"
    if status.get("tooStale"):
        facts["oplog"] = "too stale to catch up with any member"
    if failed := (status.get("initialSyncStatus") or {}).get("failedInitialSyncAttempts"):
        facts["failed copies"] = str(failed)
    return facts
