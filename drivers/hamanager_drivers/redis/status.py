"""What a Redis server's INFO means. Pure.

Field names: Redis documentation, INFO, sections replication and persistence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hamanager.model.service import Target
from hamanager.model.snapshot import Relation, Role, ServerStatus, SyncProgress
from hamanager_drivers.redis.config import NOWHERE

STALE_LINK_SECONDS = 2
"""The primary pings every second: a link that carried nothing for longer is not alive."""


def server_status(
    info: Mapping[str, Any], lag_seconds: float | None, copy_bytes: int | None
) -> ServerStatus:
    """A probe's answer. `copy_bytes` is about how much a full copy will be, where known."""
    position = {
        "replid": str(info["master_replid"]),
        "offset": str(info["master_repl_offset"]),
        "replid2": str(info.get("master_replid2", "")),
        "second_offset": str(info.get("second_repl_offset", -1)),
        "keys": str(sum(db["keys"] for name, db in info.items() if _is_database(name))),
        "loading": str(info.get("loading", 0)),
    }
    version = str(info.get("valkey_version") or info["redis_version"])
    if info["role"] == "master":
        return ServerStatus(
            Role.PRIMARY,
            version,
            position,
            lag_seconds=0.0,
            synchronized=True,
            # The field is there when writes need standbys.
            required_acks=int("min_slaves_good_slaves" in info),
            empty=position["keys"] == "0",
            facts=_facts(info),
        )
    link_up = info["master_link_status"] == "up"
    age = float(info.get("master_last_io_seconds_ago", -1))
    source = (str(info["master_host"]), int(info["master_port"]))
    sync = _progress(info, copy_bytes)
    return ServerStatus(
        Role.STANDBY,
        version,
        position,
        source=None if source == NOWHERE else f"{source[0]}:{source[1]}",
        link_up=link_up and age <= STALE_LINK_SECONDS,
        link_age_seconds=age if age >= 0 else None,
        lag_seconds=lag_seconds if link_up else None,
        synchronized=link_up and sync is None,
        empty=position["keys"] == "0" and sync is None,
        sync=sync,
        facts=_facts(info),
    )


def _progress(info: Mapping[str, Any], copy_bytes: int | None) -> SyncProgress | None:
    if info.get("loading") or info.get("async_loading"):
        return SyncProgress(
            "loading",
            percent=float(info.get("loading_loaded_perc", 0)),
            bytes_done=int(info.get("loading_loaded_bytes", 0)),
            bytes_total=int(info.get("loading_total_bytes", 0)) or None,
            eta_seconds=float(info["loading_eta_seconds"])
            if "loading_eta_seconds" in info
            else None,
        )
    if not info.get("master_sync_in_progress"):
        return None
    done = int(info.get("master_sync_read_bytes", 0))
    total = int(info.get("master_sync_total_bytes", 0))
    if total > 0:
        return SyncProgress("receiving", 100.0 * done / total, done, total)
    if not copy_bytes:
        return SyncProgress("receiving", bytes_done=done)
    # A diskless copy has no length: the primary's data set is about as large.
    total = max(copy_bytes, done)
    return SyncProgress("receiving", min(99.0, 100.0 * done / total), done, total, approximate=True)


def _facts(info: Mapping[str, Any]) -> dict[str, str]:
    facts = {"offset": str(info["master_repl_offset"])}
    if info["role"] == "master":
        facts["connected standbys"] = str(info.get("connected_slaves", 0))
    else:
        facts["link"] = str(info["master_link_status"])
    return facts


def relate(standby: ServerStatus, primary_target: Target, primary: ServerStatus) -> Relation:
    """Where a standby stands; a server that follows its primary copies everything by itself."""
    if standby.source == primary_target.address:
        return Relation.SEEDING if standby.sync else Relation.ATTACHED
    if standby.position["loading"] != "0":
        return Relation.UNKNOWN
    if standby.position["keys"] == "0" or covers(primary, standby):
        return Relation.DETACHED
    return Relation.UNPROVEN


def covers(ahead: ServerStatus, behind: ServerStatus) -> bool:
    """Whether the first has all that the second has, by replication id and offset (PSYNC2: a
    promoted server keeps its former primary's id, valid below `second_repl_offset`)."""
    a, b = ahead.position, behind.position
    if behind.empty:
        return True
    offset = int(b["offset"])
    if a["replid"] == b["replid"]:
        return int(a["offset"]) >= offset
    return a["replid2"] == b["replid"] and offset < int(a["second_offset"])


def beyond(ahead: ServerStatus, behind: ServerStatus) -> int:
    """How many bytes of one history the first has and the second has not; 0 when they share none.

    A former primary and the one that was promoted share the history that the latter names
    `master_replid2`, up to `second_repl_offset`.
    """
    a, b = ahead.position, behind.position
    if a["replid"] == b["replid"]:
        return max(0, int(a["offset"]) - int(b["offset"]))
    if a["replid"] == b["replid2"] and int(b["second_offset"]) > 0:
        return max(0, int(a["offset"]) - (int(b["second_offset"]) - 1))
    return 0


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()
