"""Which drivers there are: those that installed packages name in the entry-point group
`hamanager.drivers`, our own among them (docs/writing-a-driver.md).

A driver that cannot be used costs its own engine and nothing else: why is said in one sentence.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby
from typing import cast

from hamanager.contracts.driver import Driver
from hamanager.model.capabilities import Traits

GROUP = "hamanager.drivers"
OURS = "hamanager"
"""The distribution whose drivers nobody else's replace."""
_ENGINE = re.compile(r"[a-z][a-z0-9]{0,30}")

log = logging.getLogger("hamanager")


def load_drivers(points: Iterable[EntryPoint] | None = None) -> Mapping[str, Driver]:
    """A driver of each engine, by the engine's name; `points` in place of what is installed."""
    found = entry_points(group=GROUP) if points is None else points
    by_name = sorted(found, key=lambda point: point.name)
    drivers = {}
    for engine, same in groupby(by_name, key=lambda point: point.name):
        point = _only(engine, list(same))
        driver = _loaded(point) if point is not None else None
        if driver is not None:
            drivers[engine] = driver
    return drivers


def _only(engine: str, points: list[EntryPoint]) -> EntryPoint | None:
    """Ours, else the only one: what one driver has made means nothing to another."""
    if len(points) == 1:
        return points[0]
    ours = [point for point in points if _package(point) == OURS]
    log.error(
        "the engine '%s' has a driver in each of the packages %s: %s; uninstall all but one",
        engine,
        ", ".join(sorted(_package(point) for point in points)),
        f"{OURS}'s is used and no other" if len(ours) == 1 else "none of them is used",
    )
    return ours[0] if len(ours) == 1 else None


def _loaded(point: EntryPoint) -> Driver | None:
    try:
        driver = point.load()()
        problem = _problem(point.name, driver)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other engines are managed
        driver, problem = None, f"loading it failed: {error!r}"
    if problem:
        log.error(
            "the driver of '%s' from the package %s was left out: %s",
            point.name,
            _package(point),
            problem,
        )
        return None
    return cast(Driver, driver)


def _problem(name: str, made: object) -> str:
    """Why it cannot be worked with, whatever its servers do; '' when it can."""
    if Driver not in type(made).__mro__:
        return "it does not derive from hamanager.contracts.driver.Driver"
    driver = cast(Driver, made)
    if _ENGINE.fullmatch(name) is None:
        return "an engine's name has small letters and digits, and begins with a letter"
    if driver.engine != name:
        return f"it calls its engine '{driver.engine}'"
    if not isinstance(cast(object, driver.traits), Traits):
        return "its traits are no hamanager.model.capabilities.Traits"
    if driver.semisync is not None and driver.required_acks is None:
        return "it has standbys that acknowledge and no primary that could wait for them"
    if driver.semisync is not None and driver.election is not None:
        return "its servers cannot both elect a primary and have the manager choose among members"
    if driver.replication is None and driver.election is not None:
        return "its servers elect a primary and do not replicate"
    return ""


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"
