"""Managers among themselves, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

from hamanager.act.lock import ServiceLock
from hamanager.contracts.clock import Clock
from hamanager.contracts.store import Store
from hamanager.daemon.leading import Leading
from hamanager.model.manager import Manager

_numbers = count(1)


def manager(
    store: Store,
    clock: Clock,
    name: str,
    *,
    alone: bool = False,
    place: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> Leading:
    """One that was just started, and has its session."""
    me = Manager(name=name, incarnation=str(next(_numbers)), place=place or name)
    made = Leading(store, clock, me, alone=alone)
    made.begin(sleep)
    return made


def lock(store: Store, clock: Clock, owner: str, service: str = "db") -> ServiceLock:
    """A service's lock, as a manager that was just started sees it."""
    return manager(store, clock, owner).lock_of(service)
