"""What a MySQL server's answers mean. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hamanager.model.service import Target
from hamanager.model.snapshot import Relation, Role, ServerStatus, SyncProgress
from hamanager_drivers.mysql import gtid
from hamanager_drivers.mysql.config import HEARTBEAT_SECONDS
from hamanager_drivers.mysql.connections import Row

LIVE_LINK_SECONDS = 3 * HEARTBEAT_SECONDS
RECEIVES_IN_TIME_SECONDS = 1.0
"""A standby that receives transactions within this time of their commit holds a full copy: what
it has received it applies before it is promoted."""

_SOURCE_CANNOT_SEND = {1236, 13114}
"""The source refused to send: it purged what is missing, or has less than this server."""
_NOT_ADMITTED = (1045, 3118)
"""Access denied, account locked: the primary does not know the standby, or has shut it out."""
_CONFLICTS = {
    *(1007, 1008, 1049, 1050, 1051, 1146),  # a schema or table is there, or is not
    *(1022, 1032, 1062, 1451, 1452),  # a row is there, or is not
    *(1054, 1060, 1061, 1072, 1091, 1136, 1677),  # a table has other columns or keys
    *(1304, 1305, 1359, 1360, 1396, 1410, 1537, 1539),  # a routine, trigger, account, event
    *(13146, 13147),  # the same, as numbered for replication since 8.0
}
"""Errors of the applier that prove that the data is not what the primary's was."""


def server_status(server: Row, clone: Sequence[Row]) -> ServerStatus:
    """A probe's answer."""
    position = _position(server, clone)
    version = str(server["version"])
    if not server["read_only"]:
        return ServerStatus(
            Role.PRIMARY,
            version,
            position,
            lag_seconds=0.0,
            synchronized=True,
            required_acks=int(server["required_acks"]),
            turns_clients_away=bool(server["offline"]),
            empty=not position["executed"],
            facts={"transactions": str(gtid.parse(position["executed"]).count)},
        )
    age = _seconds(server["link_age_us"])
    link_up = _link_up(server, age)
    follows = link_up and position["applier"] == "ON"
    late = _seconds(server["receive_delay_us"]) or 0.0
    synchronized = follows and late < RECEIVES_IN_TIME_SECONDS
    sync = _progress(clone)
    if sync is None and follows and not synchronized:
        sync = SyncProgress("catching up")
    return ServerStatus(
        Role.STANDBY,
        version,
        position,
        source=f"{server['source_host']}:{server['source_port']}" if has_source(server) else None,
        link_up=link_up if has_source(server) else None,
        link_age_seconds=age,
        lag_seconds=max(0.0, late, _backlog_seconds(server, position)) if follows else None,
        synchronized=synchronized,
        acknowledges=bool(server["acknowledges"]),
        acknowledges_from_disk=bool(server["from_disk"]),
        empty=not position["executed"] and not position["received"],
        sync=sync,
        facts=_facts(server, clone, position),
    )


def has_source(server: Row) -> bool:
    """Whether it is told to replicate from somebody."""
    return bool(server["source_host"])


def _position(server: Row, clone: Sequence[Row]) -> dict[str, str]:
    return {
        "executed": "".join(server["executed"].split()),
        "purged": "".join(server["purged"].split()),
        "received": "".join((server["received"] or "").split()),
        "uuid": server["uuid"],
        "receiver": server["receiver"] or "OFF",
        "receiver_error": str(server["receiver_error"] or 0),
        "applier": server["applier"] or "OFF",
        "applier_error": str(server["worker_error"] or server["coordinator_error"] or 0),
        "cloning": "1" if clone and clone[0]["running"] else "",
    }


def _link_up(server: Row, age: float | None) -> bool:
    # While one large transaction arrives there are no heartbeats; the receiver itself gives up
    # when nothing comes any more.
    alive = bool(server["queueing"]) or (age is not None and age <= LIVE_LINK_SECONDS)
    return server["receiver"] == "ON" and alive


def _backlog_seconds(server: Row, position: dict[str, str]) -> float:
    """How long ago the oldest transaction was committed that is not applied yet."""
    if gtid.parse(position["received"]) <= gtid.parse(position["executed"]):
        return 0.0
    return _seconds(server["applying_us"]) or _seconds(server["newest_us"]) or 0.0


def _seconds(microseconds: object) -> float | None:
    return None if microseconds is None else float(str(microseconds)) / 1e6


def _progress(clone: Sequence[Row]) -> SyncProgress | None:
    if not clone or not clone[0]["running"]:
        return None
    begun = [stage for stage in clone if stage["state"] != "Not Started"]
    done = sum(int(stage["data"]) for stage in begun)
    total = sum(int(stage["estimate"]) for stage in begun)
    now = next((s for s in begun if s["state"] == "In Progress"), begun[-1] if begun else clone[0])
    speed = float(now["speed"]) or None
    return SyncProgress(
        stage=str(now["stage"]).lower(),
        percent=100.0 * min(done, total) / total if total else 0.0,
        bytes_done=done,
        bytes_total=total or None,
        bytes_per_second=speed,
        eta_seconds=max(0, total - done) / speed if speed and total else None,
    )


def _facts(server: Row, clone: Sequence[Row], position: dict[str, str]) -> dict[str, str]:
    """Error texts of the applier are left out: they quote statements."""
    executed, received = gtid.parse(position["executed"]), gtid.parse(position["received"])
    facts = {"transactions": str((executed | received).count)}
    if has_source(server):
        facts["receiver"] = _state(position, "receiver")
        facts["applier"] = _state(position, "applier")
        facts["to apply"] = str((received - executed).count)
    elif clone and clone[0]["error"] and not executed:
        facts["last copy"] = f"failed: {clone[0]['message']}"
    return facts


def _state(position: dict[str, str], part: str) -> str:
    error = position[f"{part}_error"]
    return position[part].lower() + (f", error {error}" if error != "0" else "")


def holds(status: ServerStatus) -> gtid.GtidSet:
    """Everything that has reached the server's disk, applied or not."""
    return gtid.parse(status.position["executed"]) | gtid.parse(status.position["received"])


def covers(ahead: ServerStatus, behind: ServerStatus) -> bool:
    """Whether the first has all that the second has."""
    return holds(behind) <= holds(ahead)


def beyond(standby: ServerStatus, primary: ServerStatus, *, follows: bool) -> gtid.GtidSet:
    """What it has and the primary has not."""
    here, there = holds(standby), gtid.parse(primary.position["executed"])
    if follows and int(standby.position["receiver_error"]) not in _SOURCE_CANNOT_SEND:
        # The two were not read at the same moment: it may have received what the primary wrote
        # after its own reading, or has not committed yet.
        here = here.without_tail(primary.position["uuid"], there)
    return here - there


def relate(standby: ServerStatus, primary_target: Target, primary: ServerStatus) -> Relation:
    """Where a standby stands, by sets of GTIDs."""
    own, led = standby.position, primary.position
    if own["cloning"]:
        return Relation.SEEDING
    here = holds(standby)
    if not here:
        return Relation.EMPTY
    follows = standby.source == primary_target.replication_address
    if beyond(standby, primary, follows=follows) or own["uuid"] == led["uuid"]:
        return Relation.DIVERGED
    if int(own["applier_error"]) in _CONFLICTS and own["applier"] != "ON":
        return Relation.DIVERGED
    kept_out = own["receiver"] != "ON" and int(own["receiver_error"]) in _NOT_ADMITTED
    if follows and own["receiver"] != "OFF" and own["applier"] == "ON" and not kept_out:
        return Relation.ATTACHED
    if not gtid.parse(led["purged"]) <= here:
        return Relation.DIVERGED
    return Relation.DETACHED
