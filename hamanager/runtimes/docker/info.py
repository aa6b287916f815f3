"""What an engine says of itself."""

from __future__ import annotations

from datetime import datetime

from docker import DockerClient

from hamanager.model.host import EngineInfo


def engine_info(client: DockerClient) -> EngineInfo:
    """By one request."""
    told = client.info()
    return EngineInfo(
        id=str(told.get("ID", "")),
        version=str(told.get("ServerVersion", "")),
        memory_bytes=int(told.get("MemTotal", 0)),
        now=_seconds_of(str(told.get("SystemTime", ""))),
    )


def _seconds_of(moment: str) -> float | None:
    """Seconds since the epoch."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return None
