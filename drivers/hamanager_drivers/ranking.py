"""Ranking by a partial order, for engines whose standbys' data can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hamanager.model.snapshot import ServerStatus


def rank_by(
    standbys: Mapping[str, ServerStatus], covers: Callable[[ServerStatus, ServerStatus], bool]
) -> tuple[str, ...]:
    """Names, best first: each has all that those behind it have (`covers(a, b)`: a has all that
    b has). Ends before the first that cannot be compared with what is left; equal ones are in
    order of names."""
    left = dict(sorted(standbys.items()))
    ranked: list[str] = []
    while left:
        best = next(
            (
                name
                for name, status in left.items()
                if all(covers(status, other) for other in left.values())
            ),
            None,
        )
        if best is None:
            break
        ranked.append(best)
        del left[best]
    return tuple(ranked)
