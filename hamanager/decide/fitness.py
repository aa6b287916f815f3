"""What an instance is fit for, as load balancers ask: by the record first, then by what was seen.
Pure."""

from __future__ import annotations

from enum import StrEnum

from hamanager.decide.routing import leader
from hamanager.decide.situation import Situation, follows, has_role
from hamanager.model.instance import InstanceRecord
from hamanager.model.snapshot import Observation, Role


class Check(StrEnum):
    """What is asked, in Patroni's words."""

    PRIMARY = "primary"
    READ_WRITE = "read-write"
    """The same as `primary`."""
    REPLICA = "replica"
    """A standby that follows, and is no further behind than asked for."""
    READ_ONLY = "read-only"
    """The primary or such a standby."""
    SYNC = "sync"
    """A standby that holds every acknowledged write."""
    HEALTH = "health"
    """It answers."""


def unfit(s: Situation, name: str, check: Check, most_lag_seconds: float | None = None) -> str:
    """Why that instance is not fit for it, as a sentence without an end; '' when it is."""
    instance, seen = s.record.instance(name), s.snapshot.of(name)
    if instance is None or seen is None:
        return f"there is no instance '{name}'"
    if seen.status is None:
        return f"{name} does not answer" + (f": {seen.detail}" if seen.detail else "")
    match check:
        case Check.HEALTH:
            return ""
        case Check.PRIMARY | Check.READ_WRITE:
            return _unfit_to_write(s, name, seen)
        case Check.REPLICA:
            return _unfit_to_read(s, instance, seen, most_lag_seconds)
        case Check.READ_ONLY:
            if not _unfit_to_write(s, name, seen):
                return ""
            return _unfit_to_read(s, instance, seen, most_lag_seconds)
        case Check.SYNC:
            return "" if _is_synchronous(s, instance) else f"{name} is not in the sync set"


def _unfit_to_write(s: Situation, name: str, seen: Observation) -> str:
    leads = leader(s.record)
    if leads is None:
        return "the primary is about to change"
    if name != leads:
        return f"{leads} is the primary"
    return "" if has_role(seen, Role.PRIMARY) else f"{name} takes no writes"


def _unfit_to_read(
    s: Situation, instance: InstanceRecord, seen: Observation, most_lag_seconds: float | None
) -> str:
    name = instance.name
    if name == s.record.primary:
        return f"{name} is the primary"
    if not has_role(seen, Role.STANDBY) or not instance.joined or not follows(seen):
        return f"{name} does not follow the primary"
    if most_lag_seconds is None:
        return ""
    if seen.lag_seconds is None:
        return f"nobody knows how far {name} is behind"
    if seen.lag_seconds > most_lag_seconds:
        return f"{name} is {seen.lag_seconds:.1f} s behind"
    return ""


def _is_synchronous(s: Situation, instance: InstanceRecord) -> bool:
    if s.capabilities.acknowledges:
        return instance.name in s.record.sync_set
    return False
