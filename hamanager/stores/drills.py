"""Schedules of drills, the drill that is under way, and what became of drills, in the store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from pydantic import ValidationError

from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, StaleVersionError
from hamanager.formats import moment
from hamanager.model.drill import KEY, Claim, DrillResult, Outcome, Schedule

CLAIMS = "drill-claims/"
RESULTS = "drill-results/"
"""Apart from the service's rows: they outlive it, and no pass has to read them."""
KEPT_RESULTS = 1_000
"""Of each service."""
KEPT_SECONDS = 731 * 86400.0
"""Two years."""
TRIES = 10


def schedules(store: Store) -> dict[str, tuple[Schedule, int]]:
    """All of them with their versions, by service; a damaged one is passed over."""
    found = {}
    for key, kept in store.changed(KEY, 0).items():
        with suppress(ValidationError):
            schedule = Schedule.model_validate_json(kept.value)
            found[key.removeprefix(KEY)] = schedule, kept.version
    return found


def change_schedule(store: Store, name: str, schedule: Schedule | None) -> bool:
    """Put that one in the place of whatever there is, or none; whether there was one.

    Raises:
        StaleVersionError: others change it all the time.
    """
    key = KEY + name
    for _ in range(TRIES):
        kept = store.get(key)
        try:
            if schedule is not None:
                store.put(key, schedule.model_dump_json(), kept.version if kept else 0)
            elif kept is not None:
                store.delete(key, kept.version)
        except StaleVersionError:
            continue
        return kept is not None
    raise StaleVersionError(f"the drills of '{name}' are being changed by others: try again")


def settle(store: Store, schedule: Schedule, version: int) -> bool:
    """Write that its due times are seen to; False when somebody else was quicker."""
    try:
        store.put(KEY + schedule.service, schedule.model_dump_json(), version)
    except StaleVersionError:
        return False
    return True


# --- The one that is under way ------------------------------------------------------------------


def claimed(store: Store, name: str) -> Claim | None:
    """The drill that is under way, or was when whoever carried it out was heard of last."""
    kept = store.get(CLAIMS + name)
    if kept is None:
        return None
    try:
        return Claim.model_validate_json(kept.value)
    except ValidationError:
        return None


def claim(store: Store, name: str, wanted: Claim, now: float) -> None:
    """Be the only drill of that service. One that was given up without a word is told.

    Raises:
        ConflictError: there is another one.
    """
    kept = store.get(CLAIMS + name)
    former = claimed(store, name) if kept is not None else None
    if former is not None and now < former.until:
        raise _under_way(name, former)
    try:
        store.put(CLAIMS + name, wanted.model_dump_json(), kept.version if kept else 0)
    except StaleVersionError:
        raise _under_way(name, claimed(store, name) or wanted) from None
    if former is not None:
        keep(store, given_up(name, former), former.id, now)


def change_claim(store: Store, name: str, mine: Claim, changed: Claim | None) -> None:
    """Go on, or be over (None). Does nothing when the claim is somebody else's by now."""
    kept = store.get(CLAIMS + name)
    present = claimed(store, name)
    if kept is None or present is None or present.id != mine.id:
        return
    with suppress(StaleVersionError):
        if changed is None:
            store.delete(CLAIMS + name, kept.version)
        else:
            store.put(CLAIMS + name, changed.model_dump_json(), kept.version)


def given_up(name: str, former: Claim) -> DrillResult:
    """What is told of a drill whose end nobody has told."""
    return DrillResult(
        service=name,
        fault=former.fault,
        rounds_wanted=former.rounds,
        outcome=Outcome.UNFINISHED,
        text="it was begun, and whoever carried it out has ended without a word",
        due_at=former.due_at,
        began_at=former.began_at,
        ended_at=former.until,
    )


def _under_way(name: str, other: Claim) -> ConflictError:
    how = "by hand" if other.due_at is None else "by schedule"
    return ConflictError(
        f"a drill of '{name}' is under way ({other.fault}, {how}, since {moment(other.began_at)}):"
        " wait for its end; nothing was done"
    )


# --- What became of them ------------------------------------------------------------------------


def result_key(result: DrillResult, number: str = "") -> str:
    """One for each due time: what became of that is told once, whoever tells it."""
    which = "due" if result.due_at is not None else number or secrets.token_hex(4)
    return f"{RESULTS}{result.service}/{int(result.at):012d}-{which}"


def keep(store: Store, result: DrillResult, number: str, now: float) -> bool:
    """Keep it, and let go of those that are too old or too many; False when that was told already.
    `number` tells drills by hand apart."""
    try:
        store.put(result_key(result, number), result.model_dump_json(), 0)
    except StaleVersionError:
        return False
    prune_results(store, result.service, now)
    return True


def result_of(store: Store, name: str, due_at: float) -> DrillResult | None:
    """What became of that due time; None when that is not known yet."""
    return _read(store, f"{RESULTS}{name}/{int(due_at):012d}-due")


def results(
    store: Store, name: str, since: float = 0.0, until: float = float("inf")
) -> Sequence[DrillResult]:
    """Those from `since` to before `until`, oldest first; a damaged one is passed over."""
    found = []
    for _, kept in sorted(store.changed(f"{RESULTS}{name}/", 0).items()):
        with suppress(ValidationError):
            result = DrillResult.model_validate_json(kept.value)
            if since <= result.at < until:
                found.append(result)
    return found


def last_result(store: Store, name: str) -> DrillResult | None:
    """The newest one."""
    keys = store.keys(f"{RESULTS}{name}/")
    return _read(store, keys[-1]) if keys else None


def drilled_services(store: Store) -> Sequence[str]:
    """Of which results are kept, also when they are no more."""
    return sorted({key.split("/")[1] for key in store.keys(RESULTS)})


def prune_results(
    store: Store, name: str, now: float, pause: Callable[[], bool] = lambda: False
) -> int:
    """Delete those that are too old or too many; how many. `pause` tells whether to end."""
    keys = store.keys(f"{RESULTS}{name}/")
    too_many = set(keys[: max(0, len(keys) - KEPT_RESULTS)])
    gone = 0
    for key in keys:
        kept = store.get(key)
        if kept is not None and (key in too_many or _at(key) < now - KEPT_SECONDS):
            with suppress(StaleVersionError):
                store.delete(key, kept.version)
                gone += 1
            if pause():
                break
        else:
            break  # the others are younger
    return gone


def _at(key: str) -> int:
    return int(key.rpartition("/")[2].partition("-")[0])


def _read(store: Store, key: str) -> DrillResult | None:
    kept = store.get(key)
    if kept is None:
        return None
    with suppress(ValidationError):
        return DrillResult.model_validate_json(kept.value)
    return None
