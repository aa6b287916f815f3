"""How much memory a container uses, as `docker stats` counts it: without the page cache that the
kernel can take back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path("/sys/fs/cgroup")


def memory_of_process(pid: int) -> int | None:
    """Bytes used by the control group of a process on this machine; None when its files are not
    to be seen from here. Takes well under a millisecond, where the engine may take a second:
    Docker 20.10 waits for its next sample even when asked for one shot."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        groups = {line.split(":")[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
        for controllers, group in groups.items():
            if "memory" in controllers.split(","):
                return _used(_ROOT / "memory" / group, "memory.usage_in_bytes", "total_")
        # Version 2 has one hierarchy, whose line names no controllers.
        return _used(_ROOT / groups[""], "memory.current", "")
    except (OSError, ValueError, LookupError):
        return None


def memory_of_stats(stats: Mapping[str, Any]) -> int | None:
    """Bytes used, from the engine's answer; None for a container that does not run."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    reclaimable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory["usage"]) - int(reclaimable))


def _used(group: Path, usage_file: str, prefix: str) -> int:
    usage = int((group / usage_file).read_text())
    details = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return max(0, usage - int(details[f"{prefix}inactive_file"]))
