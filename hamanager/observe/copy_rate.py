"""The speed and the remaining time of a copy, where the engine does not tell them."""

from __future__ import annotations

from dataclasses import replace

from hamanager.model.snapshot import ServerStatus


class CopyRates:
    """Of one service's instances. Not thread-safe."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[str, float, int]] = {}

    def with_rate(self, name: str, status: ServerStatus | None, now: float) -> ServerStatus | None:
        """The status with the mean speed since the present stage was first seen."""
        sync = status.sync if status else None
        if status is None or sync is None or sync.bytes_done is None:
            self._began.pop(name, None)
            return status
        stage, began, bytes_then = self._began.setdefault(name, (sync.stage, now, sync.bytes_done))
        if stage != sync.stage or sync.bytes_done < bytes_then:
            stage, began, bytes_then = self._began[name] = (sync.stage, now, sync.bytes_done)
        if sync.bytes_per_second is None and now > began:
            speed = (sync.bytes_done - bytes_then) / (now - began)
            sync = replace(sync, bytes_per_second=speed)
        if sync.eta_seconds is None and sync.bytes_total is not None and sync.bytes_per_second:
            left = max(0, sync.bytes_total - (sync.bytes_done or 0))
            sync = replace(sync, eta_seconds=left / sync.bytes_per_second)
        return replace(status, sync=sync)
