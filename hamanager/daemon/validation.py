"""What commands may ask for: the checks that need no store. They raise before anything changes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hamanager.api.grammar import ScaleRequest, round_memory
from hamanager.contracts.driver import Driver
from hamanager.errors import (
    UsageError,
)
from hamanager.formats import size
from hamanager.model.settings import Settings
from hamanager.model.spec import SpecSettings

_HEALTH_PATH = re.compile(r"/[A-Za-z0-9._~/?=&%+-]{0,200}")
LONGEST_SECONDS = 86400.0
SHORTEST_DOWN_AFTER_SECONDS = 1.5
"""Longer than a probe waits for its answer: one that was lost is no death."""
SMALLEST_SECONDS = 1e-9
LARGE_MEMORY_BYTES = 4 * 1024**3
"""A slip of the pen must not take the whole machine."""
DEFAULT_READS_LAG_SECONDS = 10.0
NO_CHANGE = Settings()


def chosen_settings(driver: Driver, settings: Settings) -> SpecSettings:
    """The checked settings by the names that the spec has for them."""
    if driver.replication is None and settings != NO_CHANGE:
        raise UsageError("a service without data has no such settings; nothing was changed")
    shortest = SHORTEST_DOWN_AFTER_SECONDS
    for seconds, name, least, bound in (
        (settings.down_after_seconds, "down-after", shortest, f"from {shortest:g} on"),
        (settings.failover_period_seconds, "failover-period", 0.0, "from 0 on"),
        (settings.replace_after_seconds, "replace-after", shortest, f"from {shortest:g} on"),
        (settings.reads_max_lag_seconds, "reads-max-lag", SMALLEST_SECONDS, "above 0"),
    ):
        if seconds is None:
            continue
        if not (math.isfinite(seconds) and seconds >= least):
            raise UsageError(f"{name} takes seconds {bound}, not {seconds:g}; nothing was changed")
        if seconds > LONGEST_SECONDS:
            raise UsageError(f"{name} takes at most a day, not {seconds:g} s; nothing was changed")
    possible = driver.traits.durabilities
    if settings.durability is not None and settings.durability not in possible:
        raise UsageError(
            f"{driver.engine} has durability {' or '.join(possible)}, not {settings.durability};"
            " nothing was changed"
        )
    chosen = SpecSettings()
    if settings.durability is not None:
        chosen["durability"] = settings.durability
    if settings.down_after_seconds is not None:
        chosen["down_after_seconds"] = settings.down_after_seconds
    if settings.failover_period_seconds is not None:
        chosen["failover_period_seconds"] = settings.failover_period_seconds
    if settings.reads_max_lag_seconds is not None:
        chosen["reads_max_lag_seconds"] = settings.reads_max_lag_seconds
    if settings.replace_after_seconds is not None:
        chosen["replace_after_seconds"] = settings.replace_after_seconds
    if settings.allow_drills is not None:
        chosen["allow_drills"] = settings.allow_drills
    if settings.canary and driver.canary is None:
        raise UsageError(f"the driver of {driver.engine} has no canary; nothing was changed")
    if settings.canary is not None:
        chosen["canary"] = settings.canary
    reads = settings.reads
    if reads is None and "reads_max_lag_seconds" in chosen:
        reads = True
    if reads and driver.capabilities.url_names_all:
        raise UsageError(
            f"{driver.engine} clients choose by the URL's readPreference where they read; nothing"
            " was changed"
        )
    if reads:
        chosen.setdefault("reads_max_lag_seconds", DEFAULT_READS_LAG_SECONDS)
    elif reads is False:
        chosen["reads_max_lag_seconds"] = None
    return chosen


def check_program(
    driver: Driver, image: str | None, port: int | None, health_path: str | None
) -> None:
    if driver.replication is not None:
        if port is not None or health_path is not None:
            raise UsageError(
                f"--port and --health are for services without data, and {driver.engine} is a"
                " database; nothing was changed"
            )
        return
    if image is None or port is None:
        raise UsageError(
            "a service without data needs the image and the port that its program listens on: write"
            " for example --image www:1 --port 8080; nothing was changed"
        )
    if not 1 <= port <= 65535:
        raise UsageError(f"--port takes a port from 1 to 65535, not {port}; nothing was changed")
    if health_path is not None and _HEALTH_PATH.fullmatch(health_path) is None:
        raise UsageError("--health takes a path such as /health; nothing was changed")


def check_instances(driver: Driver, instances: int) -> None:
    allowed = driver.traits.allowed_instances
    if instances not in allowed:
        *most, last = (str(number) for number in allowed)
        sizes = f"{', '.join(most)} or {last}" if most else last
        raise UsageError(
            f"a {driver.engine} service can have {sizes} instances, not {instances};"
            " nothing was changed"
        )


def checked_memory(driver: Driver, memory_bytes: int, *, allow_large: bool) -> int:
    rounded = round_memory(memory_bytes)
    if rounded > LARGE_MEMORY_BYTES and not allow_large:
        raise UsageError(
            f"more than {size(LARGE_MEMORY_BYTES)} of memory per instance needs --allow-large, and"
            f" {size(rounded)} was asked for; nothing was changed"
        )
    minimum = driver.traits.minimum_memory_bytes
    if rounded < minimum:
        raise UsageError(
            f"{driver.engine} needs at least {size(minimum)} of memory per instance,"
            f" not {size(rounded)}; nothing was changed"
        )
    return rounded


def refuse_twice(requests: Sequence[ScaleRequest]) -> None:
    seen: set[tuple[str, str]] = set()
    for request in requests:
        for action in ("instances", "memory_bytes"):
            if getattr(request, action) is None:
                continue
            target = (request.service, action.removesuffix("_bytes"))
            if target in seen:
                raise UsageError(
                    f"{target[0]}:{target[1]} is given twice: say it once; nothing was changed"
                )
            seen.add(target)
