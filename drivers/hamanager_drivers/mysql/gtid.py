"""Sets of global transaction identifiers. Pure.

Format: MySQL Reference Manual, "GTID Format and Storage": `UUID[:TAG]:INTERVAL[:INTERVAL]...`,
joined by commas; one UUID may carry several tags in a row (8.3 and later).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

Interval = tuple[int, int]
"""First and last number, both in the set."""


@dataclass(frozen=True)
class GtidSet:
    """An immutable set: per origin (`UUID` or `UUID:TAG`) sorted intervals that do not touch."""

    intervals: Mapping[str, tuple[Interval, ...]]

    def __or__(self, other: GtidSet) -> GtidSet:
        merged: dict[str, list[Interval]] = {k: list(v) for k, v in self.intervals.items()}
        for origin, theirs in other.intervals.items():
            merged.setdefault(origin, []).extend(theirs)
        return _normal(merged)

    def __sub__(self, other: GtidSet) -> GtidSet:
        return _normal(
            {
                origin: _subtract(ours, other.intervals.get(origin, ()))
                for origin, ours in self.intervals.items()
            }
        )

    def __le__(self, other: GtidSet) -> bool:
        return not self - other

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __str__(self) -> str:
        return ",".join(
            ":".join([origin, *(f"{a}-{b}" if b > a else f"{a}" for a, b in intervals)])
            for origin, intervals in sorted(self.intervals.items())
        )

    @property
    def count(self) -> int:
        """How many transactions it names."""
        return sum(b - a + 1 for each in self.intervals.values() for a, b in each)

    def without_tail(self, uuid: str, known: GtidSet) -> GtidSet:
        """What is left when everything of that server beyond the last number in `known` is
        taken away: what it may have written after `known` was read."""
        left: dict[str, list[Interval]] = {}
        for origin, intervals in self.intervals.items():
            if origin.partition(":")[0] != uuid.lower():
                left[origin] = list(intervals)
                continue
            last = max((b for _, b in known.intervals.get(origin, ())), default=0)
            left[origin] = [(a, min(b, last)) for a, b in intervals if a <= last]
        return _normal(left)


NOTHING = GtidSet({})


@lru_cache(maxsize=256)
def parse(text: str) -> GtidSet:
    """The set that a server wrote down so.

    Raises:
        ValueError: it is not a GTID set.
    """
    found: dict[str, list[Interval]] = {}
    for member in "".join(text.split()).lower().split(","):
        if not member:
            continue
        uuid, *parts = member.split(":")
        if len(uuid.replace("-", "")) != 32:
            raise ValueError(f"{member!r} does not begin with a server's UUID")
        origin = uuid
        for part in parts:
            if part[:1].isdigit():
                first, _, last = part.partition("-")
                found.setdefault(origin, []).append((int(first), int(last or first)))
            elif part:
                origin = f"{uuid}:{part}"
    return _normal(found)


def _normal(found: Mapping[str, Iterable[Interval]]) -> GtidSet:
    normal: dict[str, tuple[Interval, ...]] = {}
    for origin, intervals in found.items():
        joined: list[Interval] = []
        for first, last in sorted(intervals):
            if last < first:
                continue
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        if joined:
            normal[origin] = tuple(joined)
    return GtidSet(normal)


def _subtract(ours: Iterable[Interval], theirs: tuple[Interval, ...]) -> list[Interval]:
    left: list[Interval] = []
    for first, last in ours:
        begin = first
        for a, b in theirs:  # sorted, so each cuts from the front of what is left
            if b < begin or a > last:
                continue
            if a > begin:
                left.append((begin, a - 1))
            begin = b + 1
        if begin <= last:
            left.append((begin, last))
    return left
